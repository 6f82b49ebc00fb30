"""Timelines: what a tracker did on a clip, in one picture per object."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from bench.reports.sheet import SheetError
from bench.reports.timeline_plot import (
    SCORES,
    STATE_COLOURS,
    TIER_COLOURS,
    Timeline,
    write_timeline,
)
from bench.scores.watched import MOST_PICTURES, WatchedTracker
from bench.timeline import main
from samcam.engines.fake_backend import fake_networks
from samcam.live.frames import U8, Prompt
from samcam.live.tracker.presets import PRESETS
from samcam.live.tracker.tracker import Tracker
from tests.helpers.tracker_networks import frame


def rows(count: int = 40) -> list[dict[str, Any]]:
    """Tracked, in doubt from frame 20 on, lost from 25 on; the bank fills up meanwhile."""
    states = [("tracking", 20), ("uncertain", 5), ("lost", count - 25)]
    names = [name for name, length in states for _ in range(length)]
    return [
        {
            "frame": 100 + at,
            "step": at,
            "object": 1,
            "state": name,
            "reason": f"{name} (score {at})",
            "predicted_iou": 0.8,
            "object_score": 3.0 if name == "tracking" else -2.0,
            "motion_iou": None if at < 5 else 0.6,
            "admitted": name == "tracking",
            "memory_steps": [0, *range(max(1, min(at, 20) - 5), min(at, 20))][: at + 1],
            "memory_tiers": ["conditioning", *["working"] * 5][: 1 + min(5, max(0, at - 1))],
        }
        for at, name in enumerate(names)
    ]


def row(**changed: object) -> str:
    """Return a line of tracks.jsonl of which something is otherwise."""
    return json.dumps(rows()[9] | changed) + "\n"


def share_of(image: U8, colour: str) -> float:
    """Return how much of a picture has a colour, #rrggbb."""
    bgr = np.array([int(colour[at : at + 2], 16) for at in (5, 3, 1)], np.int16)
    return float((np.abs(image.astype(np.int16) - bgr).max(axis=2) <= 2).mean())


def read(path: Path) -> U8:
    image = cv2.imread(str(path))
    assert image is not None
    return np.asarray(image, np.uint8)


def test_states_and_memory_are_in_the_picture(tmp_path: Path) -> None:
    pictures = {at: np.full((90, 160, 3), 77, np.uint8) for at in range(100, 140, 4)}
    truth = {at: 0.7 for at in range(100, 140)}
    write_timeline(tmp_path / "sub" / "a.png", Timeline("A clip", rows(), truth, "J", pictures))
    image = read(tmp_path / "sub" / "a.png")
    assert image.shape[1] == 1650
    shares = [share_of(image, STATE_COLOURS[name]) for name in ("tracking", "uncertain", "lost")]
    assert shares[0] > 0.01
    assert shares[0] / shares[1] == pytest.approx(20 / 5, rel=0.15)
    assert shares[0] / shares[2] == pytest.approx(20 / 15, rel=0.15)
    assert share_of(image, TIER_COLOURS["conditioning"]) > 0.0001
    assert share_of(image, "#4d4d4d") > 0.05  # the pictures
    assert share_of(image, "#d9d9d9") > 0.1  # the truth
    bare = tmp_path / "b.png"
    write_timeline(bare, Timeline("A clip", rows()))
    assert share_of(read(bare), "#d9d9d9") < 0.01


def test_changes_have_the_reason_of_their_first_frame() -> None:
    assert Timeline("", rows()).changes() == [
        (100, "tracking", "tracking (score 0)"),
        (120, "uncertain", "uncertain (score 20)"),
        (125, "lost", "lost (score 25)"),
    ]


def test_a_watched_tracker_keeps_every_row_and_few_pictures() -> None:
    count = 5 * MOST_PICTURES // 2
    with Tracker(fake_networks(), PRESETS["default"]) as tracker:
        watching = WatchedTracker(tracker)
        watching.prompt(Prompt.click(100, 100))
        for index in range(count):
            result = watching.step(frame(index))
    assert [row["frame"] for row in watching.rows[1]] == list(range(count))
    assert MOST_PICTURES // 2 < len(watching.pictures) <= MOST_PICTURES
    spread = np.diff(sorted(watching.pictures))
    assert set(spread) == {4}
    last = watching.rows[1][-1]
    assert last["memory_steps"] == list(result.objects[0].memory_steps)
    assert last["memory_tiers"][0] == "conditioning"
    assert {key for key, *_ in SCORES} <= set(last)


def test_rows_of_a_run_become_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "tracks.jsonl").write_text("\n".join(json.dumps(row) for row in rows()) + "\n")
    assert main([str(tmp_path)]) == 0
    assert read(tmp_path / "timeline_1.png").size
    assert main([str(tmp_path / "tracks.jsonl"), "--out", str(tmp_path / "out")]) == 0
    assert read(tmp_path / "out" / "timeline_1.png").size
    assert capsys.readouterr().out.count("wrote ") == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no rows"),
        ("{}\n", ":1: expected a row of tracks.jsonl with 'frame'"),
        ("[1]\n", ":1: expected a row of tracks.jsonl with 'frame'"),
        ("not json\n", ":1: expected a JSON object"),
        (row(frame="x"), 'whose frame is int, got "x"'),
        (row(object=None), "whose object is int, got null"),
        (row(memory_steps=3), "whose memory_steps is list, got 3"),
        (row(memory_steps=["a"]), 'with steps and a tier for each, got [["a"]'),
        (row(motion_iou="high"), 'whose motion_iou is int or float or null, got "high"'),
        (row(memory_tiers=["working"] * 9), "with steps and a tier for each"),
        (row(state="gone"), 'whose state is of tracking, uncertain, lost, recovered, got "gone"'),
        (row(memory_tiers=[["old"]]), "whose memory_tiers is of conditioning, sensory, working"),
    ],
)
def test_what_is_no_row_is_one_line(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tracks.jsonl").write_text(text)
    assert main([str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_no_rows_file_and_no_place_to_write(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    none = tmp_path / "none"
    assert main([str(none)]) == 2
    said = "No such file or directory; expected the tracks.jsonl of a run with --output masks:DIR"
    assert capsys.readouterr().err == f"error: {none}: cannot be read: {said}\n"
    (tmp_path / "file").write_text("")
    with pytest.raises(SheetError, match="cannot be written"):
        write_timeline(tmp_path / "file" / "a.png", Timeline("", rows()))
