"""SAM 2's decisions between the networks, as pure functions on host arrays in fp32.

The networks answer for every token. Which token wins, whether the object is present and what enters
the next network is decided here, so that all backends decide alike and a preset can change a rule
without another export. Sources: facebookresearch/sam2 @2b90b9f.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from samcam.system import Section, Setting

F32: TypeAlias = NDArray[np.float32]

NO_OBJECT_LOGIT: Final = -1024.0  # sam2_base.py:19, NO_OBJ_SCORE
MASK_INPUT_LIMIT: Final = 32.0  # sam2_video_predictor.py:262
MASK_PROMPT_SCORE: Final = 10.0  # sam2_base.py:421 and 451: 20 * appearing - 10


@dataclass(frozen=True, slots=True)
class TokenRule(Section):
    """Numbers of the token rule; part of a model's manifest.

    Attributes:
        single_mask_token: Token trained for unambiguous prompts; the others are the candidates.
        multimask_max_points: Most points with which the candidates are used (a box counts as 2).
            Source: sam2.1_hiera_t.yaml, multimask_max_pt_num.
        stability_delta: Half-width in logits of the band in which a stable mask has no pixels.
        stability_threshold: Least stability at which the single-mask token is trusted. Source of
            both: build_sam.py:85-87 (code defaults at mask_decoder.py:28-29).
    """

    __needed__: ClassVar = (
        *("single_mask_token", "multimask_max_points"),
        *("stability_delta", "stability_threshold"),
    )

    single_mask_token: Annotated[int, Setting(low=0)] = 0
    multimask_max_points: Annotated[int, Setting(low=0)] = 1
    stability_delta: Annotated[float, Setting(low=0)] = 0.05
    stability_threshold: Annotated[float, Setting(low=0, high=1)] = 0.98


DEFAULT_TOKEN_RULE: Final = TokenRule()


@dataclass(frozen=True, slots=True)
class TokenChoice:
    """Which token gives the mask (and its IoU) and which the object pointer."""

    mask_token: int
    pointer_token: int


@dataclass(frozen=True, slots=True, eq=False)
class Presence:
    """An answer after the presence rule.

    Attributes:
        low_res_mask: (L, L) logits; all -1024 where the object is not present.
        obj_ptr: (D,); the model's `no_obj_ptr` where it is not.
    """

    present: bool
    low_res_mask: F32
    obj_ptr: F32


def uses_multimask_tokens(
    num_points: int, tracking: bool, rule: TokenRule = DEFAULT_TOKEN_RULE
) -> bool:
    """Say whether the candidates (tokens 1..K-1) answer, not the single-mask token.

    Args:
        num_points: Points of the prompt; a box counts as its 2 corners; 0 for none.
        tracking: False for a mask prompt (no points, and the single-mask token's pointer).

    Source: `_use_multimask`, sam2_base.py:881-889, with the SAM 2.1 settings; for mask prompts the
    default of `_forward_sam_heads` as called at sam2_base.py:440.
    """
    return num_points <= rule.multimask_max_points and (num_points > 0 or tracking)


def stability_score(mask_logits: F32, delta: float = DEFAULT_TOKEN_RULE.stability_delta) -> float:
    """Return the IoU of the mask cut at +delta with the mask cut at -delta; 1 if both are empty.

    Source: `_get_stability_scores`, mask_decoder.py:247-257.
    """
    union = np.count_nonzero(mask_logits > -delta)
    return np.count_nonzero(mask_logits > delta) / union if union else 1.0


def choose_token(
    low_res_masks: F32,
    ious: F32,
    multimask: bool,
    rule: TokenRule = DEFAULT_TOKEN_RULE,
) -> TokenChoice:
    """Choose the token of the mask and the token of the pointer.

    Args:
        low_res_masks: (K, L, L) raw logits, before the presence rule.
        ious: (K,) predicted IoU of each token.
        multimask: What `uses_multimask_tokens` said.

    Returns:
        The first best candidate if `multimask`. Else the single-mask token, or the candidate with
        the best IoU where that one is unstable; the pointer stays the single-mask token's.

    Source: `forward` and `_dynamic_multimask_via_stability`, mask_decoder.py:144-166, 259-299;
    `_forward_sam_heads`, sam2_base.py:381-391.
    """
    single = rule.single_mask_token
    if len(ious) == 1:
        return TokenChoice(single, single)
    if multimask:
        best = _best_candidate(ious, single)
        return TokenChoice(best, best)
    if stability_score(low_res_masks[single], rule.stability_delta) >= rule.stability_threshold:
        return TokenChoice(single, single)
    return TokenChoice(_best_candidate(ious, single), single)


def apply_presence(
    low_res_mask: F32, obj_ptr: F32, object_score_logit: float, threshold: float, no_obj_ptr: F32
) -> Presence:
    """Empty the (L, L) mask logits and replace the (D,) pointer where the object is not present.

    It is present where its score is above `threshold`: 0 in SAM 2; a preset may set another.
    Source: sam2_base.py:359-368 (mask) and 393-403 (pointer, fixed_no_obj_ptr).
    """
    if object_score_logit > threshold:
        return Presence(True, low_res_mask, obj_ptr)
    return Presence(False, np.full_like(low_res_mask, NO_OBJECT_LOGIT), no_obj_ptr)


def mask_prompt_score(mask: NDArray[np.bool_]) -> float:
    """Return the object score logit of a mask prompt: 10, or -10 for an empty mask.

    Source: `_use_mask_as_output`, sam2_base.py:448-451.
    """
    return MASK_PROMPT_SCORE if bool(mask.any()) else -MASK_PROMPT_SCORE


def clamp_mask_input(mask_logits: F32) -> F32:
    """Limit previous logits to -32..32 before they become a `mask_input`.

    Source: sam2_video_predictor.py:262.
    """
    return np.clip(mask_logits, np.float32(-MASK_INPUT_LIMIT), np.float32(MASK_INPUT_LIMIT))


def _best_candidate(scores: F32, single_mask_token: int) -> int:
    masked = np.array(scores, np.float32)
    masked[single_mask_token] = -np.inf
    return int(np.argmax(masked))
