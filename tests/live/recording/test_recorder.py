"""The recorder's thread and the script of a replay, without a model."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from samcam.live import writer_thread
from samcam.live.commands import (
    CommitMask,
    FeedCommand,
    HideFeed,
    PinStep,
    RemoveObject,
    SaveProfile,
    SetEffect,
    TrackerCommand,
)
from samcam.live.control.controls import Controls
from samcam.live.control.script import CommandScript, ScriptedCommand
from samcam.live.effects.effects import Effect
from samcam.live.errors import CaptureError, SinkError
from samcam.live.feed.compositor import Compositor
from samcam.live.feed.control import FeedControl
from samcam.live.frames import U8, Frame, FrameResult, Prompt
from samcam.live.loop.inference import apply_commands, follow_script
from samcam.live.recording import recorder as recorder_module
from samcam.live.recording.fingerprint import fingerprint
from samcam.live.recording.header import Header, SourceRecord, read_header
from samcam.live.recording.recorder import MAX_PICTURES, Recorder, prepare_folder
from samcam.live.recording.sources import (
    RecordedPictures,
    RecordedSource,
    RecordedSteps,
    ReplaySource,
)
from samcam.live.sinks.fragmented import H264
from samcam.live.sources.base import SourceInfo
from tests.helpers.bounds import WAIT_S
from tests.helpers.recordings import json_rows

SIZE_WH = (33, 17)  # odd: a lossy picture is padded and cut again
LOSSLESS = H264(preset="ultrafast", lossless=True)


def header(pictures: str | None = "lossless") -> Header:
    # without its pictures a recording may only be of what can be had again
    place = ("demo", "demo") if pictures is None else ("0", "camera")
    source = SourceRecord(*place, SIZE_WH, 30.0, pictures=pictures)
    return Header("1", source, "nano", "0" * 64, "auto", "default", "highlight", "live", {})


def frame(index: int) -> Frame:
    width, height = SIZE_WH
    image = np.random.default_rng(index).integers(0, 256, (height, width, 3), np.uint8)
    return Frame(index, index * 40_000_001, 0, image)


@dataclass
class Pictures:
    """A source of so many frames."""

    count: int
    next: int = 0
    info: SourceInfo = field(
        default_factory=lambda: SourceInfo("0", "camera", SIZE_WH, 30.0, None, live=True)
    )

    def read(self) -> Frame | None:
        if self.next >= self.count:
            return None
        self.next += 1
        return frame(self.next - 1)

    def close(self) -> None: ...


def read_all(source: RecordedSource | RecordedPictures | ReplaySource) -> list[Frame]:
    frames = []
    while (read := source.read()) is not None:
        frames.append(read)
    return frames


@pytest.mark.parametrize("lossless", [True, False])
def test_pictures_come_back_with_their_own_indices_and_times(
    lossless: bool, tmp_path: Path
) -> None:
    """Every bit where lossless, the size and the times always."""
    made = header("lossless" if lossless else "lossy")
    with Recorder(tmp_path, made, LOSSLESS if lossless else H264(10)) as recorder:
        tee = RecordedSource(Pictures(40), recorder, True, threading.Event())
        given = read_all(tee)
        recorder.step(FrameResult(given[3], 0, ()))
    pictures = RecordedPictures(tmp_path, made.source)
    back = read_all(pictures)
    pictures.close()
    assert [(f.index, f.time_ns) for f in back] == [(f.index, f.time_ns) for f in given]
    assert {f.size_wh for f in back} == {SIZE_WH}
    same = [np.array_equal(a.image_bgr, b.image_bgr) for a, b in zip(given, back, strict=True)]
    assert all(same) if lossless else not any(same)
    assert read_header(tmp_path).complete
    assert read_header(tmp_path).steps == 1


def test_without_room_frames_are_dropped_before_they_are_tracked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An encoder that stands still: capture goes on, and what came through is recorded."""
    go, encodes = threading.Event(), threading.Event()
    to_write = recorder_module._Files.write

    def slow(files: recorder_module._Files, item: Frame) -> None:
        encodes.set()
        assert go.wait(WAIT_S)
        to_write(files, item)

    monkeypatch.setattr(recorder_module._Files, "write", slow)
    with Recorder(tmp_path, header(), LOSSLESS) as recorder:
        tee = RecordedSource(Pictures(30), recorder, False, threading.Event())
        first = tee.read()
        assert first is not None
        assert encodes.wait(WAIT_S)  # one picture is with the encoder, not waiting
        passed = [first, *read_all(tee)]
        go.set()
    assert len(passed) == MAX_PICTURES + 1
    assert recorder.dropped == 30 - len(passed)
    assert read_header(tmp_path).pictures_dropped == recorder.dropped
    rows = json_rows(tmp_path / "pictures.jsonl")
    assert [row["frame"] for row in rows] == [f.index for f in passed]
    assert caplog.text.count("does not keep up") == 1


