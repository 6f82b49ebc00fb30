"""`--smooth`: the carry thread, its place in the pipeline, and the real command."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import jsonschema
import numpy as np
import pytest

from run_live import main
from samcam.engines.base import EngineError
from samcam.live.frames import Frame, FrameResult
from samcam.live.loop.capture import CaptureOptions, run_capture
from samcam.live.loop.pipeline import Wiring
from samcam.live.motion.carry import Carrier
from samcam.live.motion.stage import run_carry
from samcam.live.slots import Closed, FrameQueue, Slot
from samcam.live.sources.base import SourceInfo
from tests.conftest import DISPLAY_VARIABLES, REPO_ROOT
from tests.helpers.bounds import RUN_TIMEOUT_S, WAIT_S
from tests.helpers.results import disc_logits, textured, tracked

SIZE_WH = (64, 48)


def frame(index: int) -> Frame:
    return Frame(index, index * 40_000_000, time.perf_counter_ns(), textured(SIZE_WH))


def answer(index: int, step: int = 0) -> FrameResult:
    return FrameResult(frame(index), step, (tracked(1, disc_logits(32, 16, 16, 6)),))


@dataclass
class Stage:
    """A carry thread with its inputs; `shown` is read here, so that nothing is dropped."""

    display: FrameQueue = field(default_factory=lambda: FrameQueue(places=64))
    results: Slot[FrameResult] = field(default_factory=lambda: Slot("blocking"))
    shown: Slot[FrameResult] = field(default_factory=lambda: Slot("blocking"))
    stop: threading.Event = field(default_factory=threading.Event)

    def read(self) -> FrameResult:
        result = self.shown.get(WAIT_S)
        assert result is not None, "nothing shown in time"
        return result

    def read_all(self) -> list[FrameResult]:
        found = []
        while True:
            try:
                found.append(self.read())
            except Closed:
                return found


@contextmanager
def running(stage: Stage) -> Iterator[None]:
    thread = threading.Thread(
        target=run_carry,
        args=(stage.display, stage.results, stage.shown, Carrier(500.0), stage.stop),
        name="carry",
    )
    thread.start()
    try:
        yield
    finally:
        stage.stop.set()
        for slot in (stage.results, stage.shown):
            slot.close()
        stage.display.close()
        thread.join(WAIT_S)
        assert not thread.is_alive()


def test_frames_in_order_each_once_after_the_first_answer() -> None:
    """The first answer shows its own frame; frames before it are gone, later ones all come."""
    stage = Stage()
    for index in range(6):
        stage.display.put(frame(index))
    with running(stage):
        assert stage.shown.get(0.05) is None  # nothing is known yet
        stage.results.put(answer(2))
        shown = [stage.read() for _ in range(4)]
        stage.results.put(answer(4, step=1))
        stage.display.put(frame(6))
        shown.append(stage.read())
        stage.display.put(frame(7))
        stage.display.close()
        stage.results.close()
        shown += stage.read_all()
    assert [result.frame.index for result in shown] == [2, 3, 4, 5, 6, 7]
    assert [result.step for result in shown] == [0, 0, 0, 0, 1, 1]
    assert [result.objects[0].predicted for result in shown] == [False] + [True] * 5


def test_an_answer_that_comes_in_time_is_shown_itself() -> None:
    """Inference that keeps up: each frame waits for its own answer, nothing is predicted."""
    stage = Stage()
    with running(stage):
        stage.results.put(answer(0))
        shown = [stage.read()]
        for index in range(1, 6):
            stage.results.put(answer(index, step=index))
            stage.display.put(frame(index))
            shown.append(stage.read())
    assert [result.step for result in shown] == list(range(6))
    assert not any(result.objects[0].predicted for result in shown)


def test_what_broke_inference_reaches_the_reader_after_the_source_ended() -> None:
    stage = Stage()
    with running(stage):
        stage.display.close()
        stage.results.close(EngineError("mask_decoder: no memory"))
        with pytest.raises(EngineError, match="mask_decoder: no memory"):
            stage.read()


def test_no_answer_at_all_is_a_clean_end() -> None:
    stage = Stage()
    with running(stage):
        stage.display.put(frame(0))
        stage.display.close()
        stage.results.close()
        assert stage.read_all() == []


def test_a_full_queue_drops_its_oldest_and_a_closed_one_takes_nothing() -> None:
    queue = FrameQueue(places=3)
    for index in range(5):
        queue.put(frame(index))
    assert queue.dropped == 2
    queue.close()
    queue.put(frame(9))
    taken = [queue.get(0.0) for _ in range(3)]
    assert [item.index for item in taken if item is not None] == [2, 3, 4]
    with pytest.raises(Closed):
        queue.get(0.0)


def test_a_reader_that_waits_is_woken() -> None:
    for wake in (lambda queue: queue.put(frame(0)), lambda queue: queue.close()):
        assert _woken(wake)


def _woken(wake: Callable[[FrameQueue], None]) -> bool:
    queue, done = FrameQueue(), threading.Event()

    def read() -> None:
        with suppress(Closed):
            queue.get(60.0)
        done.set()

    thread = threading.Thread(target=read)
    thread.start()
    wake(queue)
    thread.join(WAIT_S)
    return done.is_set()


def test_capture_gives_every_frame_to_both_and_closes_both() -> None:
    class Source:
        info = SourceInfo("scripted", "camera", SIZE_WH, 25.0, None, live=True)
        given = 0

        def read(self) -> Frame | None:
            self.given += 1
            return frame(self.given - 1) if self.given <= 3 else None

        def close(self) -> None:
            pass

    frames: Slot[Frame] = Slot("newest")
    queue = FrameQueue()
    run_capture(Source(), frames, threading.Event(), CaptureOptions("live", queue))
    taken = [queue.get(0.0) for _ in range(3)]
    assert [item.index for item in taken if item is not None] == [0, 1, 2]
    newest = frames.get(0.0)
    assert newest is not None
    assert newest is taken[2]
    for closed in (lambda: queue.get(0.0), lambda: frames.get(0.0)):
        with pytest.raises(Closed):
            closed()


def test_wiring_without_smooth_has_one_slot_for_results() -> None:
    plain = Wiring.build("live", 4)
    assert plain.shown is plain.results
    assert plain.display is None
    smooth = Wiring.build("live", 4, Carrier(500.0))
    assert smooth.shown is not smooth.results
    assert smooth.display is not None


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("--pace", "all"), ("--pace all every frame is inferred", "expected --pace live")),
        ((), ("expected --pace live", "--source demo takes all by default")),
    ],
)
def test_smooth_with_every_frame_inferred_is_refused(
    arguments: tuple[str, ...], parts: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--source", "demo", "--output", "none", "--smooth", *arguments]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len([line for line in lines if line.startswith("error: --smooth: ")]) == 1
    assert all(part in lines[-1] for part in parts)


@pytest.mark.slow
def test_a_slow_model_and_a_moving_object(tmp_path: Path, nano_dir: Path) -> None:
    """The whole program, 4 inferences a second: between two answers the mask moves on."""
    pictures = tmp_path / "clip"
    pictures.mkdir()
    ground, step_px = textured((320, 240), 1) // 3, 4
    for index in range(45):
        image = cv2.GaussianBlur(ground, (0, 0), 3)
        centre = (60 + step_px * index, 120)
        cv2.circle(image, centre, 34, (60, 80, 230), -1)
        for x, y in ((-12, -10), (10, -12), (0, 8), (-14, 12), (14, 10)):
            cv2.circle(image, (centre[0] + x, centre[1] + y), 5, (240, 240, 240), -1)
        cv2.imwrite(str(pictures / f"{index:03d}.png"), image)
    environment = {k: v for k, v in os.environ.items() if k not in DISPLAY_VARIABLES}
    arguments = [
        *("--source", str(pictures), "--set", "source.fps=15", "--pace", "live", "--smooth"),
        *("--prompt", "box=26,86,94,154", "--output", f"masks:{tmp_path / 'masks'}"),
        *("--set", "pipeline.max_mask_age_ms=3000"),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "tests.helpers.slow_program", "0.25", *arguments],
        cwd=REPO_ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "shown frames" in done.stdout
    assert "predicted frames" in done.stdout
    text = (tmp_path / "masks" / "tracks.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    schema = json.loads((REPO_ROOT / "docs" / "schemas" / "tracks.schema.json").read_text())
    for row in rows:
        jsonschema.validate(row, schema)
    indices = [row["frame"] for row in rows]
    assert indices == sorted(set(indices))
    assert len({row["step"] for row in rows}) < len(rows)
    moved, frames = [], []
    for before, after in itertools.pairwise(rows):
        if before["step"] == after["step"] and before["visible"] and after["visible"]:
            assert after["predicted"]
            moved.append(after["box_xyxy"][0] - before["box_xyxy"][0])
            frames.append(after["frame"] - before["frame"])
    assert len(moved) >= 5
    assert np.sum(moved) / np.sum(frames) == pytest.approx(step_px, abs=1.0)
