"""Scores one prompt on photographs: how good is the first mask, and the best of the candidates."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from bench.reports.sheet import SHEET_TILES, draw_tile
from bench.scores.datasets import VOID_OR_BINARY, StillSet, read_object_ids, read_picture
from bench.scores.metrics import compute_j
from bench.scores.prompts import PROMPT_KINDS, PromptKind, prompt_from_mask
from samcam.engines import (
    DecoderOutput,
    ImageFeatures,
    Sam2Networks,
    choose_token,
    uses_multimask_tokens,
)
from samcam.live.frames import F32, U8, Mask, Prompt
from samcam.live.masks import upsample_logits
from samcam.live.tracker import Crop, CropSettings, first_crop

BOX_LABELS = (2, 3)  # SAM's labels of a box's upper left and lower right corner


@dataclass(frozen=True, slots=True)
class InstanceScore:
    """One instance under one prompt.

    Attributes:
        selected: IoU of the mask that the host's token rule chooses.
        best: IoU of the best mask of all tokens.
        predicted: The network's own estimate for the selected mask.
        present: Whether the object score says that the object is there; the IoU values leave
            this rule out.
    """

    picture: str
    object_id: int
    selected: float
    best: float
    predicted: float
    present: bool


@dataclass(frozen=True, slots=True)
class StillScore:
    """One set of photographs under one kind of prompt; means over all instances."""

    name: str
    kind: PromptKind
    selected: float
    best: float
    missed: int
    instances: tuple[InstanceScore, ...]
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """What one prompt gives: one or more (H, W) masks in source pixels, and which one is the
    answer."""

    masks: Sequence[Mask]
    chosen: int
    predicted: float = 1.0
    present: bool = True


class StillSegmenter(Protocol):
    """What answers prompts on one photograph after the other."""

    def look(self, image_bgr: U8) -> None:
        """Take the next photograph; not timed."""

    def candidates(self, prompt: Prompt) -> Candidates:
        """Answer one prompt on it."""


class PromptedNetworks:
    """The networks without memory: the decoder sees `pix_feat_no_mem`, as on a first prompt.

    Args:
        networks: Of the model.
        crop: As the tracker has it; a box is then decoded in a crop around it.
    """

    def __init__(self, networks: Sam2Networks, crop: CropSettings | None = None) -> None:
        self._networks, self._settings = networks, crop
        self._picture: U8 = np.zeros((0, 0, 3), np.uint8)
        self._features: ImageFeatures | None = None

    def look(self, image_bgr: U8) -> None:
        self._picture, self._features = image_bgr, self._networks.encode_image(image_bgr)

    def candidates(self, prompt: Prompt) -> Candidates:
        """Decode one prompt; the host's token rule chooses."""
        features = self._features
        assert features is not None  # `look` comes first
        size_wh = (self._picture.shape[1], self._picture.shape[0])
        crop = first_crop(prompt, size_wh, self._settings)
        if not crop.is_whole:
            features = self._networks.encode_image(crop.cut(self._picture))
        own = crop.own_prompt(prompt)
        output, token = decode_first(self._networks, features, own, crop.size_wh)
        return Candidates(
            [
                _on_picture(upsample_logits(low, crop.size_wh) > 0, crop)
                for low in output.low_res_masks
            ],
            token,
            float(output.ious[token]),
            output.object_score_logit > 0,
        )


def _on_picture(mask: Mask, crop: Crop) -> Mask:
    """A crop's (h, w) mask as one of the whole picture."""
    whole = np.zeros(crop.picture_wh[::-1], np.bool_)
    crop.cut(whole)[...] = mask
    return whole


@dataclass(frozen=True, slots=True, eq=False)
class _Answer:
    """The masks of one prompt: the selected one in source pixels, and its scores."""

    mask: Mask
    score: InstanceScore


