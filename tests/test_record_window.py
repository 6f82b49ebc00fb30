"""A person clicks while the run is recorded; the replay clicks at the same steps."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from run_live import main
from tests.helpers.recordings import (
    SIZE_WH,
    check_schemas,
    common_masks,
    files_of,
    json_rows,
    object_ids,
)
from tests.helpers.window_user import END_TIMEOUT_S, running_command
from tests.helpers.xvfb import Display, running_xvfb, wait_until

pytestmark = [pytest.mark.window, pytest.mark.slow]


@pytest.fixture
def display(tmp_path: Path) -> Iterator[Display]:
    folder = tmp_path / "xvfb"
    folder.mkdir()
    with running_xvfb(folder) as running:
        yield running


def test_clicks_in_a_live_run_are_replayed(
    display: Display, nano_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two clicks and a removal by mouse and keys, live pace; the masks are equal bit for bit."""
    monkeypatch.chdir(tmp_path)
    arguments = ("--source", "demo", "--set", "source.demo_frames=0", "--record", "rec")
    outputs = ("--output", "window", "--output", "masks:a", "--set", "window.max_width=320")
    size = ("--set", f"source.demo_size={list(SIZE_WH)}")
    commands, steps = tmp_path / "rec" / "commands.jsonl", tmp_path / "rec" / "steps.jsonl"
    with running_command(display, tmp_path, *arguments, *outputs, *size) as (process, window):
        window.click(75, 75)
        wait_until(lambda: count(commands) == 1, "the first click in the recording", 60)
        window.key("2")
        window.click(235, 80)
        wait_until(lambda: count(commands) == 2, "the second click in the recording", 60)
        seen = count(steps)
        wait_until(lambda: count(steps) > seen + 10, "some steps", 60)
        window.key("x")
        wait_until(lambda: count(commands) == 3, "the removal in the recording", 60)
        seen = count(steps)
        wait_until(lambda: count(steps) > seen + 3, "some steps", 60)
        window.key("q")
        assert process.wait(END_TIMEOUT_S) == 0

    check_schemas(tmp_path / "rec")
    types = [row["command"]["type"] for row in json_rows(commands)]
    assert types == ["Prompt", "Prompt", "RemoveObject"]
    assert json.loads((tmp_path / "rec" / "recording.json").read_text())["complete"]
    for name in ("b", "c"):
        assert main(["--replay", "rec", "--output", f"masks:{name}"]) == 0
    assert files_of(tmp_path / "b") == files_of(tmp_path / "c")
    names = common_masks(tmp_path / "a", tmp_path / "b")
    # the scene moves on while the user clicks: at least one of the two clicks found something
    assert any(object_ids(tmp_path / "b" / name).any() for name in names)
    assert len(list((tmp_path / "b").glob("*.png"))) == count(steps)


def count(path: Path) -> int:
    """Return how many rows a file has so far."""
    return path.read_bytes().count(b"\n")
