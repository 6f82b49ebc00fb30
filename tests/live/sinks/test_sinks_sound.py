"""`video:` keeps the sound of a source file: what flashes and beeps together still does."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from samcam.live.effects.effects import Effect
from samcam.live.feed.compositor import compose
from samcam.live.sinks.video import VideoOptions, VideoSink
from samcam.live.sources.base import VideoSource
from samcam.live.sources.looped import LoopedSource
from samcam.live.sources.video.decoding import open_file
from samcam.live.sources.video.file import VideoFile
from tests.conftest import DISPLAY_VARIABLES, REPO_ROOT, RunCli, require_tool
from tests.helpers.bounds import WAIT_S
from tests.helpers.results import result_of
from tests.helpers.sounding_video import (
    EVENTS_S,
    FPS,
    Seen,
    look_and_listen,
    write_clip,
)
from tests.helpers.xvfb import wait_until

COPIED = [
    ("a.mp4", ("libx264", "aac"), "aac"),
    ("a.ts", ("libx264", "aac"), "aac"),
    ("a.mkv", ("libx264", "libmp3lame"), "mp3"),
    ("a.webm", ("libvpx", "libopus"), "opus"),
    ("a.mkv", ("mpeg4", "flac"), "flac"),
    ("a.mkv", ("mpeg4", "ac3"), "ac3"),
]
ENCODED = [
    ("a.mov", ("mpeg4", "pcm_s16le"), "aac"),
    ("a.mkv", ("libx264", "mp2"), "aac"),
    ("a.avi", ("mpeg4", "adpcm_ima_wav"), "aac"),
]


def write_through(
    source: VideoSource, out: Path, until: int | None = None, sound: bool = True
) -> Seen:
    """Write a source as the run does, without networks, up to a frame; play what came of it."""
    sink = VideoSink(out, source.info.fps, VideoOptions(sound=sound), source.info.sound)
    count = 0
    while (until is None or count < until) and (frame := source.read()) is not None:
        made = result_of(frame.image_bgr, (), frame.index, frame.time_ns)
        sink.put(compose(made, Effect()))
        count += 1
    sink.close()
    source.close()
    return look_and_listen(out)


def opened(path: Path) -> VideoFile:
    return VideoFile.open(path, path.name)


def assert_together(seen: Seen, like: Seen, within_s: float = 0.004) -> None:
    """Check that each beep is as far from its flash as it was."""
    assert len(seen.flashes) == len(like.flashes) == len(seen.beeps)
    for flash, beep, flashed, beeped in zip(
        seen.flashes, seen.beeps, like.flashes, like.beeps, strict=True
    ):
        assert beep - flash == pytest.approx(beeped - flashed, abs=within_s)


@pytest.mark.parametrize(("name", "codecs", "codec"), [*COPIED, *ENCODED])
def test_sound_of_all_kinds_keeps_its_time(
    name: str, codecs: tuple[str, str], codec: str, tmp_path: Path
) -> None:
    clip = write_clip(tmp_path / name, codecs)
    before = look_and_listen(clip)
    seen = write_through(opened(clip), tmp_path / "out.mp4")
    assert seen.codec == codec
    assert_together(seen, before)
    assert seen.flashes == pytest.approx(EVENTS_S, abs=0.001)
    assert seen.sound_s == pytest.approx(before.sound_s - before.flashes[0] + 0.6, abs=0.06)
    if (name, codecs, codec) in COPIED and not name.endswith(".ts"):  # there in ADTS frames
        assert list(seen.packets) == list(before.packets)


def test_sound_that_begins_late_or_early_stays_so(tmp_path: Path) -> None:
    """Half a second after the first picture; and 0.3 s before it, which is left out."""
    for shift_s in (0.5, -0.3):
        clip = write_clip(tmp_path / f"{shift_s}.mkv", ("libx264", "aac"), shift_s=shift_s)
        before = look_and_listen(clip)
        assert before.beeps[0] - before.flashes[0] == pytest.approx(shift_s, abs=0.03)
        seen = write_through(opened(clip), tmp_path / f"out{shift_s}.mp4")
        assert_together(seen, before)


@pytest.mark.parametrize("codecs", [("libx264", "aac"), ("libx264", "pcm_s16le")])
def test_a_cut_without_encoding_keeps_its_time(codecs: tuple[str, str], tmp_path: Path) -> None:
    """An edit list: pictures and sound before the cut are in the file and must not be played."""
    clip = write_clip(tmp_path / "a.mov", codecs)
    cut = tmp_path / "cut.mov"
    subprocess.run(
        [
            require_tool("ffmpeg", "ffmpeg"),
            "-v",
            "error",
            "-ss",
            "0.5",
            "-i",
            clip,
            "-c",
            "copy",
            cut,
        ],
        check=True,
    )
    before = look_and_listen(cut)
    assert before.flashes[0] < 0.2
    assert_together(write_through(opened(cut), tmp_path / "out.mp4"), before)


def test_a_clock_that_starts_anew_takes_sound_along(tmp_path: Path) -> None:
    """Two recordings joined: the second one's beeps come with its flashes."""
    first = write_clip(tmp_path / "1.ts", ("libx264", "aac"))
    joined = tmp_path / "joined.ts"
    joined.write_bytes(2 * first.read_bytes())
    seen = write_through(opened(joined), tmp_path / "out.mp4")
    assert len(seen.flashes) == 4
    assert len(seen.beeps) == 4
    assert np.subtract(seen.beeps, seen.flashes) == pytest.approx(0.0, abs=0.05)


