"""A person clicks while the run is recorded; the replay clicks at the same steps."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from run_live import main
from tests.helpers.demo_user import demo_user
from tests.helpers.recordings import (
    SIZE_WH,
    check_schemas,
    common_masks,
    files_of,
    json_rows,
    object_ids,
)
from tests.helpers.xvfb import Display, wait_until

pytestmark = [pytest.mark.window, pytest.mark.slow]

GEAR, CARD = 1, 2


def test_clicks_in_a_live_run_are_replayed(
    display: Display, nano_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two clicks and a removal by mouse and keys, live pace; the masks are equal bit for bit."""
    monkeypatch.chdir(tmp_path)
    commands, steps = tmp_path / "rec" / "commands.jsonl", tmp_path / "rec" / "steps.jsonl"
    options = ("--output", "masks:a", "--set", "window.max_width=320")
    with demo_user(display, tmp_path, options, SIZE_WH) as user:
        user.click_object(GEAR)
        user.window.key("2")
        user.click_object(CARD)
        wait_until(lambda: shows_both(tmp_path / "a"), "both objects in a mask")
        user.window.key("x")
        user.await_command("RemoveObject")
        user.await_steps(3)
        user.quit()

    check_schemas(tmp_path / "rec")
    types = [row["command"]["type"] for row in json_rows(commands)]
    assert set(types) == {"Prompt", "RemoveObject"}
    assert types[-2:] == ["Prompt", "RemoveObject"]
    # a click that missed was taken back
    assert types.count("Prompt") == types.count("RemoveObject") + 1
    assert json.loads((tmp_path / "rec" / "recording.json").read_text())["complete"]
    for name in ("b", "c"):
        assert main(["--replay", "rec", "--output", f"masks:{name}"]) == 0
    assert files_of(tmp_path / "b") == files_of(tmp_path / "c")
    names = common_masks(tmp_path / "a", tmp_path / "b")
    assert any(len(np.unique(object_ids(tmp_path / "b" / name))) == 3 for name in names)
    assert len(list((tmp_path / "b").glob("*.png"))) == count(steps)


def count(path: Path) -> int:
    """Return how many rows a file has so far."""
    return path.read_bytes().count(b"\n")


def shows_both(folder: Path) -> bool:
    """Whether the newest mask but one, which is written by now, has both objects."""
    names = sorted(path.name for path in folder.glob("*.png"))[-2:-1]
    return any(len(np.unique(object_ids(folder / name))) == 3 for name in names)
