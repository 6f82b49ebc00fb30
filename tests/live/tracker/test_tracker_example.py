"""The examples in README.md and docs/python_api.md run as they stand, with the embedded model."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from samcam.live.frames import FrameResult
from samcam.live.tracker.crop import CropSettings
from samcam.live.tracker.tracker import Tracker


def run_examples(page: Path) -> list[FrameResult]:
    """Run the examples of a page, one after the other; returns what `result` is at their ends."""
    text = page.read_text(encoding="utf-8")
    results = []
    for block in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        names: dict[str, object] = {}
        exec(compile(block, page.name, "exec"), names)
        if "result" in names:  # not every one steps
            assert isinstance(names["result"], FrameResult)
            results.append(names["result"])
    return results


@pytest.mark.usefixtures("nano_dir")
def test_the_example_in_readme_runs(
    repo_root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repo_root)  # it reads a picture of the repository
    (result,) = run_examples(repo_root / "README.md")
    assert result.objects[0].visible
    assert capsys.readouterr().out == f"tracking {result.objects[0].mask().sum()}\n"


@pytest.mark.usefixtures("nano_dir")
def test_the_documented_examples_run(
    repo_root: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)  # the first one writes masks
    first, second = run_examples(repo_root / "docs" / "python_api.md")
    assert first.step == 29
    assert first.objects[0].reason
    masks = [np.asarray(Image.open(path)) > 0 for path in sorted(tmp_path.iterdir())]
    assert len(masks) == 30
    assert all(mask.shape == (480, 854) and mask.any() for mask in masks)
    np.testing.assert_array_equal(masks[-1], first.objects[0].mask())
    assert second.frame.time_ns == 360_000_000
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [["7", "tracking"]] * 10


@pytest.mark.usefixtures("nano_dir")
def test_open_switches_on_what_the_page_says() -> None:
    """The crop, with nano and a preset that has a gate to steer it."""
    for preset, expected in (("default", CropSettings()), ("sam2", None)):
        with Tracker.open("nano", preset=preset) as tracker:
            assert tracker.settings.crop == expected
