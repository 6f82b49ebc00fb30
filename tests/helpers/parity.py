"""Meta's golden answers, and our tracker's on the same frames; see ../shared/parity/README.md."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from samcam.engines.base import Backend, DeviceTensor, Feed
from samcam.engines.host_tensors import StackBuffers, check_feeds
from samcam.engines.manifest import Manifest
from samcam.engines.sam2_graphs import DecoderOutput, ImageFeatures, Sam2Networks
from samcam.live.frames import Frame, ObjectResult, Prompt
from samcam.live.tracker import tracker as tracker_module
from samcam.live.tracker.history import PastStep
from samcam.live.tracker.judge import Answer
from samcam.live.tracker.presets import SAM2, TrackerSettings
from samcam.live.tracker.step import ObjectStepper
from samcam.live.tracker.track import ObjectTrack
from samcam.live.tracker.tracker import Tracker

LOGIT_TOLERANCE = 0.05  # README of the golden files: scale 16, stored as float16
STORED_STEP = 2.0**-10  # a float16's relative rounding, for logits beyond the scale
VALUE_TOLERANCE = 0.01  # ious, object scores, pointers: measured at most 0.0072 on Meta's modules
NEAR_TIE = 0.02
FRAME_NS = 33_333_333
NOT_THERE_YET, MASK_PROMPT = -2, -1


@dataclass(frozen=True)
class Golden:
    """One case: arrays by name, its frames (S, S, 3) BGR and its prompts."""

    name: str
    arrays: dict[str, NDArray[Any]]
    frames: list[NDArray[np.uint8]]
    case: dict[str, Any]
    folder: Path

    @property
    def size(self) -> int:
        return int(self.case["size"])

    @property
    def settings(self) -> TrackerSettings:
        return replace(SAM2, corrections_condition=bool(self.case["cond"]))

    def prompts(self) -> Iterator[Prompt]:
        """What the user points at, in the order of the case."""
        for entry in self.case["prompts"]:
            mask = None
            if "mask" in entry:
                picture = cv2.imread(str(self.folder / entry["mask"]), cv2.IMREAD_GRAYSCALE)
                assert picture is not None
                mask = picture > 0
            yield Prompt(
                object_id=entry["obj"],
                frame_index=entry["frame"],
                points_xy_px=np.array(entry.get("points", []), np.float32),
                labels=np.array(entry.get("labels", []), np.int32),
                box_xyxy_px=np.array(entry["box"], np.float32) if "box" in entry else None,
                mask=mask,
            )


def load_golden(shared: Path, name: str) -> Golden:
    """Read a case; fails where the frames are not the ones Meta's tracker saw."""
    folder = shared / "parity"
    with np.load(folder / f"golden_sam2_{name}.npz") as stored:
        arrays = {key: stored[key] for key in stored.files}
    case = json.loads(str(arrays["case"]))
    clip = shared / "data" / "masks" / case["clip"]
    files = sorted(clip.rglob("*.jpg"))[: case["frames"]]
    frames = []
    for file, digest in zip(files, arrays["frame_md5"], strict=True):
        rgb = np.asarray(Image.open(file).convert("RGB").resize((case["size"],) * 2))
        assert hashlib.md5(rgb.tobytes()).hexdigest() == digest, file
        frames.append(np.ascontiguousarray(rgb[..., ::-1]))
    return Golden(name, arrays, frames, case, folder)


@dataclass
class Recorded:
    """What the tracker answered for one object on one frame."""

    answer: Answer
    result: ObjectResult
    decoded: DecoderOutput

    @property
    def token(self) -> int | None:
        """The chosen token; None where the object is absent or its mask was given."""
        for token, mask in enumerate(self.decoded.low_res_masks):
            if np.array_equal(mask, self.answer.low_res_mask):
                return token
        return None


@dataclass
class Recording:
    """Answers by (frame index, object id), and the networks' last decoder output."""

    answers: dict[tuple[int, int], Recorded] = field(default_factory=dict)
    frame: int = 0
    decoded: DecoderOutput | None = None


class WatchedNetworks(Sam2Networks):
    """Networks that note their decoder outputs; does not close the backends it shares."""

    def __init__(self, manifest: Manifest, backends: Any, recording: Recording) -> None:
        super().__init__(manifest, backends)
        self._recording = recording

    def decode(
        self,
        pix_feat_with_mem: DeviceTensor,
        features: ImageFeatures,
        points_xy: NDArray[np.float32],
        labels: NDArray[np.int32],
        mask_input: NDArray[np.float32] | None = None,
    ) -> DecoderOutput:
        output = super().decode(pix_feat_with_mem, features, points_xy, labels, mask_input)
        self._recording.decoded = output
        return output

    def close(self) -> None:
        """Leave the backends open for the next test."""


@contextmanager
def recorded_tracks(recording: Recording) -> Iterator[None]:
    """Make new trackers note every answer as they finish with it."""

    class Watched(ObjectStepper):
        def publish(
            self, past: PastStep, track: ObjectTrack, answer: Answer, *rest: Any
        ) -> ObjectResult:
            result = super().publish(past, track, answer, *rest)
            assert recording.decoded is not None
            recording.answers[recording.frame, track.object_id] = Recorded(
                answer, result, recording.decoded
            )
            return result

    with mock.patch.object(tracker_module, "ObjectStepper", Watched):
        yield


