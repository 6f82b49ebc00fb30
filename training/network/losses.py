"""Losses of `nano`: masks of the best candidate, predicted IoU, object score."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

MIN_CELLS = 0.7  # object cells below which a frame's mask is neither trained nor called absent
NO_CELLS = 0.05  # and below which it is called absent
ABSENT_WEIGHT = 2.0
REFINED_FROM = 0.3  # IoU of a rough mask from which on its refinement is trained
CHOICE_TEMPERATURE = 0.05  # of predicted IoUs when they stand for the chance of being selected


@dataclass(frozen=True)
class StepLoss:
    """Losses of one decoded frame and what it scored, for the log."""

    total: Tensor
    iou_selected: Tensor
    iou_best: Tensor


def mask_losses(logits: Tensor, target: Tensor, balance: float) -> Tensor:
    """Class-balanced cross-entropy plus dice per candidate: (B, K) from (B, K, L, L) logits and
    (B, L, L) targets in 0..1.

    `balance` 1 weighs object and background equally, 0 every cell equally.
    """
    soft = target[:, None].expand_as(logits)
    share = target.mean(dim=(1, 2)).clamp(2e-4, 0.9998)[:, None, None]
    weight = target * (0.5 / share) ** balance + (1 - target) * (0.5 / (1 - share)) ** balance
    weight = weight / weight.mean(dim=(1, 2), keepdim=True)
    entropy = F.binary_cross_entropy_with_logits(logits, soft, reduction="none")
    prob = torch.sigmoid(logits)
    overlap = (prob * soft).sum(dim=(2, 3))
    dice = 1 - (2 * overlap + 1) / (prob.sum(dim=(2, 3)) + soft.sum(dim=(2, 3)) + 1)
    return (entropy * weight[:, None]).mean(dim=(2, 3)) * 2 + dice


def mask_ious(logits: Tensor, target: Tensor) -> Tensor:
    """IoU of (B, K, L, L) logits > 0 with (B, L, L) targets > 0.5: (B, K)."""
    mask, truth = logits > 0, (target > 0.5)[:, None]
    union = (mask | truth).sum(dim=(2, 3)).clamp(min=1)
    return (mask & truth).sum(dim=(2, 3)) / union


def choice_regret(ious: Tensor, truth: Tensor) -> Tensor:
    """IoU that the selection by predicted IoU is expected to lose against the best candidate:
    (B,) from (B, K) predicted and measured IoUs.

    Regression alone leaves the order of near equal candidates to chance; this trains the order.
    """
    chance = torch.softmax(ious / CHOICE_TEMPERATURE, dim=1)
    return (chance * (truth.amax(dim=1, keepdim=True) - truth)).sum(dim=1)


def step_loss(
    outputs: tuple[Tensor, Tensor, Tensor],
    target: Tensor,
    single: Tensor,
    balance: float,
) -> StepLoss:
    """Loss of one decoded frame.

    Args:
        outputs: Masks (B, K, L, L), predicted IoUs (B, K) and object score (B, 1).
        target: (B, L, L) in 0..1; empty where the object is hidden.
        single: (B,) bool, True where the single-mask token answers (prompted frames).
    """
    low_res, ious, score = outputs
    cells = target.sum(dim=(1, 2))
    present = (cells > MIN_CELLS).float()
    empty = (cells <= NO_CELLS).float()
    per_token = mask_losses(low_res, target, balance)
    best = per_token[:, 1:].amin(dim=1)
    spread = per_token[:, 1:].mean(dim=1)
    own = torch.where(single, 1.0, 0.4)
    others = torch.where(single, 0.4, 1.0)
    masks = own * per_token[:, 0] + others * best + 0.05 * spread
    truth = mask_ious(low_res.detach(), target)
    iou = F.smooth_l1_loss(ious, truth, beta=0.1, reduction="none").mean(dim=1)
    regret = torch.where(single, 0.0, choice_regret(ious[:, 1:], truth[:, 1:]))
    known = (present + empty).clamp(max=1)
    exists = F.binary_cross_entropy_with_logits(score[:, 0], present, reduction="none") * known
    # hidden frames are rare but must not be missed: a false mask is shown to everyone
    exists = exists * (1 + (ABSENT_WEIGHT - 1) * empty)
    seen = ((masks + iou + regret) * present).sum() / present.sum().clamp(min=1)
    total = seen + 0.5 * exists.mean()
    chosen = torch.where(single, 0, ious[:, 1:].argmax(dim=1) + 1)
    selected = truth.gather(1, chosen[:, None])[:, 0]
    many = present.sum().clamp(min=1)
    return StepLoss(
        total,
        ((selected * present).sum() / many).detach(),
        ((truth.amax(dim=1) * present).sum() / many).detach(),
    )


def refined_loss(
    mask: Tensor, rough: Tensor, target: Tensor, coarse: Tensor, balance: float
) -> Tensor:
    """Loss of refined masks, over the objects that the rough mask found.

    What the rough mask missed altogether is not the refiner's to fix: it must not learn to move
    a mask from one object to another.

    Args:
        mask: (B, 1, L, L) logits.
        rough: (B, 1, L/2, L/2) logits.
        target: (B, L, L) in 0..1.
        coarse: The same at (B, L/2, L/2).
        balance: See `mask_losses`.
    """
    found = mask_ious(rough.detach(), coarse)[:, 0] > REFINED_FROM
    weight = found.float()
    return (mask_losses(mask, target, balance)[:, 0] * weight).sum() / weight.sum().clamp(min=1)
