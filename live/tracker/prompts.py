"""Prompts on their way to the tracker: checked, kept until their frame, merged, scaled."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from samcam.live.frames import F32, I32, MAX_PENDING_PROMPTS, Frame, Prompt

BOX_LABELS: Final = (2, 3)  # top left, bottom right; sam2_video_predictor.py:206 @2b90b9f


@dataclass(frozen=True, slots=True, eq=False)
class PointPrompt:
    """Points as the mask decoder takes them.

    Attributes:
        points_xy: (T, 2) float32 in pixels of the S x S picture, box corners first.
        labels: (T,) int32: 2 and 3 for the corners, then 1 and 0 for the clicks.
    """

    points_xy: F32
    labels: I32


def merge_prompts(prompts: Sequence[Prompt]) -> Prompt:
    """Join one object's prompts for the same frame, in the order in which they were given.

    Clicks add up, a later box replaces an earlier one, and a mask replaces what came before it
    and is replaced by what comes after it (sam2_video_predictor.py:236-237, 336-337 @2b90b9f).
    """
    merged = prompts[0]
    for prompt in prompts[1:]:
        if prompt.mask is not None or merged.mask is not None:
            merged = prompt
            continue
        merged = replace(
            merged,
            points_xy_px=np.concatenate((merged.points_xy_px, prompt.points_xy_px)),
            labels=np.concatenate((merged.labels, prompt.labels)),
            box_xyxy_px=merged.box_xyxy_px if prompt.box_xyxy_px is None else prompt.box_xyxy_px,
            candidate=prompt.candidate,
        )
    return merged


def scale_points(prompt: Prompt, size_wh: tuple[int, int], image_size: int) -> PointPrompt:
    """Turn source pixels into pixels of the S x S picture: x * S / W, y * S / H.

    A box becomes two points before the clicks (sam2_video_predictor.py:192-218 @2b90b9f).
    """
    points, labels = prompt.points_xy_px, prompt.labels
    if prompt.box_xyxy_px is not None:
        points = np.concatenate((prompt.box_xyxy_px.reshape(2, 2), points))
        labels = np.concatenate((np.array(BOX_LABELS, np.int32), labels))
    # In this order, in fp32: first to 0..1, then to pixels, as upstream.
    scaled = points / np.array(size_wh, np.float32) * np.float32(image_size)
    return PointPrompt(scaled.astype(np.float32, copy=False), labels)


def said_of_removal(object_id: int | None, present: Collection[int]) -> str | None:
    """Return what to tell the user when one object, or all, are to be forgotten.

    Raises:
        ValueError: There is no such object.
    """
    if object_id is None:
        return None if present else "no object to forget"
    if object_id not in present:
        there = ", ".join(map(str, sorted(present))) or "none"
        raise ValueError(f"object {object_id}: not known, nothing to forget; objects: {there}")
    return None


def said_of_move(prompt: Prompt, step: int | None) -> str | None:
    """Say where a prompt was used when that is not the picture it was made on."""
    who = f"object {prompt.object_id}: that picture is no longer kept"
    if step is None:
        return f"{who}, used on the next one"
    if prompt.step is None or prompt.step == step:
        return None
    away = abs(step - prompt.step)
    when = "later" if step > prompt.step else "earlier"
    return f"{who}, used on one {away} step{'s' if away > 1 else ''} {when}"


def said_of_passing(prompt: Prompt, last: Frame | None) -> str | None:
    """Say that a prompt's frame came before it did."""
    if prompt.frame_index is None or last is None or prompt.frame_index > last.index:
        return None
    return (
        f"object {prompt.object_id}: frame {prompt.frame_index} has passed (frame {last.index} was "
        "the last one), used on the next one"
    )


class PromptQueue:
    """Prompts that wait for their frame, in the order in which they were given."""

    def __init__(self) -> None:
        self._pending: list[Prompt] = []

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, prompt: Prompt) -> None:
        """Append a prompt; ValueError where too many wait already."""
        if len(self._pending) >= MAX_PENDING_PROMPTS:
            raise ValueError(
                f"object {prompt.object_id}: {MAX_PENDING_PROMPTS} prompts wait for their frames "
                "already, no more are taken"
            )
        self._pending.append(prompt)

    @property
    def object_ids(self) -> set[int]:
        return {prompt.object_id for prompt in self._pending}

    def names(self, object_id: int, frame_index: int | None) -> bool:
        """Whether a prompt that waits for this frame (None: the next one), or an earlier one,
        shows the object."""
        latest = frame_index or 0
        return any(
            prompt.object_id == object_id
            and (prompt.frame_index or 0) <= latest
            and prompt.points_at_something
            for prompt in self._pending
        )

    def drop(self, object_id: int | None) -> None:
        """Forget the prompts of one object, or all of them."""
        self._pending = [
            prompt
            for prompt in self._pending
            if object_id is not None and prompt.object_id != object_id
        ]

    def pop_last(self, object_id: int | None) -> Prompt | None:
        """Take out the last prompt that waits for the next frame, of one object or of any."""
        for position in range(len(self._pending) - 1, -1, -1):
            prompt = self._pending[position]
            if prompt.frame_index is None and object_id in (None, prompt.object_id):
                return self._pending.pop(position)
        return None

    def take_due(self, frame_index: int, size_wh: tuple[int, int]) -> dict[int, tuple[Prompt, ...]]:
        """Take out what belongs to this frame or an earlier one, by object, in order.

        Raises:
            ValueError: One of them does not fit the picture; it is dropped, the others stay.
        """
        if not self._pending:
            return {}
        due: dict[int, list[Prompt]] = {}
        waiting: list[Prompt] = []
        for position, prompt in enumerate(self._pending):
            if prompt.frame_index is not None and prompt.frame_index > frame_index:
                waiting.append(prompt)
                continue
            try:
                fitted = prompt.fitted(size_wh)
            except ValueError:
                del self._pending[position]
                raise
            due.setdefault(prompt.object_id, []).append(fitted)
        self._pending = waiting
        return {object_id: tuple(prompts) for object_id, prompts in due.items()}


def about_the_picture(prompts: Sequence[Prompt]) -> list[Prompt]:
    """Return the prompts for a step's own picture, without masks of other ones."""
    return [prompt for prompt in prompts if prompt.reference_bgr is None]
