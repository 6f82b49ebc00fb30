"""Compares the networks of two backends on pictures, one network at a time.

Fused attention in half precision has given wrong answers without any error on some GPUs, and half
precision has flipped the choice among candidate masks. So every network of a GPU backend is run
on inputs that the reference made, and the networks after it are the reference's again. What counts
is the mask that a user would see: the worst one, not the mean.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from samcam.engines.base import DeviceTensor, EngineError
from samcam.engines.checks.check_pictures import FIGURE_BOX, paint_check_pictures
from samcam.engines.graph_table import (
    IMAGE_ENCODER,
    MASK_DECODER,
    MASK_PROMPT,
    MEMORY_ATTENTION,
    MEMORY_ENCODER,
    NETWORKS,
)
from samcam.engines.host_rules import F32, choose_token, uses_multimask_tokens
from samcam.engines.sam2_graphs import I32, U8, DecoderOutput, ImageFeatures, Sam2Networks
from samcam.system.files import read_json

MIN_IOU: Final = 0.9
# Prompts as fractions of the picture: points, and boxes as two corners.
POINTS: Final = ((0.5, 0.3), (0.5, 0.75))
BOXES: Final = (FIGURE_BOX,)
PICTURE_TYPES: Final = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
MAX_PICTURES: Final = 16
# An IoU says little about masks of a few pixels: this share of the mask counts as agreement.
_SLACK: Final = 1 / 4096
NOTHING_FOUND: Final = "nothing to compare: the reference's own masks are all empty"
_STEP: Final = 0.02  # how far the later picture is moved, as a share of its width

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NetworkCheck:
    """How one network compares with the reference: IoU of the masks of `cases` prompts.

    Attributes:
        worst: Prompt of the worst mask.
        limit: Least `min_iou` that is good enough.
    """

    network: str
    cases: int
    min_iou: float
    mean_iou: float
    worst: str
    limit: float

    @property
    def passed(self) -> bool:
        """Whether the worst mask is good enough."""
        return self.min_iou >= self.limit


@dataclass(frozen=True, slots=True)
class _Prompt:
    name: str
    points: F32
    labels: I32


@dataclass(frozen=True, slots=True)
class _Answer:
    """The mask that a user would see, (L, L) bool, with the chosen token's logits and pointer.

    Attributes:
        score: Object score logit.
        finite: Whether every number of the decoder's answer is finite.
    """

    mask: np.ndarray[tuple[int, int], np.dtype[np.bool_]]
    logits: F32
    pointer: F32
    score: float
    finite: bool

    @property
    def tells(self) -> bool:
        """Whether something is found: two masks that are both empty say nothing."""
        return bool(np.count_nonzero(self.mask) > self.mask.size * _SLACK)


@dataclass(frozen=True, slots=True, eq=False)
class _Views:
    """Two pictures' features: (now, later), the reference's, and the candidate's if wanted."""

    right: tuple[ImageFeatures, ImageFeatures]
    given: tuple[ImageFeatures, ImageFeatures] | None


def read_pictures(folder: Path | None = None) -> list[U8]:
    """Read a folder's pictures, at most `MAX_PICTURES`; without a folder, paint the program's own.

    Returns:
        Each (H, W, 3) uint8 BGR.

    Raises:
        EngineError: There is none, or one cannot be read.
    """
    if folder is None:
        return [picture.image for picture in paint_check_pictures()]
    files = sorted(p for p in folder.glob("*") if p.suffix.lower() in PICTURE_TYPES)
    if not files:
        raise EngineError(
            f"{folder}: no pictures, expected files of type {', '.join(PICTURE_TYPES)}"
        )
    pictures = []
    for path in files[:MAX_PICTURES]:
        picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if picture is None:
            raise EngineError(f"{path}: not a readable picture")
        pictures.append(picture.astype(np.uint8, copy=False))
    return pictures


def compare_networks(
    reference: Sam2Networks,
    candidate: Sam2Networks,
    pictures: Iterable[U8],
    networks: Iterable[str] = NETWORKS,
    limit: float = MIN_IOU,
    banks: Sequence[tuple[int, int]] | None = None,
) -> list[NetworkCheck]:
    """Compare networks on pictures, each with points and boxes and one step of tracking.

    Args:
        reference, candidate: The networks that are right, and those to check; of the same model.
        pictures: (H, W, 3) uint8 BGR.
        networks: Names of those to check.
        limit: Least IoU of the worst mask.
        banks: Memories and pointers that memory attention gets besides the two of each that every
            network is looked at with. None: those that a padded candidate has further kernels for.

    Returns:
        One check for each network. Where the reference finds nothing, agreement is not counted; a
        network without a counted mask has 0 cases and has not passed.

    Raises:
        EngineError: A network does not run, or there is no picture.
    """
    wanted = tuple(networks)
    if banks is None:
        banks = candidate.manifest.row_steps[1:] if candidate.manifest.form == "padded" else ()
    found: dict[str, list[tuple[float, str]]] = {network: [] for network in wanted}
    pictures = list(pictures)
    if not pictures:
        raise EngineError(f"self-check: no picture to compare {', '.join(wanted)} on")
    for i, picture in enumerate(pictures):
        found_on = _compare_on(reference, candidate, picture, wanted, banks)
        for network, right, answer, prompt in found_on:
            iou = _iou(right, answer)
            if right.tells or iou < limit:
                found[network].append((iou, f"picture {i}, {prompt}"))
    checks = []
    for network, ious in found.items():
        # Nothing compared is not agreement.
        worst, prompt = min(ious, default=(0.0, NOTHING_FOUND))
        mean = sum(iou for iou, _ in ious) / max(1, len(ious))
        checks.append(NetworkCheck(network, len(ious), worst, mean, prompt, limit))
    return checks


