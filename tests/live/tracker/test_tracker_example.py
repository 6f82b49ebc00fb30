"""The examples in README.md and docs/python_api.md run as they stand, with the embedded model."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from samcam.live.frames import FrameResult
from samcam.live.tracker.crop import WindowSettings
from samcam.live.tracker.tracker import Tracker


def run_example(page: Path) -> FrameResult:
    """Run the one example of a page; returns what its name `result` ends with."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 1
    names: dict[str, object] = {}
    exec(compile(blocks[0], page.name, "exec"), names)
    result = names["result"]
    assert isinstance(result, FrameResult)
    return result


@pytest.mark.usefixtures("nano_dir")
def test_the_example_in_readme_runs(
    repo_root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repo_root)  # it reads a picture of the repository
    assert run_example(repo_root / "README.md").objects[0].visible
    assert capsys.readouterr().out.startswith("tracking (")


@pytest.mark.usefixtures("nano_dir")
def test_the_documented_example_runs(repo_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = run_example(repo_root / "docs" / "python_api.md")
    assert result.step == 29
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [[str(index), "1"] for index in range(30)]
    assert "tracking" in lines[0]
    assert "prompted on this frame" in lines[0]


@pytest.mark.usefixtures("nano_dir")
def test_open_switches_on_what_the_page_says() -> None:
    """The search window, with nano and a preset that has a gate to steer it."""
    for preset, expected in (("default", WindowSettings()), ("sam2", None)):
        with Tracker.open("nano", preset=preset) as tracker:
            assert tracker.settings.window == expected
