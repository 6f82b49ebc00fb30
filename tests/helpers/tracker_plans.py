"""Runs of a tracker that follow a plan of commands, compared bit by bit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from samcam.engines.sam2_graphs import Sam2Networks
from samcam.live.commands import TrackerCommand
from samcam.live.frames import U8, FrameResult, ObjectResult, Prompt
from samcam.live.tracker.identity.recovery import RecoverySettings
from samcam.live.tracker.presets import TrackerSettings
from samcam.live.tracker.tracker import Tracker
from tests.helpers.tracker_networks import SIZE, box_prompt, click, frame, sensitive_networks

STEPS = 24
Plan: TypeAlias = Mapping[int, list[TrackerCommand]]  # step -> what is done before it

BOX, FIX = box_prompt(100, 100, 400, 300, object_id=5), click(300, 200, object_id=5)
OTHER = box_prompt(20, 200, 200, 400, object_id=9)


def moving_picture(index: int) -> U8:
    ys, xs = np.mgrid[: SIZE[1], : SIZE[0]]
    waves = np.sin((xs + 9 * index) / 37) + np.cos((ys - 5 * index) / 23)
    grey = np.asarray(np.clip(waves * 60 + 128, 0, 255), np.uint8)
    return np.stack((grey, np.roll(grey, 40, 1), np.roll(grey, 80, 0)), axis=2)


PICTURES = [moving_picture(index) for index in range(STEPS)]


def taking_any(settings: TrackerSettings) -> TrackerSettings:
    """Return a preset that takes every mask for the object: those of networks that know nothing
    of objects look like something else each time, and refused answers are all alike."""
    if settings.recovery is None:
        return settings
    return replace(
        settings,
        recovery=RecoverySettings(sure=0, remembered=0, shown=0, motion_s=0),
        state=replace(settings.state, uncertain_iou=0, certain_iou=0),
    )


def seen_on(step: int, prompt: Prompt) -> Prompt:
    return replace(prompt, step=step)


def run(
    settings: TrackerSettings,
    plan: Plan,
    networks: Sam2Networks | None = None,
    after: Callable[[Tracker, FrameResult], None] = lambda tracker, result: None,
) -> list[dict[int, ObjectResult]]:
    """Follow a plan through the pictures, which come unevenly in time."""
    answers = []
    networks = networks or sensitive_networks()
    with Tracker(networks, settings, memory_pictures=True) as tracker:
        for index, picture in enumerate(PICTURES):
            for command in plan.get(index, ()):
                tracker.apply(command)
            result = tracker.step(frame(2 * index + index % 3, picture))
            answers.append({answer.object_id: answer for answer in result.objects})
            after(tracker, result)
    return answers


def bits(answer: ObjectResult | None) -> object:
    if answer is None:
        return None
    mask = None if answer.mask_logits is None else answer.mask_logits.tobytes()
    apart = ("mask_logits", "memory_pictures")
    values = {name: getattr(answer, name) for name in answer.__slots__ if name not in apart}
    pictures = [
        seen and (seen.image_bgr.tobytes(), seen.mask.tobytes(), seen.time_ns, seen.predicted_iou)
        for seen in answer.memory_pictures
    ]
    return mask, values, pictures


def same(
    one: list[dict[int, ObjectResult]], other: list[dict[int, ObjectResult]], object_id: int
) -> list[bool]:
    return [
        bits(a.get(object_id)) == bits(b.get(object_id)) for a, b in zip(one, other, strict=True)
    ]


def steps_of(tracker: Tracker, index: int) -> tuple[int, ...]:
    (answer,) = tracker.step(frame(index, PICTURES[index % STEPS])).objects
    return answer.memory_steps
