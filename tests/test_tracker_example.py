"""The example in docs/python_api.md runs as it stands, with the embedded model."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from live.frames import FrameResult


@pytest.mark.usefixtures("nano_dir")
def test_the_documented_example_runs(repo_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (repo_root / "docs" / "python_api.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 1
    names: dict[str, object] = {}
    exec(compile(blocks[0], "docs/python_api.md", "exec"), names)
    result = names["result"]
    assert isinstance(result, FrameResult)
    assert result.step == 29
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [[str(index), "1"] for index in range(30)]
    assert "tracking" in lines[0]
    assert "prompted on this frame" in lines[0]