def decode_first(
    networks: Sam2Networks,
    features: ImageFeatures,
    prompt: Prompt,
    size_wh: tuple[int, int],
    before: F32 | None = None,
) -> tuple[DecoderOutput, int]:
    """Decode a prompt as on an object's first picture; return the answer and the token that counts.

    `before`: (L, L) logits of the answer before it.
    """
    manifest = networks.manifest
    if prompt.box_xyxy_px is not None:
        points, labels = prompt.box_xyxy_px.reshape(2, 2), np.array(BOX_LABELS, np.int32)
    else:
        points, labels = prompt.points_xy_px, prompt.labels.astype(np.int32)
    scale = np.array(manifest.image_size / np.array(size_wh), np.float32)
    output = networks.decode(features.pix_feat_no_mem, features, points * scale, labels, before)
    rule = manifest.token_rule
    multimask = uses_multimask_tokens(len(points), tracking=False, rule=rule)
    return output, choose_token(output.low_res_masks, output.ious, multimask, rule).mask_token


def _answer(
    segmenter: StillSegmenter, prompt: Prompt, truth: Mask, valid: Mask, picture: str
) -> _Answer:
    found = segmenter.candidates(prompt)
    masks = [mask & valid for mask in found.masks]
    ious = [compute_j(mask, truth) for mask in masks]
    score = InstanceScore(
        picture=picture,
        object_id=prompt.object_id,
        selected=ious[found.chosen],
        best=max(ious),
        predicted=found.predicted,
        present=found.present,
    )
    return _Answer(masks[found.chosen], score)


def evaluate_stills(
    stills: StillSet, segmenter: StillSegmenter
) -> tuple[dict[PromptKind, StillScore], dict[PromptKind, list[U8]]]:
    """Prompt every instance of every photograph with its box and with one click.

    Each instance is judged on its own: no other instance's mask takes pixels from it.

    Returns:
        Scores and contact sheet tiles by kind of prompt.
    """
    scores: dict[PromptKind, list[InstanceScore]] = {kind: [] for kind in PROMPT_KINDS}
    tiles: dict[PromptKind, list[U8]] = {kind: [] for kind in PROMPT_KINDS}
    seconds: dict[PromptKind, float] = dict.fromkeys(PROMPT_KINDS, 0.0)
    for number, (picture_path, mask_path) in enumerate(stills.pairs):
        image, ids = read_picture(picture_path), read_object_ids(mask_path)
        valid = ids != VOID_OR_BINARY
        instances = [int(v) for v in np.unique(ids) if v not in (0, VOID_OR_BINARY)]
        segmenter.look(image)
        for kind in PROMPT_KINDS:
            begun = time.perf_counter()
            answers = [
                _answer(
                    segmenter,
                    prompt_from_mask(ids == object_id, kind, object_id),
                    ids == object_id,
                    valid,
                    picture_path.stem,
                )
                for object_id in instances
            ]
            seconds[kind] += time.perf_counter() - begun
            scores[kind] += [answer.score for answer in answers]
            if number < SHEET_TILES:
                tiles[kind].append(_tile(image, ids, answers))
    return {
        kind: _mean(stills.name, kind, rows, seconds[kind]) for kind, rows in scores.items()
    }, tiles


def _mean(name: str, kind: PromptKind, rows: list[InstanceScore], seconds: float) -> StillScore:
    return StillScore(
        name=name,
        kind=kind,
        selected=float(np.mean([row.selected for row in rows])) if rows else 0.0,
        best=float(np.mean([row.best for row in rows])) if rows else 0.0,
        missed=sum(not row.present for row in rows),
        instances=tuple(rows),
        seconds=seconds,
    )


def _tile(image: U8, ids: U8, answers: list[_Answer]) -> U8:
    drawn = np.zeros_like(ids)
    for answer in answers:
        drawn[answer.mask] = answer.score.object_id
    values = " ".join(f"{answer.score.selected:.2f}" for answer in answers)
    truth = np.where(ids == VOID_OR_BINARY, np.uint8(0), ids)
    return draw_tile(image, drawn, truth, values)
