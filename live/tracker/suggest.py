"""Objects without a prompt: an automatic mask generator, one small slice of work at a time.

Each point of a grid is decoded alone, as a single click would be, on features without memory. A
candidate mask is kept if its predicted IoU is high, if it hardly changes when its logits are cut
a little higher or lower (stability), if it is neither a speck nor the whole picture, and if no
better one overlaps it. Source of the method and its numbers: SAM 2's
sam2/automatic_mask_generator.py @2b90b9f (points_per_side 32, pred_iou_thresh 0.8,
stability_score_thresh 0.95, stability_score_offset 1.0, box_nms_thresh 0.7). Differs: points go
one by one, so that a caller can stop after any of them; overlap is that of the masks, not of
their boxes; and it is judged as masks come, so that memory stays bounded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Final

import numpy as np

from samcam.engines import ImageFeatures, Sam2Networks, stability_score
from samcam.live.commands import Proposal
from samcam.live.frames import F32, Mask
from samcam.system import Checked, Setting

_POSITIVE: Final = np.ones((1,), np.int32)


@dataclass(frozen=True, slots=True)
class SuggestRules(Checked):
    """What is tried and what is kept."""

    points_per_side: Annotated[
        int, Setting("Points along each side of the grid that is tried.", "points", 1, 64)
    ] = 32
    predicted_iou: Annotated[
        float, Setting("Least predicted IoU of a proposal.", low=0, high=1)
    ] = 0.8
    stability: Annotated[
        float,
        Setting(
            "Least overlap of a mask cut a little higher with itself cut a little lower.",
            low=0,
            high=1,
        ),
    ] = 0.95
    stability_delta: Annotated[
        float, Setting("How much higher and lower that is.", "logit", 0.01, 16)
    ] = 1.0
    min_area: Annotated[
        float, Setting("Least area of a proposal.", "share of the picture", 0, 1)
    ] = 0.0001
    max_area: Annotated[
        float, Setting("Largest area of a proposal.", "share of the picture", 0, 1)
    ] = 0.95
    max_overlap: Annotated[
        float,
        Setting("Of two masks whose IoU is above this, the worse is dropped.", low=0, high=1),
    ] = 0.7
    max_proposals: Annotated[
        int, Setting("Most proposals of one picture; the best stay.", low=1, high=254)
    ] = 128


SAM2_RULES: Final = SuggestRules()
# nano believes less in itself than SAM 2 does, and its masks have softer borders; how these were
# chosen is in docs/accuracy.md.
NANO_RULES: Final = SuggestRules(
    points_per_side=16, predicted_iou=0.35, stability=0.5, min_area=0.001
)


_MODEL_RULES: Final[Mapping[str, SuggestRules]] = {"nano": NANO_RULES}


def model_rules(model: str) -> SuggestRules:
    return _MODEL_RULES.get(model, SAM2_RULES)


class MaskGenerator:
    """Proposals for one picture; each `next` decodes one point of the grid.

    Used by the inference thread only, while the picture's features are alive. `proposals` can be
    read after any slice. Points come in a shuffled but fixed order, so that an early stop has
    looked everywhere.
    """

    def __init__(
        self,
        networks: Sam2Networks,
        features: ImageFeatures,
        size_wh: tuple[int, int],
        rules: SuggestRules,
    ) -> None:
        """Lay the grid on a picture of `size_wh` source pixels; only the mask decoder is run."""
        self._networks = networks
        self._features = features
        self._size_wh = size_wh
        self._rules = rules
        self._points = _grid(rules.points_per_side)
        self._next = 0
        self._kept: list[Proposal] = []
        self._masks: list[Mask] = []

    def __len__(self) -> int:
        return len(self._points)

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        """Decode one point and return how many are done."""
        if self._next >= len(self._points):
            raise StopIteration
        x, y = self._points[self._next]
        self._next += 1
        size = np.float32(self._networks.manifest.image_size)
        decoded = self._networks.decode(
            self._features.pix_feat_no_mem,
            self._features,
            np.array([[x, y]], np.float32) * size,
            _POSITIVE,
        )
        point = (float(x) * self._size_wh[0], float(y) * self._size_wh[1])
        for logits, iou in zip(decoded.low_res_masks, decoded.ious, strict=True):
            self._consider(logits, float(iou), point)
        return self._next

    @property
    def proposals(self) -> tuple[Proposal, ...]:
        """What is kept so far, the best first."""
        return tuple(self._kept)

    def _consider(self, logits: F32, iou: float, point: tuple[float, float]) -> None:
        """Keep a mask in its place if it passes, and drop what is worse and overlaps it."""
        rules = self._rules
        if not iou >= rules.predicted_iou:
            return
        mask: Mask = logits > 0
        area = np.count_nonzero(mask) / mask.size
        if not (area and rules.min_area <= area <= rules.max_area):
            return
        stability = stability_score(logits, rules.stability_delta)
        if stability < rules.stability:
            return
        # On a tie the one that came first stays in front.
        place = sum(other.predicted_iou >= iou for other in self._kept)
        if any(self._overlaps(mask, other) for other in self._masks[:place]):
            return
        worse = range(place, len(self._kept))
        keep = [i for i in worse if not self._overlaps(mask, self._masks[i])]
        # A copy: a view would keep all K masks of the decoder's answer alive.
        proposal = Proposal(logits.copy(), iou, stability, point)
        most = rules.max_proposals
        kept = [*self._kept[:place], proposal, *(self._kept[i] for i in keep)]
        masks = [*self._masks[:place], mask, *(self._masks[i] for i in keep)]
        self._kept, self._masks = kept[:most], masks[:most]

    def _overlaps(self, mask: Mask, other: Mask) -> bool:
        inside = np.count_nonzero(mask & other)
        union = np.count_nonzero(mask | other)
        return bool(inside > self._rules.max_overlap * union)


def _grid(side: int) -> F32:
    """Return (side * side, 2): x and y in 0..1 at the middle of each cell, shuffled.

    Source of the places: `build_point_grid`, sam2/utils/amg.py @2b90b9f.
    """
    places = (np.arange(side, dtype=np.float32) + np.float32(0.5)) / np.float32(side)
    grid = np.stack(np.meshgrid(places, places), axis=-1).reshape(-1, 2)
    return np.random.default_rng(0).permutation(grid).astype(np.float32)