def describe(checks: Sequence[NetworkCheck]) -> str:
    """Return a table for the terminal, one line for each network."""
    lines = [f"{'network':18} {'masks':>5} {'min IoU':>8} {'mean IoU':>8}  worst"]
    for check in checks:
        verdict = "" if check.passed else f"  below {check.limit:g}"
        lines.append(
            f"{check.network:18} {check.cases:5} {check.min_iou:8.4f} {check.mean_iou:8.4f}"
            f"  {check.worst}{verdict}"
        )
    return "\n".join(lines)


def _compare_on(
    reference: Sam2Networks,
    candidate: Sam2Networks,
    picture: U8,
    networks: Sequence[str],
    banks: Sequence[tuple[int, int]],
) -> Iterator[tuple[str, _Answer, _Answer, str]]:
    """Give network, right answer, its answer and prompt of each comparison on one picture."""
    shift = max(1, round(picture.shape[1] * _STEP))
    later = np.roll(picture, shift, axis=1)

    def encode(nets: Sam2Networks) -> tuple[ImageFeatures, ImageFeatures]:
        return nets.encode_image(picture), nets.encode_image(later)

    views = _Views(encode(reference), encode(candidate) if IMAGE_ENCODER in networks else None)
    now = views.right[0]
    for prompt in _prompts(reference.manifest.image_size):
        right = _decode(reference, now.pix_feat_no_mem, now, prompt)
        answer = None
        if views.given is not None:
            given = views.given[0]
            seen = _decode(reference, given.pix_feat_no_mem, given, prompt)
            yield IMAGE_ENCODER, right, seen, prompt.name
        if MASK_DECODER in networks:
            answer = _decode(candidate, now.pix_feat_no_mem, now, prompt)
            yield MASK_DECODER, right, answer, prompt.name
        tracked = _compare_tracking(reference, candidate, views, (right, answer), networks)
        for network, wanted, got in tracked:
            yield network, wanted, got, f"{prompt.name}, tracked"
        for count, pointers in banks if MEMORY_ATTENTION in networks else ():
            memories = _remember(reference, now, right, right.score)
            wanted, got = (
                _track(
                    (nets, reference), views.right[1], memories, right.pointer, (count, pointers)
                )
                for nets in (reference, candidate)
            )
            yield MEMORY_ATTENTION, wanted, got, f"{prompt.name}, tracked by {count} memories"
        if MASK_PROMPT in networks:
            pairs = [nets.encode_mask_prompt(right.mask) for nets in (reference, candidate)]
            wanted, got = (_decode_mask(reference, now, mask_input) for mask_input, _ in pairs)
            yield MASK_PROMPT, wanted, got, f"mask of {prompt.name}"
            wanted, got = (_as_answer(logits) for _, logits in pairs)
            yield MASK_PROMPT, wanted, got, f"mask of {prompt.name}, as it was given"


def _compare_tracking(
    reference: Sam2Networks,
    candidate: Sam2Networks,
    views: _Views,
    answers: tuple[_Answer, _Answer | None],
    networks: Sequence[str],
) -> Iterator[tuple[str, _Answer, _Answer]]:
    """Give network and two answers: the object is remembered twice and looked for later.

    `answers` are those to the prompt on the first picture: the right one, and the candidate's if
    wanted.
    """
    right, answer = answers
    now, later = views.right

    usual = (reference, reference)
    memories = _remember(reference, now, right, right.score)
    wanted = _track(usual, later, memories, right.pointer)
    if views.given is not None:
        given = _remember(reference, views.given[0], right, right.score)
        yield IMAGE_ENCODER, wanted, _track(usual, views.given[1], given, right.pointer)
    if MEMORY_ENCODER in networks:
        given = _remember(candidate, now, right, right.score)
        yield MEMORY_ENCODER, wanted, _track(usual, later, given, right.pointer)
    if MEMORY_ATTENTION in networks:
        pair = (candidate, reference)
        yield MEMORY_ATTENTION, wanted, _track(pair, later, memories, right.pointer)
    if answer is not None:  # the candidate's decoder: its answer now, and its answer later
        pair = (reference, candidate)
        yield MASK_DECODER, wanted, _track(pair, later, memories, right.pointer)
        # what a decoder hands on without showing it: the pointer and the score
        given = _remember(reference, now, right, answer.score)
        yield MASK_DECODER, wanted, _track(usual, later, given, answer.pointer)


