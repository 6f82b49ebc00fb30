"""A clip through the five networks as the tracker runs them, for training and for evaluation."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from training.batches import Batch, centre_pixel
from training.network.losses import StepLoss, refined_loss, step_loss
from training.network.mask_decoder import Rough
from training.network.model import Nano
from training.network.sizes import MASK_STRIDE

MAX_CORRECTIONS = 4  # with the first click five, as many as users give


@dataclass(frozen=True)
class RolloutOptions:
    """How a clip is run.

    Attributes:
        balance: Class balance of the mask loss.
        truth_share: Chance that a memory holds the true mask instead of the model's own.
        drop_share: Chance that a recent memory is left out (as the gate does).
        mask_share: Chance that a correction sees the mask before it, and not only all clicks, as
            where they are all given on one picture.
        correct_share: Chance that frame 0 gets a correction click, and then another, up to
            MAX_CORRECTIONS.
    """

    balance: float = 0.5
    truth_share: float = 0.2
    drop_share: float = 0.15
    correct_share: float = 0.4
    mask_share: float = 0.6


@dataclass(frozen=True)
class _Memory:
    """One remembered frame: tensors over B, and who admitted it."""

    features: Tensor
    pointer: Tensor
    admitted: Tensor


def _features_of(maps: tuple[Tensor, ...], rows: Tensor) -> tuple[Tensor, ...]:
    return tuple(m[rows] for m in maps)


@dataclass(frozen=True)
class _Answer:
    """The answer for every object: its mask (B, 1, L, L), pointer (B, D), score (B, 1), loss."""

    mask: Tensor
    pointer: Tensor
    score: Tensor
    loss: StepLoss


def choose(ious: Tensor, single: Tensor) -> Tensor:
    """The token rule by predicted IoU: (B, K) and (B,) bool to tokens (B,)."""
    return torch.where(single, 0, ious[:, 1:].argmax(dim=1) + 1)


def correction_points(mask: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """A click in the middle of the largest error of each (L, L) mask: points (B, 2), labels."""
    wrong = (mask[:, 0] > 0) != (target > 0.5)
    points, labels = [], []
    for b in range(len(wrong)):
        if not wrong[b].any():
            points.append((0.0, 0.0))
            labels.append(-1)
            continue
        missed = wrong[b] & (target[b] > 0.5)
        extra = wrong[b] & ~missed
        error = missed if missed.sum() >= extra.sum() else extra
        x, y = centre_pixel(error.cpu().numpy())
        points.append(((x + 0.5) * MASK_STRIDE - 0.5, (y + 0.5) * MASK_STRIDE - 0.5))
        labels.append(int(missed.sum() >= extra.sum()))
    return torch.tensor(points), torch.tensor(labels, dtype=torch.int32)


class Rollout:
    """Runs batches; holds no state of its own between them."""

    def __init__(self, model: Nano, options: RolloutOptions) -> None:
        self.model, self.options = model, options

    def run(self, batch: Batch) -> list[StepLoss]:
        """Losses of every frame of the batch, frame 0 first."""
        clips, frames = batch.images.shape[:2]
        b = batch.targets.shape[0]
        encoded = self.model.image_encoder(batch.images.flatten(0, 1))
        # (C * T, ...) -> rows of frame t for every object of the batch
        device = batch.images.device
        clip_of = torch.arange(clips, device=device).repeat_interleave(b // clips)
        target = batch.targets.float() / 255.0
        pix, no_mem, high0, high1 = _features_of(encoded, clip_of * frames)
        # a mask prompt sees the raw features, as sam2_base.py:786-793 does
        bare = torch.where(batch.mask_prompt[:, None, None, None], pix, no_mem)
        first = self.prompted(batch, target[:, 0], (bare, high0, high1))
        losses = [first.loss]
        if frames == 1:
            return losses
        own = torch.where(
            batch.mask_prompt[:, None, None, None], target[:, :1] * 20 - 10, first.mask
        )
        shown = replace(first, mask=own)
        memories = [self.remember(pix, shown, target[:, 0], first=True)]
        for t in range(1, frames):
            pix, _, high0, high1 = _features_of(encoded, clip_of * frames + t)
            answer = self.track((pix, high0, high1), memories, target[:, t])
            losses.append(answer.loss)
            if t + 1 < frames:
                memories.append(self.remember(pix, answer, target[:, t], first=False))
        return losses

    def answer(self, rough: Rough, high0: Tensor, target: Tensor, single: Tensor) -> _Answer:
        """Choose by predicted IoU, refine what was chosen, and score both.

        `high0` and `target` are (B, ., L, L) and (B, L, L) in 0..1; `single`, (B,) bool: where the
        single-mask token answers.
        """
        token = choose(rough.ious, single)
        rows = torch.arange(len(token), device=token.device)
        chosen = rough.masks[rows, token][:, None]
        mask = self.model.mask_decoder.refiner(chosen, rough.fine, rough.high4, high0)
        coarse = F.avg_pool2d(target[:, None], 2)[:, 0]
        outputs = rough.masks, rough.ious, rough.score
        loss = step_loss(outputs, coarse, single, self.options.balance)
        finer = refined_loss(mask, chosen, target, coarse, self.options.balance)
        loss = replace(loss, total=loss.total + finer)
        return _Answer(mask, rough.pointers[rows, token], rough.score, loss)

    def prompted(
        self, batch: Batch, target: Tensor, maps: tuple[Tensor, Tensor, Tensor]
    ) -> _Answer:
        """Decode frame 0 from its prompts, sometimes with correction clicks after it.

        Most corrections see the mask before them. The answer is that of the prompts alone; the
        losses of the corrections are added to its own.
        """
        b, side, device = len(target), target.shape[-1], target.device
        mask_input = torch.zeros(b, 1, side, side, device=device)
        if bool(batch.mask_prompt.any()):
            given = target[:, None] * 20 - 10
            mask_input = torch.where(batch.mask_prompt[:, None, None, None], given, mask_input)
        decoder = self.model.mask_decoder
        rough = decoder.rough(maps, batch.points, batch.labels, mask_input, batch.mask_prompt)
        every = torch.ones(b, dtype=torch.bool, device=device)  # the single-mask token answers
        first = self.answer(rough, maps[1], target, every)
        total, latest = first.loss.total, first
        points, labels = batch.points, batch.labels
        for _ in range(MAX_CORRECTIONS):
            if torch.rand(()) >= self.options.correct_share:
                break
            mask = latest.mask.detach()
            xy, label = correction_points(mask, target)
            points = torch.cat((points, xy[:, None].to(points)), dim=1)
            labels = torch.cat((labels, label[:, None].to(labels)), dim=1)
            shown = torch.rand(b, device=device) < self.options.mask_share
            again = decoder.rough(maps, points, labels, mask.clamp(-32, 32), shown)
            latest = self.answer(again, maps[1], target, every)
            total = total + 0.5 * latest.loss.total
        return replace(first, loss=replace(first.loss, total=total))

    def remember(self, pix: Tensor, answer: _Answer, target: Tensor, first: bool) -> _Memory:
        """Encode one frame's memory from the model's own mask, or sometimes the true one."""
        b, device = answer.mask.shape[0], answer.mask.device
        true_mask = target[:, None] * 20 - 10
        use_truth = torch.rand(b, device=device) < self.options.truth_share
        use_truth = use_truth[:, None, None, None]
        kept = torch.where(use_truth, true_mask, answer.mask.detach())
        prompted = torch.full((b,), first, device=device)
        features = self.model.memory_encoder(pix, kept, prompted, answer.score.detach())
        admitted = torch.ones(b, dtype=torch.bool, device=device)
        if not first:
            there = target.sum((1, 2)) > 4
            seen = torch.where(use_truth[:, 0, 0, 0], there, answer.score[:, 0] > 0)
            admitted = seen & (torch.rand(b, device=device) >= self.options.drop_share)
        return _Memory(features, answer.pointer, admitted)

    def track(
        self, maps: tuple[Tensor, Tensor, Tensor], memories: list[_Memory], target: Tensor
    ) -> _Answer:
        """Decode a frame from memory alone, as the tracker does between prompts."""
        pix, high0, high1 = maps
        b, t, device = pix.shape[0], len(memories), pix.device
        valid = torch.stack([m.admitted for m in memories], dim=1)
        # rank among the admitted, 1 = newest; the conditioning frame is 0
        rank = valid.flip(1).long().cumsum(1).flip(1)
        rank[:, 0] = 0
        valid = valid & (rank <= 6)
        offsets = torch.arange(t, 0, -1, dtype=torch.float32, device=device).expand(b, t)
        features = self.model.memory_attention(
            pix,
            torch.stack([m.features for m in memories], dim=1),
            rank.clamp(0, 6).to(torch.int32),
            valid,
            torch.stack([m.pointer for m in memories], dim=1),
            offsets,
            valid,
        )
        nobody = torch.zeros(b, dtype=torch.bool, device=device)
        nothing = -torch.ones(b, 1, dtype=torch.int32, device=device)
        side = high0.shape[-1]
        rough = self.model.mask_decoder.rough(
            (features, high0, high1),
            torch.zeros(b, 1, 2, device=device),
            nothing,
            torch.zeros(b, 1, side, side, device=device),
            nobody,
        )
        return self.answer(rough, high0, target, nobody)