def test_a_run_that_stops_early_ends_its_sound_with_the_picture(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", ("libx264", "aac"))
    seen = write_through(opened(clip), tmp_path / "out.mp4", until=25)
    assert seen.pictures_s == pytest.approx(1.0, abs=0.001)
    assert seen.sound_s == pytest.approx(1.0, abs=0.05)
    assert len(seen.beeps) == 1


@pytest.mark.parametrize("sound_s", [0.8, 3.0])
@pytest.mark.parametrize("codec", ["aac", "pcm_s16le"])
def test_sound_may_be_shorter_or_longer_than_the_pictures(
    sound_s: float, codec: str, tmp_path: Path
) -> None:
    clip = write_clip(tmp_path / "a.mov", ("libx264", codec), sound_s=sound_s)
    seen = write_through(opened(clip), tmp_path / "out.mp4")
    assert seen.pictures_s == pytest.approx(2.0, abs=0.001)
    assert seen.sound_s == pytest.approx(sound_s, abs=0.06)


def test_dropped_pictures_and_a_late_first_one_change_nothing(tmp_path: Path) -> None:
    """In live pace the file begins with the first picture that was processed."""
    clip = write_clip(tmp_path / "a.mp4", ("libx264", "aac"))
    source = opened(clip)
    sink = VideoSink(tmp_path / "out.mp4", FPS, VideoOptions(), source.info.sound)
    while (frame := source.read()) is not None:
        if frame.index >= 4 and frame.index % 5 == 0:
            sink.put(compose(result_of(frame.image_bgr, (), frame.index, frame.time_ns), Effect()))
    sink.close()
    source.close()
    seen = look_and_listen(tmp_path / "out.mp4")
    assert seen.beeps == pytest.approx([at_s - 0.2 for at_s in EVENTS_S], abs=0.01)


@pytest.mark.parametrize("codec", ["aac", "pcm_s16le"])
def test_a_looped_file_sounds_in_every_round(codec: str, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mov", ("libx264", codec), sound_s=2.5)
    source = LoopedSource(lambda: opened(clip))
    seen = write_through(source, tmp_path / "out.mp4", until=125)
    wanted = [round_s + at_s for round_s in (0.0, 2.0, 4.0) for at_s in EVENTS_S][:5]
    assert seen.flashes == pytest.approx(wanted, abs=0.001)
    assert seen.beeps == pytest.approx(wanted, abs=0.03)


def test_a_looped_file_whose_last_picture_stays_longer(tmp_path: Path) -> None:
    """Each round's sound began earlier than its pictures, by what that picture stays longer."""
    clip = write_clip(tmp_path / "a.mp4", ("libx264", "aac"), sound_s=2.5, last_s=0.56)
    source = LoopedSource(lambda: opened(clip))
    seen = write_through(source, tmp_path / "out.mp4", until=140)
    wanted = [round_s + at_s for round_s in (0.0, 2.52, 5.04) for at_s in EVENTS_S]
    assert seen.flashes == pytest.approx(wanted, abs=0.001)
    assert seen.beeps == pytest.approx(wanted, abs=0.03)


def test_a_looped_file_whose_sound_begins_after_its_pictures(tmp_path: Path) -> None:
    """No round plays any of it, and it was looked for in the next one without end."""
    clip = write_clip(tmp_path / "a.mkv", ("libx264", "aac"), 0.8, sound_s=0.5, shift_s=1.5)
    source = LoopedSource(lambda: opened(clip))
    seen = write_through(source, tmp_path / "out.mp4", until=50)
    assert (seen.codec, seen.pictures_s) == ("", pytest.approx(2.0, abs=0.001))


def test_sound_can_be_left_out(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", ("libx264", "aac"))
    assert write_through(opened(clip), tmp_path / "out.mp4", sound=False).codec == ""


def test_a_file_that_goes_or_breaks_keeps_its_pictures(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One line says that the sound is left out, or ends."""
    clip = write_clip(tmp_path / "a.mp4", ("libx264", "aac"))
    source = opened(clip)
    assert source.info.sound is not None
    clip.rename(tmp_path / "b.mp4")
    with caplog.at_level(logging.WARNING):
        seen = write_through(source, tmp_path / "out.mp4")
    assert (seen.codec, len(seen.flashes)) == ("", 2)
    (said,) = [record.getMessage() for record in caplog.records]
    assert "the sound is left out: source 'a.mp4'" in said


def test_sound_behind_a_url_is_said_to_be_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clip = write_clip(tmp_path / "a.mp4", ("libx264", "aac"))
    source = VideoFile(open_file(clip, "clip"), "http://host/a.mp4", kind="url")
    with caplog.at_level(logging.WARNING):
        assert write_through(source, tmp_path / "out.mp4").codec == ""
    assert "the sound is left out: source 'http://host/a.mp4' is no file" in caplog.text


def test_a_broken_packet_is_a_gap(tmp_path: Path) -> None:
    """Damage in the middle of the sound: what follows keeps its time."""
    clip = write_clip(tmp_path / "a.mkv", ("libx264", "mp2"))
    data = bytearray(clip.read_bytes())
    with av.open(str(clip)) as file:
        packets = [bytes(p) for p in file.demux(audio=0) if p.size > 40]
    for packet in packets[2:6]:
        at = data.find(packet)
        data[at : at + 20] = b"\xff" * 20
    broken = tmp_path / "broken.mkv"
    broken.write_bytes(data)
    seen = write_through(opened(broken), tmp_path / "out.mp4")
    assert seen.beeps[-1] == pytest.approx(EVENTS_S[-1], abs=0.02)


def test_the_default_sound_is_taken(tmp_path: Path) -> None:
    """A film with a commentary first and the marked main sound second."""
    clip = write_clip(tmp_path / "a.mkv", ("libx264", "aac"))
    two = tmp_path / "two.mkv"
    silent = ["-f", "lavfi", "-i", "anullsrc=r=48000:cl=stereo:d=2"]
    maps = ["-map", "0:v", "-map", "1:a", "-map", "0:a", "-c:v", "copy", "-c:a", "aac"]
    chosen = ["-disposition:a:0", "0", "-disposition:a:1", "default"]
    command = [
        require_tool("ffmpeg", "ffmpeg"),
        "-v",
        "error",
        "-i",
        str(clip),
        *silent,
        *maps,
        *chosen,
        str(two),
    ]
    subprocess.run(command, check=True)
    assert len(write_through(opened(two), tmp_path / "out.mp4").beeps) == 2


def test_a_real_run_keeps_the_sound(run_cli: RunCli, nano_dir: Path, tmp_path: Path) -> None:
    """With an effect, every frame; and with output.sound off."""
    clip = write_clip(tmp_path / "a.mkv", ("libx264", "mp2"))
    arguments = ("--source", clip, "--model", nano_dir, "--prompt", "point=40,30", "--pace", "all")
    done = run_cli(*arguments, "--output", f"video:{tmp_path / 'out.mp4'}")
    assert done.returncode == 0, done.stderr
    assert "the sound (mp2) is re-encoded as AAC" in done.stderr
    seen = look_and_listen(tmp_path / "out.mp4")
    assert seen.beeps == pytest.approx(EVENTS_S, abs=0.01)
    assert seen.pictures_s == pytest.approx(2.0, abs=0.001)


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_run_leaves_both(
    ending: signal.Signals, nano_dir: Path, tmp_path: Path
) -> None:
    """A looped file, ended by force: what was written before plays, with its sound."""
    write_clip(tmp_path / "a.mp4", ("libx264", "aac"), seconds=1.0)
    command = [sys.executable, str(REPO_ROOT / "run_live.py"), "--source", "a.mp4", "--loop"]
    command += ["--model", str(nano_dir), "--prompt", "point=40,30", "--pace", "all"]
    command += ["--output", "masks:m", "--output", "video:out.mp4"]
    environment = {k: v for k, v in os.environ.items() if k not in DISPLAY_VARIABLES}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    ) as process:
        try:
            wait_until((tmp_path / "m" / "00060.png").exists, "two rounds", WAIT_S)
            process.send_signal(ending)
            process.wait(WAIT_S)
        finally:
            process.kill()
    seen = look_and_listen(tmp_path / "out.mp4")
    count = min(len(seen.flashes), len(seen.beeps))
    assert count >= 2
    assert seen.beeps[:count] == pytest.approx(seen.flashes[:count], abs=0.03)
    assert seen.sound_s == pytest.approx(seen.pictures_s, abs=0.3)


def test_eight_channels_in_an_unusual_order(
    run_cli: RunCli, nano_dir: Path, tmp_path: Path
) -> None:
    """As QuickTime names them: PyAV frees such names twice, and the process was gone."""
    clip = write_clip(tmp_path / "a.mov", ("libx264", "pcm_s16le"), seconds=1.0)
    eight = tmp_path / "eight.mov"
    command = [require_tool("ffmpeg", "ffmpeg"), "-v", "error", "-i", str(clip), "-c:v", "copy"]
    subprocess.run([*command, "-c:a", "pcm_s16le", "-ac", "8", str(eight)], check=True)
    arguments = ("--source", eight, "--model", nano_dir, "--prompt", "point=40,30")
    done = run_cli(*arguments, "--output", f"video:{tmp_path / 'out.mp4'}", "--pace", "all")
    assert done.returncode == 0, done.stderr
    assert look_and_listen(tmp_path / "out.mp4").beeps == pytest.approx([0.6], abs=0.01)
