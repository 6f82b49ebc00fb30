"""Files of rows: whole rows on a full disk, after a cut-off run, and from several writers."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest

from samcam.system.files.rows import RowFile, read_rows
from tests.conftest import REPO_ROOT, RunCli
from tests.helpers.bounds import RUN_TIMEOUT_S
from tests.helpers.small_disk import small_disk

ROW = {"frame": 1, "step": 1, "stage_ms": {}}


def rows_in(path: Path) -> list[dict[str, object]]:
    """Every row of a file, which must end with a whole one."""
    text = path.read_text()
    assert text == "" or text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def fits(rows: RowFile, *values: dict[str, object]) -> bool:
    try:
        rows.write(*values)
    except OSError as error:
        return not re.search(r"No space left|is the disk full\?", str(error))
    return True


@pytest.mark.parametrize("before", [b"", b'{"frame": 0}\n', b'{"frame": 0}\n' * 9000])
@pytest.mark.parametrize("torn", [b'{"fra', b"{", b'{"a": "' + b"x" * 70_000, b"\x00\x00\xff"])
def test_half_a_row_of_an_earlier_run_is_removed(
    before: bytes, torn: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The next run's first row stuck to it, and both were lost to every reader."""
    path = tmp_path / "m.jsonl"
    path.write_bytes(before + torn)
    with caplog.at_level(logging.WARNING):
        rows = RowFile(path)
    rows.write(ROW)
    rows.close()
    assert path.read_bytes() == before + json.dumps(ROW).encode() + b"\n"
    assert f"{path}: its last row was cut off" in caplog.text


def test_a_whole_row_without_its_line_end_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text('{"frame": 0}\n{"frame": 1}')
    rows = RowFile(path)
    rows.write({"frame": 2})
    rows.close()
    assert [row["frame"] for row in read_rows(path)] == [0, 1, 2]


def test_rows_that_belong_together_are_there_together_on_a_full_disk(tmp_path: Path) -> None:
    """A real file system of 64 KiB; what is freed can be used again."""
    with small_disk(tmp_path / "disk", 64) as disk:
        rows = RowFile(disk / "m.jsonl")
        written = 0
        while fits(rows, *[{"frame": written, "pad": "x" * 300}] * 3):
            written += 3
        assert len(rows_in(disk / "m.jsonl")) == written > 30
        assert not fits(rows, {"pad": "x" * 60_000})
        assert len(rows_in(disk / "m.jsonl")) == written
        rows.clear()
        rows.write(ROW)
        rows.close()
        assert rows_in(disk / "m.jsonl") == [ROW]


LIMITED = """
import resource, runpy, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
sys.argv = ["run_live.py", *sys.argv[2:]]
runpy.run_path("run_live.py", run_name="__main__")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no such limits there")
@pytest.mark.parametrize("output", ["--metrics", "--record"])
def test_a_full_disk_is_one_line_and_leaves_whole_rows(output: str, tmp_path: Path) -> None:
    """The real program with a file-size limit, which cuts a write short as a full disk does."""
    target = tmp_path / ("m.jsonl" if output == "--metrics" else "r")
    command = ["-c", LIMITED, "12001", "--source", "demo", "--set", "source.demo_frames=400"]
    command += ["--set", "source.demo_size=[64, 48]", "--output", "none", output, str(target)]
    done = subprocess.run(
        [sys.executable, *command],
        cwd=REPO_ROOT,
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
    )
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 5, done.stderr
    assert len(errors) == 1, done.stderr
    assert f"{output} {target}: cannot be written: " in errors[0]
    assert "Traceback" not in done.stderr
    file = target if output == "--metrics" else target / "steps.jsonl"
    frames = [row["frame"] for row in rows_in(file)]
    assert frames == list(range(len(frames)))
    assert len(frames) > 30


def test_the_next_run_goes_on_after_a_torn_row(run_cli: RunCli, tmp_path: Path) -> None:
    """Also where that row is all that there is of the first run."""
    for written in ('{"frame": 0, "step"', '{"frame": 0, "step": 0, "stage_ms": {}}\n{"frame": 1'):
        path = tmp_path / "m.jsonl"
        path.write_text(written)
        known = written.count("\n")
        few = ("--set", "source.demo_frames=2", "--set", "source.demo_size=[64, 48]")
        done = run_cli("--source", "demo", *few, "--output", "none", "--metrics", path)
        assert done.returncode == 0, done.stderr
        assert f"{path}: its last row was cut off" in done.stderr
        assert len(rows_in(path)) == known + 2
