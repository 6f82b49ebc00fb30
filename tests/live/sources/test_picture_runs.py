"""The program, as a process, on picture files that broke it."""

from __future__ import annotations

import json
from pathlib import Path

import av
import pytest
from PIL import Image

from tests.conftest import RunCli
from tests.live.sources.test_pictures import png_of_size


@pytest.mark.shared
@pytest.mark.slow
def test_the_program_on_the_files_that_broke_it(
    shared_dir: Path, tmp_path: Path, run_cli: RunCli
) -> None:
    cases = shared_dir / "cases" / "sources"
    counts = {
        "anim.webp": (48, (320, 180)),
        "RGB_8__29x100.heif": (1, (29, 100)),
        "folder_dir_named_jpg": (3, None),
        "folder_frames_and_masks": (3, None),
    }
    for name, (count, size_wh) in counts.items():
        out = tmp_path / name
        point = ("--prompt", "point=10,12")
        outputs = ("--output", f"masks:{out}", "--output", f"video:{out}.mp4")
        result = run_cli("--source", cases / name, *point, *outputs, "--pace", "all")
        assert result.returncode == 0, result.stderr
        masks = sorted(out.glob("*.png"))
        assert len(masks) == count
        with Image.open(masks[0]) as mask, av.open(f"{out}.mp4") as video:
            frames = [(float(f.time), f.width, f.height) for f in video.decode(video=0)]
            assert len(frames) == count
            if size_wh is not None:
                assert mask.size == size_wh
    rows = (tmp_path / "anim.webp/tracks.jsonl").read_text().splitlines()
    times = [json.loads(row)["time_s"] for row in rows]
    assert times == pytest.approx([i / 24 for i in range(48)], abs=0.002)


def test_a_huge_picture_is_refused_at_once(tmp_path: Path, run_cli: RunCli) -> None:
    """1 MB of PNG became 3 GB, for 41 s in which Ctrl-C was ignored."""
    path = tmp_path / "bomb.png"
    path.write_bytes(png_of_size(32000, 32000))
    result = run_cli("--source", path, "--prompt", "point=5,5", "--output", "none")
    assert result.returncode == 3
    (line,) = result.stderr.splitlines()
    assert "32000x32000 pixels are 1024.0 megapixels" in line
    assert "source.max_megapixels" in line
    good = tmp_path / "good.png"
    Image.new("RGB", (32, 32), "white").save(good)
    for spec in (f"mask={path}", f"mask={good} image={path}"):
        result = run_cli("--source", good, "--output", "none", "--prompt", spec)
        assert result.returncode == 2
        assert "32000x32000" in result.stderr
    background = ("--effect", "replace", "--set", f"effect.replace.picture={path}")
    result = run_cli("--source", "demo", "--prompt", "point=5,5", "--output", "none", *background)
    assert result.returncode == 2
    assert "source.max_megapixels" in result.stderr


def test_the_last_moving_picture_stays_as_long_as_it_says(tmp_path: Path, run_cli: RunCli) -> None:
    """A GIF rests on its last picture; the video ended with it at once."""
    path = tmp_path / "moving.gif"
    pictures = [Image.new("RGB", (64, 48), (60 * i, 200, 90)) for i in range(4)]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=[50, 50, 100, 1500])
    out = tmp_path / "out.mp4"
    result = run_cli("--source", path, "--prompt", "point=9,9", "--output", f"video:{out}")
    assert result.returncode == 0, result.stderr
    with av.open(str(out)) as video:
        (stream,) = video.streams.video
        packets = [p for p in video.demux(stream) if p.size]
        times = [float(p.pts * p.time_base) for p in packets if p.pts is not None]
        last = packets[-1]
        assert last.duration is not None
        assert times == pytest.approx([0, 0.05, 0.1, 0.2])
        assert float(last.duration * last.time_base) == pytest.approx(1.5)
