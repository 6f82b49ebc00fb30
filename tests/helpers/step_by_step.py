"""Two forms of the same networks on the same steps: one decides, the other only follows.

The synthetic weights amplify: a difference of 1e-5 leaves the golden path after a few frames. So
the following form gets, at every step, memories that it encoded itself from the leading form's
masks, and its own mask is compared with the leading one's; its noise is not fed to the next step.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from samcam.engines.base import DeviceTensor
from samcam.engines.host_rules import F32, choose_token, uses_multimask_tokens
from samcam.engines.sam2_graphs import I32, U8, DecoderOutput, ImageFeatures, Sam2Networks

NEAR_TIE = 0.02  # of predicted IoU: an honest difference in rounding may choose the other one
LEAST_SHARE = 0.01  # of the picture: an IoU says little about masks of a few pixels


@dataclass
class Steps:
    """What the two forms answered.

    Attributes:
        ious: Of the masks of every decoder run that gave more than a few pixels.
        runs: Number of decoder runs.
        both, either: Pixels of all masks together.
        flips: Runs where the following form chose another token.
        near_ties: Those of them that were near ties.
        finite: Whether every answer of the following form was finite.
    """

    ious: list[float] = field(default_factory=list)
    runs: int = 0
    both: int = 0
    either: int = 0
    flips: int = 0
    near_ties: int = 0
    finite: bool = True

    def joined(self, other: Steps) -> Steps:
        """Return both together."""
        return Steps(
            self.ious + other.ious,
            self.runs + other.runs,
            self.both + other.both,
            self.either + other.either,
            self.flips + other.flips,
            self.near_ties + other.near_ties,
            self.finite and other.finite,
        )


class StepByStep(Sam2Networks):
    """The leading networks, with others at their side."""

    def __init__(self, leading: Sam2Networks, following: Sam2Networks) -> None:
        super().__init__(leading.manifest, leading.backends)
        self.steps = Steps()
        self._following = following
        self._features: ImageFeatures | None = None
        self._attended: DeviceTensor | None = None
        self._memories: dict[bytes, DeviceTensor] = {}

    def encode_image(self, image_bgr: U8) -> ImageFeatures:
        self._features = self._following.encode_image(image_bgr)
        return super().encode_image(image_bgr)

    def attend(
        self,
        features: ImageFeatures,
        maskmem_features: Sequence[DeviceTensor],
        maskmem_tpos: Sequence[int],
        obj_ptrs: Sequence[F32],
        obj_ptr_tpos: Sequence[float],
    ) -> DeviceTensor:
        assert self._features is not None
        own = [self._memories[_key(memory)] for memory in maskmem_features]
        self._attended = self._following.attend(
            self._features, own, maskmem_tpos, obj_ptrs, obj_ptr_tpos
        )
        return super().attend(features, maskmem_features, maskmem_tpos, obj_ptrs, obj_ptr_tpos)

    def decode(
        self,
        pix_feat_with_mem: DeviceTensor,
        features: ImageFeatures,
        points_xy: F32,
        labels: I32,
        mask_input: F32 | None = None,
    ) -> DecoderOutput:
        assert self._features is not None
        wanted = super().decode(pix_feat_with_mem, features, points_xy, labels, mask_input)
        prompted = pix_feat_with_mem is features.pix_feat_no_mem
        own = self._features.pix_feat_no_mem if prompted else self._attended
        assert own is not None
        given = self._following.decode(own, self._features, points_xy, labels, mask_input)
        self._compare(wanted, given, len(labels))
        return wanted

    def encode_memory(
        self, features: ImageFeatures, low_res_mask: F32, is_prompted: bool, score: float
    ) -> DeviceTensor:
        assert self._features is not None
        memory = super().encode_memory(features, low_res_mask, is_prompted, score)
        own = self._following.encode_memory(self._features, low_res_mask, is_prompted, score)
        self._memories[_key(memory)] = own.copy()
        return memory

    def _compare(self, wanted: DecoderOutput, given: DecoderOutput, points: int) -> None:
        multimask = uses_multimask_tokens(points, True)
        first, second = (
            choose_token(output.low_res_masks, output.ious, multimask).mask_token
            for output in (wanted, given)
        )
        self.steps.finite &= bool(np.isfinite(given.low_res_masks).all())
        if first != second:
            self.steps.flips += 1
            if abs(wanted.ious[first] - wanted.ious[second]) < NEAR_TIE:
                self.steps.near_ties += 1
                second = first
        right, other = wanted.low_res_masks[first] > 0, given.low_res_masks[second] > 0
        both, either = np.count_nonzero(right & other), np.count_nonzero(right | other)
        self.steps.runs += 1
        self.steps.both += both
        self.steps.either += either
        if either >= LEAST_SHARE * right.size:
            self.steps.ious.append(both / either)


def _key(memory: DeviceTensor) -> bytes:
    return hashlib.md5(np.ascontiguousarray(memory.numpy()).tobytes()).digest()
