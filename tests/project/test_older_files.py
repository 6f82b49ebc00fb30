"""Files that version 0.1.0 wrote before the rooms had names: still read, and they mean the same.

`tests/data/0.1.0` is what `python run_live.py --source demo ... --record rec --save-profile old`
left: five frames of the demo, one object, `tracker.window.zoom=2` (the default is 3).
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from tests.conftest import REPO_ROOT, RunCli

DATA = REPO_ROOT / "tests" / "data" / "0.1.0"
# The same network on another processor rounds another way along a border of one pixel.
SAME_IOU = 0.95


def masks_of(folder: Path) -> list[np.ndarray[tuple[int, ...], np.dtype[np.bool_]]]:
    """The masks of a `masks:` folder, in order."""
    return [np.asarray(Image.open(path)) > 0 for path in sorted(folder.glob("*.png"))]


def test_an_older_recording_replays_to_the_same_masks(run_cli: RunCli, tmp_path: Path) -> None:
    done = run_cli("--replay", DATA / "rec", "--output", f"masks:{tmp_path / 'm'}")
    assert done.returncode == 0, done.stderr
    found, expected = masks_of(tmp_path / "m"), masks_of(DATA / "masks")
    assert len(found) == len(expected) == 5
    for mine, theirs in zip(found, expected, strict=True):
        assert (mine & theirs).sum() >= SAME_IOU * (mine | theirs).sum() > 0


def test_an_older_profile_finds_its_object(run_cli: RunCli, tmp_path: Path) -> None:
    shutil.copytree(DATA / "profiles", tmp_path / "data" / "samcam" / "profiles")
    places = {name: str(tmp_path / "data") for name in ("XDG_DATA_HOME", "LOCALAPPDATA", "HOME")}
    words = ("--profile", "old", "--pace", "all", "--output", "masks:m")
    words += ("--set", "source.demo_frames=3", "--set", "source.demo_size=[160, 90]")
    done = run_cli(*words, env=places)
    assert done.returncode == 0, done.stderr
    assert [bool(mask.any()) for mask in masks_of(done.cwd / "m")] == [True] * 3
