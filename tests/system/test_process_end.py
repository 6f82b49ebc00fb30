"""The end of the process where a thread cannot be ended: its exit code, and whole files."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import av
import pytest

from tests.conftest import REPO_ROOT
from tests.helpers.bounds import RUN_TIMEOUT_S
from tests.helpers.live_run import without_display
from tests.helpers.xvfb import wait_until

OBJECTS = 80  # a step of a second or more, in native code nearly all of it

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


@pytest.mark.slow
def test_sigterm_within_a_long_step_ends_with_its_code(nano_dir: Path, tmp_path: Path) -> None:
    """A step that outlives the time for shutting down is left behind in ONNX Runtime; the
    interpreter's end then aborted the process: "terminate called without an active exception",
    134, in place of 143.
    """
    rows = [{"object": n + 1, "point": [6 + n % 20 * 15, 6 + n // 20 * 40]} for n in range(OBJECTS)]
    (tmp_path / "objects.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = [
        *(sys.executable, str(REPO_ROOT / "run_live.py"), "--source", "demo", "--pace", "all"),
        *("--set", "source.demo_size=[320, 180]", "--set", "source.demo_frames=0"),
        *("--set", "metrics.period_s=0.5", "--set", "pipeline.shutdown_s=0.1"),
        *("--prompt", "@objects.jsonl", "--output", "video:v.mp4", "--output", "masks:m"),
    ]
    with subprocess.Popen(
        command, cwd=tmp_path, env=without_display(), stderr=subprocess.PIPE, text=True
    ) as process:
        tracks = tmp_path / "m" / "tracks.jsonl"
        wait_until(  # a step is written, and another one under way
            lambda: process.poll() is not None or (tracks.exists() and tracks.stat().st_size > 0),
            "the first rows",
            RUN_TIMEOUT_S,
        )
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=RUN_TIMEOUT_S)
    assert process.returncode == 128 + signal.SIGTERM, said
    assert "left behind: inference" in said, said
    assert "terminate called" not in said
    with av.open(str(tmp_path / "v.mp4")) as container:
        assert len(list(container.decode(video=0))) >= 1
    rows_written = tracks.read_text().splitlines()
    assert len(rows_written) % OBJECTS == 0
    assert len(rows_written) >= OBJECTS


END = """
import sys, threading
from samcam.system.process_end import run_to_the_end

def run():
    if THREAD:
        threading.Thread(target=threading.Event().wait, daemon=True).start()
    print("said")
    if FAILS:
        raise RuntimeError("a bug")
    return 3

sys.exit(run_to_the_end(run))
"""


@pytest.mark.parametrize("thread", [False, True])
@pytest.mark.parametrize("fails", [False, True])
def test_exit_code_output_and_traceback_are_there_with_and_without_a_thread(
    thread: bool, fails: bool
) -> None:
    program = END.replace("THREAD", str(thread)).replace("FAILS", str(fails))
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=REPO_ROOT,
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
    )
    assert done.returncode == (1 if fails else 3), done.stderr
    assert done.stdout == "said\n"
    assert done.stderr.count("RuntimeError: a bug") == fails
