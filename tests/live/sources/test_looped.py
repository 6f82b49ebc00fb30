"""`--loop`: a file starts again at its end, and the run goes on as over one long source."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from samcam.live.errors import CaptureError
from samcam.live.sources.base import VideoSource
from samcam.live.sources.choose import open_source
from samcam.live.sources.options import SourceOptions
from tests.conftest import RunCli
from tests.helpers.bounds import RUN_TIMEOUT_S
from tests.helpers.recordings import check_schemas
from tests.helpers.synthetic_video import (
    MjpegServer,
    VideoSpec,
    numbered_picture,
    read_number,
    write_video,
)

LOOPED = SourceOptions(fps=25.0, loop=True)


def read(source: VideoSource, count: int) -> list[tuple[int, float, int]]:
    """Return index, time in ms and the number in the picture of the next frames."""
    found = []
    for _ in range(count):
        frame = source.read()
        assert frame is not None
        found.append((frame.index, frame.time_ns / 1e6, read_number(frame.image_bgr)))
    return found


def folder_of(path: Path, count: int, broken: int | None = None) -> Path:
    path.mkdir()
    for number in range(count):
        cv2.imwrite(str(path / f"{number:05d}.png"), numbered_picture(number))
    if broken is not None:
        (path / f"{broken:05d}.png").write_bytes(b"not a picture")
    return path


def test_a_file_goes_on_at_its_end(tmp_path: Path) -> None:
    """Indices go on, and so do times: one frame's time between the rounds."""
    video = write_video(tmp_path / "v.mp4", VideoSpec(count=3, fps=25))
    source = open_source(str(video), LOOPED)
    assert source.info.frame_count is None
    assert read(source, 8) == [(i, 40.0 * i, i % 3) for i in range(8)]
    source.close()
    assert source.read() is None


def test_a_folder_with_a_broken_picture(tmp_path: Path) -> None:
    """Its place stays empty in every round, and each time counts."""
    source = open_source(str(folder_of(tmp_path / "f", 3, broken=1)), LOOPED)
    assert [index for index, _, _ in read(source, 5)] == [0, 2, 3, 5, 6]
    assert source.broken_frames >= 2  # type: ignore[attr-defined]
    source.close()


def test_a_file_that_changes_or_goes_away_is_said(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "f", 2)
    source = open_source(str(folder), LOOPED)
    read(source, 2)
    cv2.imwrite(str(folder / "00000.png"), numbered_picture(0, (128, 64)))
    with pytest.raises(CaptureError, match=r"128 x 64 pixels now, expected 96 x 64"):
        source.read()
    source.close()
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(CaptureError, match="no pictures in this folder"):
        source.read() or open_source(str(folder), LOOPED)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot send this to one process")
def test_a_looped_run_is_recorded_and_replayed(
    run_cli: RunCli, repo_root: Path, nano_dir: Path, tmp_path: Path
) -> None:
    """The real command goes on until it is stopped; its replay gives the same masks."""
    folder_of(tmp_path / "f", 3)
    words = (sys.executable, repo_root / "run_live.py", "--source", "f", "--model", nano_dir)
    more = ("--loop", "--prompt", "box=20,10,70,50", "--record", "rec", "--output", "masks:a")
    with subprocess.Popen(
        [*map(str, (*words, *more)), "--set", "metrics.period_s=0.5"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if re.search(r"frame (1[2-9]|[2-9]\d|\d{3,}),", line):
                process.send_signal(signal.SIGINT)
                break
        process.communicate(timeout=RUN_TIMEOUT_S)
    assert process.returncode == 130
    check_schemas(tmp_path / "rec")
    rows = [json.loads(row) for row in (tmp_path / "a" / "tracks.jsonl").read_text().splitlines()]
    assert [row["frame"] for row in rows] == list(range(len(rows)))
    assert len(rows) >= 8  # the last steps may still be on their way to the output
    replay = run_cli("--replay", str(tmp_path / "rec"), "--output", "masks:b")
    assert replay.returncode == 0, replay.stderr
    for path in (tmp_path / "a").glob("*.png"):
        assert path.read_bytes() == (replay.cwd / "b" / path.name).read_bytes()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--suggest", "s.json"), "--loop: with --suggest the run would never end"),
        (("--replay", "r"), "--loop: not with --replay r: it has the frames that were recorded"),
    ],
)
def test_what_has_no_end_of_its_own_is_refused(
    words: tuple[str, ...], line: str, run_cli: RunCli
) -> None:
    result = run_cli("--source", "demo", "--loop", *words)
    assert result.returncode == 2
    assert line in result.stderr


def test_a_stream_has_no_end_to_loop_at(run_cli: RunCli) -> None:
    with MjpegServer(per_connection=100_000).serve() as url:
        result = run_cli("--source", url, "--loop", "--output", "none")
    assert result.returncode == 2
    assert "(url) has no end to start again at" in result.stderr
