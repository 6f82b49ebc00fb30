"""Files that version 0.1.0 wrote before the rooms had names: still read, and they mean the same.

`tests/data/0.1.0` is what `python run_live.py --source demo ... --record rec --save-profile old`
left: five frames of the demo, one object, `tracker.window.zoom=2` (the default is 3). Its folder
`int8` is a model of `nano`'s kind that was exported with `--precision int8`: of tiny widths, 64 px,
and trained for ten minutes, to be small; without the notes that torch leaves in graphs.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from samcam.live.cli.plan import plan_request
from samcam.live.config import Request, apply_overrides, load_settings
from samcam.live.errors import ConfigError
from samcam.live.frames import U8, Mask
from samcam.live.recording.replay import Recording
from samcam.live.tracker import preset
from tests.conftest import REPO_ROOT, RunCli

DATA = REPO_ROOT / "tests" / "data" / "0.1.0"
# The same network on another processor rounds another way along a border of one pixel.
SAME_IOU = 0.95
INT8_IOU = 0.9  # of a weak model, five steps after its prompt


def ids_of(folder: Path) -> list[U8]:
    """The object ids of a `masks:` folder, in order."""
    return [np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png"))]


def masks_of(folder: Path) -> list[Mask]:
    """The masks of a `masks:` folder, in order."""
    return [ids > 0 for ids in ids_of(folder)]


def test_an_older_recording_replays_to_the_same_masks(run_cli: RunCli, tmp_path: Path) -> None:
    done = run_cli("--replay", DATA / "rec", "--output", f"masks:{tmp_path / 'm'}")
    assert done.returncode == 0, done.stderr
    found, expected = masks_of(tmp_path / "m"), masks_of(DATA / "masks")
    assert len(found) == len(expected) == 5
    for mine, theirs in zip(found, expected, strict=True):
        assert (mine & theirs).sum() >= SAME_IOU * (mine | theirs).sum() > 0


def test_an_older_recording_goes_by_the_rules_of_its_time() -> None:
    """What the preset `default` has since then is off; another preset has no need of that."""
    recording = Recording.open(DATA / "rec")
    recorded = recording.request(Request(replay=DATA / "rec")).recorded
    changes = load_settings(None, given=recorded).tracker
    tracker = apply_overrides(preset(recording.header.preset), changes)
    assert tracker.gate is not None
    assert tracker.recovery is not None
    assert not tracker.rivals
    assert (tracker.camera_motion, tracker.gate.slack, tracker.recovery.sure) == (False, 0, 0)
    assert tracker.admission is not None  # whose keys it has, left to the preset of its time
    assert (tracker.admission.predicted_iou, tracker.admission.motion_iou) == (0.5, 0.3)
    assert tracker.bank_policy.recent_stride == 1
    other = Request(replay=DATA / "rec", preset="sam2", given=frozenset({"--preset"}))
    changes = load_settings(None, given=recording.request(other).recorded).tracker
    assert apply_overrides(preset("sam2"), changes).gate is None


@pytest.mark.parametrize(
    ("chosen", "likenesses"),
    [
        ("shown=0.5", (0.5, 0.55, 0.6)),
        ("remembered=0.5", (0, 0.5, 0.6)),
        ("sure=0.5", (0, 0, 0.5)),
        ("shown=0", (0, 0, 0)),
        ("shown=null", (0.45, 0.55, 0.6)),
    ],
)
def test_a_likeness_that_is_set_now_counts_beside_the_rules_of_then(
    chosen: str, likenesses: tuple[float, ...]
) -> None:
    asked = Request(replay=DATA / "rec", overrides=(f"tracker.recovery.{chosen}",))
    rules = plan_request(Recording.open(DATA / "rec").request(asked), None).tracker.recovery
    assert rules is not None
    assert (rules.shown, rules.remembered, rules.sure) == likenesses
    assert rules.motion_s == 0


def test_a_likeness_above_what_the_preset_has_is_told_with_its_origin() -> None:
    asked = Request(replay=DATA / "rec", overrides=("tracker.recovery.shown=0.58",))
    with pytest.raises(ConfigError) as caught:
        plan_request(Recording.open(DATA / "rec").request(asked), None)
    assert caught.value.problems == (
        "--set: tracker.recovery.shown: 0.58: expected at most tracker.recovery.remembered, 0.55 "
        "(the preset default)",
    )


def test_an_older_int8_model_gives_the_same_masks(run_cli: RunCli) -> None:
    """Two objects, every step remembered: the last masks come of all that was done before."""
    done = run_cli(
        *("--model", DATA / "int8", "--preset", "sam2", "--output", "masks:m", "--source", "demo"),
        *("--set", "source.demo_frames=5", "--set", "source.demo_size=[256, 144]"),
        *("--prompt", "object=1 point=40,98", "--prompt", "object=2 point=215,35"),
    )
    assert done.returncode == 0, done.stderr
    found, expected = ids_of(done.cwd / "m"), ids_of(DATA / "int8-masks")
    assert len(found) == len(expected) == 5
    for mine, theirs in zip(found, expected, strict=True):
        for one in (1, 2):
            both, either = (mine == one) & (theirs == one), (mine == one) | (theirs == one)
            assert both.sum() >= INT8_IOU * either.sum() > 0


def test_an_older_profile_finds_its_object(run_cli: RunCli, tmp_path: Path) -> None:
    shutil.copytree(DATA / "profiles", tmp_path / "data" / "samcam" / "profiles")
    places = {name: str(tmp_path / "data") for name in ("XDG_DATA_HOME", "LOCALAPPDATA", "HOME")}
    words = ("--profile", "old", "--pace", "all", "--output", "masks:m")
    words += ("--set", "source.demo_frames=3", "--set", "source.demo_size=[160, 90]")
    done = run_cli(*words, env=places)
    assert done.returncode == 0, done.stderr
    assert [bool(mask.any()) for mask in masks_of(done.cwd / "m")] == [True] * 3