def run_tracker(
    manifest: Manifest,
    backends: Any,
    settings: TrackerSettings,
    frames: list[NDArray[np.uint8]],
    prompts: list[Prompt],
) -> Recording:
    """Track prompts through frames and return every answer."""
    recording = Recording()
    networks = WatchedNetworks(manifest, backends, recording)
    with recorded_tracks(recording), Tracker(networks, settings) as tracker:
        for prompt in prompts:
            tracker.prompt(prompt)
        for index, image in enumerate(frames):
            recording.frame = index
            tracker.step(Frame(index, index * FRAME_NS, 0, image))
    return recording


class CachedEncoder:
    """An image encoder's backend that encodes each picture once."""

    def __init__(self, inner: Backend) -> None:
        self._inner = inner
        self._known: dict[bytes, Mapping[str, DeviceTensor]] = {}
        self.inputs, self.outputs = inner.inputs, inner.outputs

    def run(self, feeds: Mapping[str, Feed]) -> Mapping[str, DeviceTensor]:
        (image,) = feeds.values()
        key = hashlib.md5(np.ascontiguousarray(image).tobytes()).digest()
        if key not in self._known:
            outputs = self._inner.run(feeds)
            self._known[key] = {name: tensor.copy() for name, tensor in outputs.items()}
        return self._known[key]

    def close(self) -> None:
        self._known.clear()
        self._inner.close()


class ChangedFeeds:
    """A backend that gets its inputs through `change`, a function on arrays by name."""

    def __init__(self, inner: Backend, change: Callable[[dict[str, Any]], None]) -> None:
        self._inner = inner
        self._change = change
        self._stacks = StackBuffers()
        self.inputs, self.outputs = inner.inputs, inner.outputs

    def run(self, feeds: Mapping[str, Feed]) -> Mapping[str, DeviceTensor]:
        arrays = check_feeds("changed", self.inputs, feeds, self._stacks)
        copies = {name: np.array(array) for name, array in arrays.items()}
        self._change(copies)
        return self._inner.run({name: np.ascontiguousarray(a) for name, a in copies.items()})

    def close(self) -> None:
        self._inner.close()


@dataclass
class Difference:
    """Largest differences from the golden answers over the frames that were compared."""

    logit: float = 0.0
    value: float = 0.0
    frames: int = 0
    total: int = 0
    left_at: str = ""
    problems: list[str] = field(default_factory=list)

    @property
    def agrees(self) -> bool:
        return not self.problems


def difference(golden: Golden, recording: Recording) -> Difference:
    """Compare every frame up to the first near tie that went the other way."""
    found = Difference()
    arrays = golden.arrays
    for column, object_id in enumerate(arrays["objects"].tolist()):
        for frame in range(len(golden.frames)):
            chosen = int(arrays["chosen"][frame, column])
            if chosen == NOT_THERE_YET:
                continue
            found.total += 1
            if not _compare(found, golden, recording, (frame, column, object_id)):
                found.left_at = f"{golden.name}: object {object_id} left at frame {frame}"
                found.total += len(golden.frames) - 1 - frame
                break
            found.frames += 1
    return found


def _compare(
    found: Difference, golden: Golden, recording: Recording, place: tuple[int, int, int]
) -> bool:
    """Compare one answer; False where a near tie went the other way."""
    frame, column, object_id = place
    arrays = {key: golden.arrays[key][frame, column] for key in _COMPARED}
    ours = recording.answers[frame, object_id]
    where = f"{golden.name} frame {frame} object {object_id}"
    chosen = int(arrays["chosen"])
    prompted_mask = chosen == MASK_PROMPT
    there = bool(arrays["object_score"] > 0)
    if ours.answer.present != there:
        found.problems.append(f"{where}: present {ours.answer.present}, expected {there}")
        return True
    if there and not prompted_mask and ours.token != chosen:
        if arrays["min_gap"] < NEAR_TIE:
            return False
        found.problems.append(f"{where}: token {ours.token}, expected {chosen}")
        return True
    stored = arrays["low_res"].astype(np.float32)
    if there:
        error = np.abs(ours.answer.low_res_mask - stored)
        found.logit = max(found.logit, float(error.max()))
        if (error > np.maximum(LOGIT_TOLERANCE, np.abs(stored) * STORED_STEP)).any():
            found.problems.append(f"{where}: logits differ by {error.max():.3f}")
    values = [
        np.abs(ours.answer.obj_ptr - arrays["obj_ptr"]).max(),
        abs(ours.answer.object_score - arrays["object_score"]),
    ]
    if not prompted_mask:
        values.append(np.abs(ours.decoded.ious - arrays["ious"]).max())
    found.value = max(found.value, *map(float, values))
    if max(values) > VALUE_TOLERANCE:
        found.problems.append(f"{where}: pointer, score or ious differ by {max(values):.3f}")
    return True


_COMPARED = ("chosen", "object_score", "min_gap", "low_res", "obj_ptr", "ious")
