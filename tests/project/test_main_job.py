"""The program's main job on real footage, as README shows it: a clip, a folder, a picture."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest

from bench.scores.datasets import read_object_ids
from tests.conftest import RunCli
from tests.helpers.bounds import LONG_RUN_TIMEOUT_S

CLIP = "data/clips/01_dog.mp4"
DOG_FIRST_XYXY = (430, 360, 720, 560)  # looked up by eye on frame 0 and, after the dog ran, on 60
DOG_LATER_XYXY = (930, 370, 1280, 570)


def centre_of(ids: np.ndarray) -> tuple[float, float]:
    """Mean position (x, y) of object 1."""
    ys, xs = np.nonzero(ids == 1)
    return float(xs.mean()), float(ys.mean())


def times_of(path: Path) -> tuple[list[float], float]:
    """Decode a video: the time of each frame, and the duration the container states."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"  # what browsers play
        times = [float(frame.time or 0.0) for frame in container.decode(video=0)]
        return times, float(container.duration or 0) / av.time_base


@pytest.mark.shared
@pytest.mark.slow
def test_follows_the_dog(run_cli: RunCli, shared_dir: Path, nano_dir: Path) -> None:
    """README's file command: the mask lies on the dog, goes with it, and the video is as long."""
    clip = shared_dir / CLIP
    result = run_cli(
        *("--source", str(clip), "--prompt", "point=590,430"),
        *("--output", "video:out.mp4", "--output", "masks:out/"),
        timeout_s=LONG_RUN_TIMEOUT_S,
    )
    assert result.returncode == 0, result.stderr
    wanted, length_s = times_of(clip)
    given, given_length_s = times_of(result.cwd / "out.mp4")
    assert given == pytest.approx(wanted, abs=2e-3)
    assert given_length_s == pytest.approx(length_s, abs=0.05)

    masks = sorted((result.cwd / "out").glob("*.png"))
    assert len(masks) == len(wanted)
    first = read_object_ids(masks[0])
    assert first.shape == (720, 1280)
    assert 0.01 <= (first == 1).mean() <= 0.20
    x1, y1, x2, y2 = DOG_FIRST_XYXY
    assert (first[y1:y2, x1:x2] == 1).sum() >= 0.8 * (first == 1).sum()
    assert first[430, 590] == 1
    x, y = centre_of(read_object_ids(masks[60]))
    x1, y1, x2, y2 = DOG_LATER_XYXY
    assert x1 < x < x2
    assert y1 < y < y2

    rows = [json.loads(x) for x in (result.cwd / "out/tracks.jsonl").read_text().splitlines()]
    assert [row["frame"] for row in rows] == list(range(len(wanted)))
    assert rows[0]["state"] == "tracking"
    assert rows[0]["area_px"] == int((first == 1).sum())


@pytest.mark.shared
def test_a_folder_of_frames(run_cli: RunCli, shared_dir: Path, nano_dir: Path) -> None:
    """A folder runs at the rate that is asked for."""
    frames = shared_dir / "data/masks/davis_blackswan/frames"
    result = run_cli(
        *("--source", str(frames), "--set", "source.fps=25", "--prompt", "point=300,330"),
        *("--output", "video:out.mp4", "--output", "masks:out"),
    )
    assert result.returncode == 0, result.stderr
    count = len(list(frames.glob("*.jpg")))
    times, length_s = times_of(result.cwd / "out.mp4")
    assert times == pytest.approx([n / 25 for n in range(count)], abs=1e-3)
    assert length_s == pytest.approx(count / 25, abs=0.02)
    assert len(list((result.cwd / "out").glob("*.png"))) == count
    first = read_object_ids(result.cwd / "out/00000.png") == 1
    assert first[330, 300]
    assert 0.01 < first.mean() < 0.25


@pytest.mark.shared
def test_a_picture(run_cli: RunCli, shared_dir: Path, nano_dir: Path) -> None:
    """A picture gives one mask."""
    picture = shared_dir / "data/masks/davis_blackswan/frames/00000.jpg"
    result = run_cli(
        *("--source", str(picture), "--prompt", "point=420,260", "--output", "masks:out"),
        *("--output", "video:out.mp4", "--effect", "blur"),
    )
    assert result.returncode == 0, result.stderr
    assert [path.name for path in (result.cwd / "out").glob("*.png")] == ["00000.png"]
    assert read_object_ids(result.cwd / "out/00000.png")[260, 420] == 1
    assert len(times_of(result.cwd / "out.mp4")[0]) == 1