def test_the_saving_of_a_profile_is_not_recorded(tmp_path: Path) -> None:
    with Recorder(tmp_path, header(), None) as recorder:
        recorder.command(SaveProfile("cat"), 0)
        recorder.command(RemoveObject(1), 0)
    (row,) = json_rows(tmp_path / "commands.jsonl")
    assert row["command"]["type"] == "RemoveObject"


def test_a_failed_recording_ends_the_run_with_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer's error comes out where frames and steps are taken, and at the end."""

    def full(files: object, item: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(recorder_module._Files, "write", full)
    said = r"--record .*: cannot be written: No space left on device; .* can be replayed"
    recorder = Recorder(tmp_path, header(), LOSSLESS)
    tee = RecordedSource(Pictures(100_000), recorder, True, threading.Event())
    with pytest.raises(SinkError, match=said), recorder:
        read_all(tee)
    with pytest.raises(SinkError, match=said):
        recorder.step(FrameResult(frame(0), 0, ()))
    with pytest.raises(SinkError, match=said), Recorder(tmp_path, header(), LOSSLESS) as recorder:
        recorder.command(RemoveObject(1), 0)  # a listener: it must not raise
    assert not read_header(tmp_path).complete


def test_a_disk_that_stands_still_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps wait in a bounded queue, and not for ever; the recording does not claim to be whole."""
    go = threading.Event()
    to_write = recorder_module._Files.write

    def stuck(files: recorder_module._Files, item: Frame) -> None:
        assert go.wait(WAIT_S)
        to_write(files, item)

    monkeypatch.setattr(recorder_module._Files, "write", stuck)
    monkeypatch.setattr(writer_thread, "MAX_WAITING", 5)
    monkeypatch.setattr(writer_thread, "PATIENCE_S", 0.05)
    recorder, given = Recorder(tmp_path, header(None), None), 0

    def run() -> None:
        nonlocal given
        with recorder:
            try:
                for given in range(20):
                    recorder.step(FrameResult(frame(given), given, ()))
            finally:
                monkeypatch.setattr(writer_thread, "PATIENCE_S", WAIT_S)
                go.set()

    with pytest.raises(SinkError, match=r"the disk has taken nothing for 0\.05 s"):
        run()
    assert 5 <= given <= 6, "one is with the writer, five wait"
    assert len(json_rows(tmp_path / "steps.jsonl")) == given
    assert not read_header(tmp_path).complete


def test_stop_ends_the_waiting_for_room(tmp_path: Path) -> None:
    """A recorder whose thread never starts has no room; `stop` frees the capture thread."""
    stop = threading.Event()
    tee = RecordedSource(Pictures(100), Recorder(tmp_path, header(), LOSSLESS), True, stop)
    reader = threading.Thread(target=read_all, args=(tee,))
    reader.start()
    stop.set()
    reader.join(WAIT_S)
    assert not reader.is_alive()


def test_a_folder_must_be_new_or_empty(tmp_path: Path) -> None:
    prepare_folder(tmp_path / "a" / "b")
    prepare_folder(tmp_path / "a" / "b")
    with pytest.raises(SinkError, match=r"the folder holds b; expected a new or an empty folder"):
        prepare_folder(tmp_path / "a")


def test_a_replay_gives_the_processed_frames_or_all_up_to_the_last() -> None:
    steps = RecordedSteps([1, 2, 6], [10, 20, 60])
    exact = read_all(ReplaySource(Pictures(9), steps, True))
    assert [(f.index, f.time_ns) for f in exact] == [(1, 10), (2, 20), (6, 60)]
    source = ReplaySource(Pictures(9), steps, False)
    assert [f.index for f in read_all(source)] == list(range(7))
    assert (source.info.frame_count, source.info.live) == (7, False)
    changed = ReplaySource(Pictures(9, next=2), steps, True)
    with pytest.raises(CaptureError, match="frame 1 is not in 0 any more"):
        changed.read()


def test_a_fingerprint_names_what_differs(tmp_path: Path) -> None:
    for name in ("1.png", "2.png", "notes.txt"):
        (tmp_path / name).write_text(name)
    before = fingerprint(tmp_path)
    (tmp_path / "notes.txt").unlink()
    assert fingerprint(tmp_path) == before, "not a picture"
    (tmp_path / "3.png").write_text("3")
    after = fingerprint(tmp_path)
    assert after.sha256 != before.sha256
    assert before.first_difference(after) == "3.png is new"
    assert after.first_difference(before) == "3.png is missing"
    assert fingerprint(tmp_path / "1.png").files == ()


@dataclass
class Steps:
    """A tracker that notes what it is told before which step."""

    next_step: int = 0
    pending_prompts: int = 0
    told: list[tuple[int, TrackerCommand]] = field(default_factory=list)

    def apply(self, command: TrackerCommand) -> None:
        if isinstance(command, CommitMask):
            raise ValueError("no such object")
        self.told.append((self.next_step, command))

    def step(self, frame: Frame) -> FrameResult:
        raise AssertionError("a script is followed before the step, which is not this test's")

    def close(self) -> None: ...


def played(script: CommandScript, indices: list[int]) -> list[tuple[int, TrackerCommand]]:
    controls, tracker = Controls(8), Steps()
    controls.script = script
    for index in indices:
        follow_script(controls, tracker, frame(index))
        tracker.next_step += 1
    return tracker.told


def click(step: int) -> Prompt:
    return Prompt(points_xy_px=np.array([[1, 2]]), labels=np.array([1]), step=step)


def test_tracker_commands_come_before_their_step_or_their_frame() -> None:
    """Exactly: by step. Otherwise by frame, with the steps that they name counted anew."""
    step_frames = [0, 3, 6, 9]
    given: list[tuple[int, TrackerCommand]] = [
        (1, RemoveObject(1)),
        (1, CommitMask(2)),  # refused, and the rest goes on
        (2, PinStep(1)),
        (2, click(1)),
        (3, PinStep(None)),
        (4, RemoveObject(9)),  # before a step that never came
    ]
    items = [
        ScriptedCommand(command, step, step_frames[step] if step < 4 else None)
        for step, command in given
    ]
    exact = played(CommandScript(items, step_frames, True), step_frames)
    expected = [pair for pair in given[:-1] if not isinstance(pair[1], CommitMask)]
    assert exact == expected
    every = played(CommandScript(items, step_frames, False), list(range(10)))
    assert [step for step, _ in every] == [3, 6, 6, 9]
    assert every[1][1] == PinStep(3), "frame 3 is step 3 where every frame is processed"
    assert isinstance(every[2][1], Prompt)
    assert every[2][1].step == 3
    sparse = played(CommandScript(items, step_frames, False), [0, 5, 8, 9])
    assert [step for step, _ in sparse] == [1, 2, 2, 3]
    assert sparse[1][1] == PinStep(0), "the newest step whose frame is not later"


def test_a_recorded_replay_takes_no_commands_by_hand() -> None:
    controls, tracker = Controls(8), Steps()
    for exact, told in ((True, 0), (False, 1)):
        controls.script = CommandScript([], [0], exact)
        assert controls.send(RemoveObject(1))
        apply_commands(controls, tracker)
        assert len(tracker.told) == told
    notice = controls.notice
    assert notice is not None
    assert "from the recording" in notice.text


def test_feed_commands_come_before_their_picture_is_composed() -> None:
    """A hand on the panic key counts in a replay too, and is told apart from the script."""
    commands: list[tuple[int, FeedCommand]] = [
        (1, SetEffect("blur")),
        (2, SetEffect("sepia")),
        (2, HideFeed(True)),
    ]
    items = [ScriptedCommand(command, step, step) for step, command in commands]
    controls, compositor = Controls(8), Compositor(Effect())
    controls.script = CommandScript(items, [0, 1, 2], True)
    noted: list[tuple[object, int]] = []
    controls.watch(lambda command, step: noted.append((command, step)))
    control = FeedControl(controls, compositor, Effect)
    seen = []
    for step in range(3):
        assert not control.apply(step), "nothing was sent by hand"
        control.follow_script(FrameResult(frame(step), step, ()))
        seen.append((compositor.effect.name, compositor.panic))
    assert seen == [("highlight", False), ("blur", False), ("blur", True)]
    assert noted == [(SetEffect("blur"), 1), (HideFeed(True), 2)], "what is refused is not noted"
    controls.send(HideFeed(False))
    assert control.apply(3)
    assert not compositor.panic


def test_pictures_that_were_cut_off_end_and_damaged_ones_are_named(tmp_path: Path) -> None:
    with Recorder(tmp_path, header(), LOSSLESS) as recorder:
        read_all(RecordedSource(Pictures(60), recorder, True, threading.Event()))
    video = tmp_path / "pictures.mp4"
    whole: bytes = video.read_bytes()
    video.write_bytes(whole[: len(whole) * 3 // 4])
    back = read_all(RecordedPictures(tmp_path, header().source))
    assert 25 <= len(back) < 60, "whole seconds, and no more"
    images: list[U8] = [f.image_bgr for f in back]
    assert all(np.array_equal(image, frame(n).image_bgr) for n, image in enumerate(images))
    video.write_bytes(whole)
    rows = (tmp_path / "pictures.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "pictures.jsonl").write_text("".join(rows[:4] + rows[5:]))
    with pytest.raises(CaptureError, match=r"pictures.mp4 is damaged at frame 5"):
        read_all(RecordedPictures(tmp_path, header().source))
    (tmp_path / "pictures.jsonl").write_text("".join([*rows[:4], '{"frame": 4}\n']))
    with pytest.raises(
        CaptureError, match=r"pictures.jsonl, line 5: missing; expected the keys time_ns"
    ):
        read_all(RecordedPictures(tmp_path, header().source))
