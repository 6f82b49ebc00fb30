"""The X server or the window goes while a run shows it: the run ends as for any broken output."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPO_ROOT
from tests.helpers.window_user import END_TIMEOUT_S
from tests.helpers.xvfb import Display, wait_until

pytestmark = [pytest.mark.window, pytest.mark.slow]

MANY_STEPS = 10


@pytest.mark.parametrize("how", ["server", "windowclose"])
def test_outputs_are_finished_where_the_window_goes(
    how: str, display: Display, nano_dir: Path, tmp_path: Path
) -> None:
    (tmp_path / "runtime").mkdir(mode=0o700)
    environment = {**display.environment, "XDG_RUNTIME_DIR": str(tmp_path / "runtime")}
    words = ["--source", "demo", "--model", str(nano_dir), "--metrics", "figures.jsonl"]
    outputs = ["--output", "window", "--output", "video:feed.mp4"]
    figures, said = tmp_path / "figures.jsonl", tmp_path / "said.txt"
    with said.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, str(REPO_ROOT / "run_live.py"), *words, *outputs],
            cwd=tmp_path,
            env=environment,
            stdout=file,
            stderr=file,
        )
    try:
        window = display.find_window("SamCam", lambda: process.poll() is None)
        sockets = tmp_path / "runtime"
        wait_until(lambda: any(sockets.rglob("*.sock")), "ctl")
        wait_until(lambda: figures.exists() and figures.stat().st_size > 0, "figures")
        wait_until(lambda: len(figures.read_text().splitlines()) > MANY_STEPS, "pictures")
        if how == "server":
            os.kill(display.pid, signal.SIGTERM)
        else:
            display.xdotool(how, window.id)
        code = process.wait(END_TIMEOUT_S)
    finally:
        process.kill()
        process.wait()
    log = said.read_text()
    assert code == 5, log
    assert log.count("the window is gone: ") == 1
    assert "stopped by an error" in log, log
    assert "Traceback" not in log
    assert "X Error" not in log
    assert "XIO" not in log
    assert not any(sockets.rglob("*.sock"))
    probe = (
        "ffprobe",
        "-v",
        "error",
        "-show_entries",
        "stream=nb_read_frames",
        "-count_frames",
        "-of",
        "json",
    )
    found = subprocess.run([*probe, tmp_path / "feed.mp4"], capture_output=True, check=True)
    assert int(json.loads(found.stdout)["streams"][0]["nb_read_frames"]) > 0
