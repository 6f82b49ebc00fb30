"""`--guide nanotrack` as a user starts it: what is missing is told, and a replay gives the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from samcam.guides import NANOTRACK_FILES, NANOTRACK_FOLDER
from tests.conftest import RunCli
from tests.helpers.live_run import (
    END_TIMEOUT_S,
    ENDLESS,
    SMALL,
    middle_of_an_object,
    running,
    without_display,
)
from tests.helpers.nanotrack import install_nanotrack
from tests.helpers.xvfb import wait_until

DEMO = ("--source", "demo", "--set", "source.demo_frames=12", "--prompt", "box=300,150,420,300")


def rows(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "tracks.jsonl").read_text().splitlines()]


def test_missing_weights_are_told_before_anything_runs(run_cli: RunCli, tmp_path: Path) -> None:
    home = {"XDG_DATA_HOME": str(tmp_path / "data")}
    for arguments in (("--check-config",), DEMO):
        done = run_cli("--guide", "nanotrack", *arguments, "--output", "none", env=home)
        assert done.returncode == 4
        (line,) = (text for text in done.stderr.splitlines() if text.startswith("error:"))
        assert "guide nanotrack: not installed" in line
        assert line.endswith("export nanotrack")
    doctor = run_cli("--doctor", "--guide", "nanotrack", env=home)
    assert doctor.returncode == 4
    assert "guide nanotrack   problem" in " ".join(doctor.stdout.splitlines())
    folder = tmp_path / "data" / "samcam" / "models" / NANOTRACK_FOLDER
    folder.mkdir(parents=True)
    (folder / NANOTRACK_FILES[0].file).write_bytes(b"cut off")
    broken = run_cli("--doctor", env=home)
    assert broken.returncode == 0, "nobody asked for it, and every run works without"
    assert "guide nanotrack   problem" in broken.stdout
    wrong = run_cli("--guide", "nanotrak", "--check-config")
    assert wrong.returncode == 2
    assert (
        "error: --guide: tracker.guide: nanotrak: expected one of none | nanotrack | boxes"
        in wrong.stderr
    )


def whole_rows(folder: Path) -> list[dict[str, object]]:
    """The rows that are written so far."""
    text = (folder / "tracks.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


@pytest.mark.shared
def test_a_guided_run_and_its_replay(run_cli: RunCli, shared_dir: Path, tmp_path: Path) -> None:
    install_nanotrack(shared_dir, tmp_path / "data" / "samcam" / "models")
    home = {"XDG_DATA_HOME": str(tmp_path / "data")}
    first = run_cli(
        *DEMO, "--guide", "nanotrack", "--record", "rec", "--output", "masks:a", env=home
    )
    assert first.returncode == 0, first.stderr
    found = rows(tmp_path / "cwd" / "a")
    assert found[0]["guide_iou"] is None, "it is started there"
    assert all(isinstance(row["guide_iou"], float) for row in found[1:] if row["visible"])
    assert sum(row["visible"] is True for row in found) > 6
    again = run_cli("--replay", "rec", "--output", "masks:b", env=home)
    assert again.returncode == 0, again.stderr
    assert rows(tmp_path / "cwd" / "b") == found


def test_a_detectors_boxes_by_ctl_and_in_the_replay(
    run_cli: RunCli, control_folder: Path, nano_dir: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "detector"
    folder.mkdir()
    where = middle_of_an_object()
    arguments = (*ENDLESS, *SMALL, "--output", "masks:out", "--record", "rec", "--guide", "boxes")
    with running((*arguments, "--model", str(nano_dir)), run_cli, folder, without_display()) as run:
        assert run.ctl("prompt", where).stdout.startswith("ok")
        wait_until(lambda: bool((run.status() or {}).get("objects")), "the object")
        for _ in range(20):  # one that comes too late for a slow picture changes nothing
            done = run.ctl("guide-box", "object=1", where)
            assert done.stdout.startswith("ok"), done.stderr
            if any(row["guide_iou"] is not None for row in whole_rows(folder / "out")):
                break
        status = run.ctl("guide-box", "object=9 box=1,1,5,5")
        assert status.stdout.startswith("ok: taken") or "object 9: not tracked" in status.stderr
        assert run.ctl("quit").returncode == 0
        assert run.process.wait(END_TIMEOUT_S) == 0
    found = rows(folder / "out")
    assert any(row["guide_iou"] is not None for row in found)
    again = run_cli("--replay", "rec", "--pace", "recorded", "--output", "masks:again", cwd=folder)
    assert again.returncode == 0, again.stderr
    replayed = {row["frame"]: row for row in rows(folder / "again")}
    assert [replayed[row["frame"]] for row in found] == found  # a live run may drop some
