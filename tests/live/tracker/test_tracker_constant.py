"""Constant for ever: calls, shapes and memory over thousands of steps, losses and objects."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from samcam.engines.fake_backend import FakeBackend, fake_manifest, fake_networks
from samcam.engines.sam2_graphs import Sam2Networks
from samcam.live.commands import (
    CommitMask,
    CycleCandidate,
    HoverRequest,
    PinStep,
    TrackerCommand,
    UndoPrompt,
)
from samcam.live.frames import Frame
from samcam.live.tracker.presets import PRESETS, TrackerSettings
from samcam.live.tracker.tracker import Tracker
from tests.helpers.tracker_networks import Script, click

PERIOD = 500  # steps after which the story repeats itself
STEPS = 2_000
CYCLE = 4  # a second object lives for this many steps: 500 of them in all
LOST = range(200, 330)  # of each period
TRACED_LIMIT = 64 * 1024
RSS_LIMIT = 2 * 1024 * 1024

ALL = pytest.mark.parametrize("settings", PRESETS.values(), ids=PRESETS.keys())


def small_networks(script: Script) -> Sam2Networks:
    return fake_networks(decoder=script.decode, manifest=fake_manifest(image_size=64))


def story(settings: TrackerSettings) -> Iterator[tuple[int, Sam2Networks]]:
    """Run a period to warm up and `STEPS` steps more; yields after each step its number.

    Object 1 stays, and is corrected once a period; object 2 comes and goes. Both are lost for a
    stretch of each period. Prompts on past steps, undos, other candidates, commits, pins and
    hovers come in every period too.
    """
    script = Script(masks=((4, 4, 5),) * 4, size=16)
    networks = small_networks(script)
    picture = np.zeros((48, 64, 3), np.uint8)
    with Tracker(networks, settings, memory_pictures=True) as tracker:
        for index in range(PERIOD + STEPS):
            phase = index % PERIOD
            script.score = -3.0 if phase in LOST else 5.0
            if phase in (0, 100):
                tracker.prompt(click(20, 20))
            if phase % CYCLE == 0:
                tracker.prompt(click(30, 30, object_id=2))
            for command in edits(phase, index):
                tracker.apply(command)
            tracker.step(Frame(index, index * 33_333_333, 0, picture))
            if phase % 50 < 3:
                tracker.hover(HoverRequest(1 + phase % 3, index - phase % 4, 9.0, 20.0))
            if phase % CYCLE == CYCLE - 1:
                tracker.remove(2)
            yield index, networks


def edits(phase: int, index: int) -> list[TrackerCommand]:
    """Return what the user changes in a phase of the story, each time the same."""
    late = replace(click(25, 25), step=max(0, index - 5))
    match phase:
        case 50 | 110:
            return [PinStep(index - 1)]
        case 60 | 150:
            return [late, CommitMask(1)]
        case 61 | 151:
            return [CycleCandidate(1), UndoPrompt(1)]
        case 120:
            return [replace(late, step=index - 11), UndoPrompt(1)]  # on the pinned step
        case 130:
            return [replace(late, step=index - 100), PinStep(None)]
        case _:
            return []


def count_calls(networks: Sam2Networks) -> list[int]:
    return [backend.calls for backend in backends_of(networks)]


def backends_of(networks: Sam2Networks) -> list[FakeBackend]:
    found = [backend for backend in networks.backends.values() if isinstance(backend, FakeBackend)]
    assert len(found) == 5
    return found


@ALL
@pytest.mark.slow
def test_every_period_makes_the_same_calls_with_the_same_shapes(settings: TrackerSettings) -> None:
    """The first two periods fill the bank with the conditioning memories it may hold."""
    per_step: list[list[int]] = []
    before, shapes = [0] * 5, 0
    warm = 3 * PERIOD  # by then as many corrections as the bank may hold
    for index, networks in story(settings):
        now = count_calls(networks)
        made = [new - old for new, old in zip(now, before, strict=True)]
        before = now
        if index == warm - 1:
            shapes = sum(len(backend.input_shapes) for backend in backends_of(networks))
        if warm - PERIOD <= index < warm:
            per_step.append(made)
        elif index >= warm:
            assert made == per_step[index % PERIOD], index
        last = networks
    assert sum(len(backend.input_shapes) for backend in backends_of(last)) == shapes
    assert made[0] == 1  # one picture encoding for all objects


@pytest.mark.parametrize("name", ["sam2", "default"])
@pytest.mark.slow
def test_python_memory_does_not_grow(name: str) -> None:
    settings = PRESETS[name]
    start = traced = 0
    tracemalloc.start()
    try:
        for index, _ in story(settings):
            if index == PERIOD:
                gc.collect()
                start = tracemalloc.get_traced_memory()[0]
            if index == PERIOD + STEPS - PERIOD // 2:  # in a stretch in which all are lost
                gc.collect()
                traced = tracemalloc.get_traced_memory()[0]
        gc.collect()
    finally:
        tracemalloc.stop()
    assert traced - start <= TRACED_LIMIT


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/statm, which is Linux")
@pytest.mark.slow
def test_the_process_does_not_grow() -> None:
    sizes = []
    for index, _ in story(PRESETS["default"]):
        if index % PERIOD == PERIOD - 1:
            gc.collect()
            sizes.append(resident_bytes())
    grown = [later - earlier for earlier, later in pairwise(sizes)]
    # A leak grows in every period; what other threads of the process take, in one of them.
    assert min(grown) <= RSS_LIMIT // len(grown)


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096
