"""Scores clicks that follow one another on photographs: how many until the mask is good.

The first click is in the middle of the object, each next one in the middle of the largest error,
as RITM and SimpleClick do it: of missed and of surplus pixels, where the deepest one lies deepest.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol, TypeAlias

import cv2
import numpy as np

from bench.scores.datasets import VOID_OR_BINARY, StillSet, read_object_ids, read_picture
from bench.scores.metrics import compute_j
from bench.scores.prompts import click_point
from bench.scores.stills import decode_first
from samcam.engines import ImageFeatures, Sam2Networks, clamp_mask_input
from samcam.live.frames import F32, U8, Mask, Prompt
from samcam.live.masks import upsample_logits

CLICKS_SHOWN: Final = (1, 2, 3, 5)
REACHED: Final = (0.8, 0.9)
MAX_CLICKS: Final = 10

# What a click sees: all clicks at once, as the tracker answers several clicks on one picture; or
# the mask before it as well, as RITM and SimpleClick do.
ClickRule: TypeAlias = Literal["clicks", "clicks and mask"]
CLICK_RULES: Final[tuple[ClickRule, ...]] = ("clicks", "clicks and mask")


@dataclass(frozen=True, slots=True)
class ClickedInstance:
    """One instance: IoU after each click, at most MAX_CLICKS of them, and where they were.

    `ious` may end early, at an IoU of the last of REACHED and after the last of CLICKS_SHOWN.
    """

    picture: str
    object_id: int
    ious: tuple[float, ...]
    points_xy: tuple[tuple[int, int], ...]
    labels: tuple[int, ...]

    def clicks_to(self, iou: float) -> int | None:
        """Number of the first click that reached an IoU, or None."""
        return next((n for n, value in enumerate(self.ious, 1) if value >= iou), None)


@dataclass(frozen=True, slots=True)
class ClickScore:
    """One set of photographs under one rule.

    Attributes:
        rule: What each click saw.
        ious: Mean IoU after each of CLICKS_SHOWN.
        reached: Share of instances that reach each of REACHED in MAX_CLICKS clicks.
        clicks: Mean number of clicks to each of REACHED (NoC); MAX_CLICKS where it is not reached.
        instances: In the order of pictures and ids.
        seconds: Of all clicks: decoding, measuring, and where the next one falls.
    """

    name: str
    rule: ClickRule
    ious: tuple[float, ...]
    reached: tuple[float, ...]
    clicks: tuple[float, ...]
    instances: tuple[ClickedInstance, ...]
    seconds: float


class ClickSegmenter(Protocol):
    """What answers a growing list of clicks on one photograph after the other."""

    def look(self, image_bgr: U8) -> None:
        """Take the next photograph; not timed."""

    def start(self) -> None:
        """Forget the clicks so far: the next are for another object."""

    def answer(self, prompt: Prompt) -> Mask:
        """The (H, W) mask of all clicks so far, the newest last."""


class ClickedNetworks:
    """The networks without memory, as on an object's first picture; `rule`: what a click sees."""

    def __init__(self, networks: Sam2Networks, rule: ClickRule) -> None:
        self._networks, self._rule = networks, rule
        self._size_wh = (0, 0)
        self._features: ImageFeatures | None = None
        self._before: F32 | None = None

    def look(self, image_bgr: U8) -> None:
        self._size_wh = (image_bgr.shape[1], image_bgr.shape[0])
        self._features, self._before = self._networks.encode_image(image_bgr), None

    def start(self) -> None:
        self._before = None

    def answer(self, prompt: Prompt) -> Mask:
        """Decode all clicks; the host's token rule chooses."""
        features = self._features
        assert features is not None  # `look` comes first
        output, token = decode_first(self._networks, features, prompt, self._size_wh, self._before)
        logits = output.low_res_masks[token]
        if self._rule == "clicks and mask":
            self._before = clamp_mask_input(logits)
        return np.asarray(upsample_logits(logits, self._size_wh) > 0)


def next_click(mask: Mask, truth: Mask, valid: Mask) -> tuple[tuple[int, int], int] | None:
    """The pixel (x, y) in the middle of the largest error and its label; None where none is wrong.

    All masks are (H, W); `valid` are the pixels that count.
    """
    missed, surplus = truth & ~mask & valid, mask & ~truth & valid
    depths = [_depth(error) for error in (missed, surplus)]
    if not max(depths):
        return None
    is_missed = depths[0] >= depths[1]
    return click_point(missed if is_missed else surplus), int(is_missed)


def _depth(error: Mask) -> float:
    """Distance of an (H, W) error's deepest pixel to its border, 0 for none."""
    framed = np.pad(error, 1).astype(np.uint8)
    return float(cv2.distanceTransform(framed, cv2.DIST_L2, cv2.DIST_MASK_PRECISE).max())


def click_instance(
    segmenter: ClickSegmenter, truth: Mask, valid: Mask, picture: str, object_id: int
) -> ClickedInstance:
    """Click on one instance until it is as good as it need be, or MAX_CLICKS times."""
    points, labels, ious = [click_point(truth)], [1], list[float]()
    segmenter.start()
    while True:
        xy, kinds = np.array(points, np.float32), np.array(labels, np.int32)
        mask = segmenter.answer(Prompt(object_id, 0, xy, kinds))
        ious.append(compute_j(mask & valid, truth))
        enough = len(ious) >= CLICKS_SHOWN[-1] and ious[-1] >= REACHED[-1]
        following = next_click(mask, truth, valid)
        if enough or len(ious) >= MAX_CLICKS or following is None:
            break
        points.append(following[0])
        labels.append(following[1])
    return ClickedInstance(picture, object_id, tuple(ious), tuple(points), tuple(labels))


def evaluate_clicks(stills: StillSet, segmenter: ClickSegmenter, rule: ClickRule) -> ClickScore:
    """Click on every instance of every photograph, each on its own."""
    instances: list[ClickedInstance] = []
    seconds = 0.0
    for picture_path, mask_path in stills.pairs:
        image, ids = read_picture(picture_path), read_object_ids(mask_path)
        valid = ids != VOID_OR_BINARY
        segmenter.look(image)
        begun = time.perf_counter()
        for object_id in (int(v) for v in np.unique(ids) if v not in (0, VOID_OR_BINARY)):
            truth = ids == object_id
            clicked = click_instance(segmenter, truth, valid, picture_path.stem, object_id)
            instances.append(clicked)
        seconds += time.perf_counter() - begun
    return score_clicks(stills.name, rule, instances, seconds)


def score_clicks(
    name: str, rule: ClickRule, instances: Sequence[ClickedInstance], seconds: float
) -> ClickScore:
    """Means over instances; one that was right sooner keeps its last IoU for further clicks."""
    if not instances:
        nothing = (0.0,) * len(REACHED)
        return ClickScore(name, rule, (0.0,) * len(CLICKS_SHOWN), nothing, nothing, (), seconds)
    after = [[one.ious[min(n, len(one.ious)) - 1] for one in instances] for n in CLICKS_SHOWN]
    needed = [[one.clicks_to(iou) for one in instances] for iou in REACHED]
    return ClickScore(
        name,
        rule,
        tuple(float(np.mean(values)) for values in after),
        tuple(float(np.mean([n is not None for n in counts])) for counts in needed),
        tuple(float(np.mean([n or MAX_CLICKS for n in counts])) for counts in needed),
        tuple(instances),
        seconds,
    )