def _remember(
    networks: Sam2Networks, features: ImageFeatures, right: _Answer, score: float
) -> list[DeviceTensor]:
    """Return two memories of a mask, as a prompted one and as a tracked one."""
    return [
        networks.encode_memory(features, right.logits, prompted, score)
        for prompted in (True, False)
    ]


def _track(
    networks: tuple[Sam2Networks, Sam2Networks],
    features: ImageFeatures,
    memories: Sequence[DeviceTensor],
    pointer: F32,
    bank: tuple[int, int] = (2, 2),
) -> _Answer:
    """Attend with the first networks and decode with the second.

    `bank`: how many memories, by turns those given, and pointers there are; each at a distance of
    its own as far as recent ones go, the others are of prompts.
    """
    attending, decoding = networks
    count, pointers = bank
    recent = min(count - 1, attending.manifest.num_recent)
    attended = attending.attend(
        features,
        [memories[i % len(memories)] for i in range(count)],
        [0] * (count - recent) + list(range(recent, 0, -1)),
        [pointer] * pointers,
        [float(pointers - i) for i in range(pointers)],
    )
    return _decode(decoding, attended, features, None)


def _prompts(size: int) -> list[_Prompt]:
    prompts = [
        _Prompt(
            f"point {x:g},{y:g}", np.array([[x, y]], np.float32) * size, np.array([1], np.int32)
        )
        for x, y in POINTS
    ]
    for box in BOXES:
        corners = np.array(box, np.float32).reshape(2, 2) * size
        prompts.append(_Prompt("box", corners, np.array([2, 3], np.int32)))
    return prompts


def _decode(
    networks: Sam2Networks, embedding: DeviceTensor, features: ImageFeatures, prompt: _Prompt | None
) -> _Answer:
    """Decode a prompt, or track where it is None."""
    points = np.zeros((0, 2), np.float32) if prompt is None else prompt.points
    labels = np.zeros(0, np.int32) if prompt is None else prompt.labels
    output = networks.decode(embedding, features, points, labels)
    return _seen(networks, output, uses_multimask_tokens(len(points), True))


def _decode_mask(networks: Sam2Networks, features: ImageFeatures, mask_input: F32) -> _Answer:
    none = np.zeros((0, 2), np.float32), np.zeros(0, np.int32)
    output = networks.decode(features.pix_feat, features, *none, mask_input)
    return _seen(networks, output, False)


def _seen(networks: Sam2Networks, output: DecoderOutput, multimask: bool) -> _Answer:
    """Apply the token rule: a flipped choice counts as the other mask that it is."""
    rule = networks.manifest.token_rule
    choice = choose_token(output.low_res_masks, output.ious, multimask, rule)
    logits = output.low_res_masks[choice.mask_token]
    pointer = output.obj_ptrs[choice.pointer_token]
    numbers = (output.low_res_masks, output.ious, output.obj_ptrs, output.object_score_logit)
    finite = all(bool(np.isfinite(values).all()) for values in numbers)
    return _Answer(logits > 0, logits, pointer, output.object_score_logit, finite)


def _as_answer(logits: F32) -> _Answer:
    """Return what a mask prompt stands for where no decoder is asked."""
    finite = bool(np.isfinite(logits).all())
    return _Answer(logits > 0, logits, np.zeros(0, np.float32), 0.0, finite)


def _iou(right: _Answer, answer: _Answer) -> float:
    """Return the IoU of two masks; 0 where a value is not finite or the presence is another.

    Two empty masks are alike whatever the presence: nobody sees anything either way.
    """
    visible = right.tells or answer.tells
    if not answer.finite or (visible and (right.score > 0) != (answer.score > 0)):
        return 0.0
    slack = right.mask.size * _SLACK
    both = np.count_nonzero(right.mask & answer.mask)
    either = np.count_nonzero(right.mask | answer.mask)
    return float((both + slack) / (either + slack))


def write_checks(path: Path, key: Mapping[str, str], checks: Sequence[NetworkCheck]) -> None:
    """Replace the kept result in one step; `key` says what it holds for: files, GPU, driver."""
    from samcam.engines.tensorrt.files import write_engine_file

    data = {"key": dict(key), "checks": [asdict(check) for check in checks]}
    write_engine_file(path, (json.dumps(data, indent=2) + "\n").encode())


def read_checks(path: Path, key: Mapping[str, str]) -> list[NetworkCheck] | None:
    """Return a kept result, None where there is none for this key."""
    try:
        data = read_json(path)
        checks = [NetworkCheck(**check) for check in data["checks"]]
        kept = dict(data["key"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return checks if kept == dict(key) else None
