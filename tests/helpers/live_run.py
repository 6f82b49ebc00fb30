"""A run of the program as a process of its own, and `ctl` for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from samcam.live.sources.demo.scene import DemoScene
from tests.conftest import REPO_ROOT, CliResult, RunCli
from tests.helpers.bounds import RUN_TIMEOUT_S
from tests.helpers.xvfb import wait_until

SIZE_WH: Final = (320, 180)
ENDLESS: Final = ("--source", "demo", "--set", "source.demo_frames=0", "--pace", "live")
SMALL: Final = ("--set", f"source.demo_size=[{SIZE_WH[0]}, {SIZE_WH[1]}]")
END_TIMEOUT_S: Final = RUN_TIMEOUT_S


@dataclass
class Run:
    """A run under way, and `ctl` for it."""

    process: subprocess.Popen[bytes]
    log: Path
    ctl_cli: RunCli

    def ctl(self, *words: str) -> CliResult:
        return self.ctl_cli("ctl", *words)

    def status(self) -> dict[str, Any] | None:
        """What `ctl status` prints; None before there is something."""
        assert self.process.poll() is None, self.log.read_text()
        result = self.ctl("status")
        if result.returncode != 0:
            return None
        state: dict[str, Any] = json.loads(result.stdout)
        return state

    def is_hidden(self) -> bool:
        status = self.status()
        return status is not None and status["hidden"] is True


@contextmanager
def running(
    arguments: tuple[str, ...],
    run_cli: RunCli,
    folder: Path,
    environment: Mapping[str, str],
    program: tuple[str, ...] = (str(REPO_ROOT / "run_live.py"),),
) -> Iterator[Run]:
    log = folder / "log.txt"
    command = [sys.executable, *program, *arguments]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=dict(environment), stdout=output, stderr=subprocess.STDOUT
        )
    run = Run(process, log, run_cli)
    try:
        wait_until(lambda: run.status() is not None, "the first picture")
        yield run
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(END_TIMEOUT_S)
        print(log.read_text())


def without_display() -> dict[str, str]:
    hidden = ("DISPLAY", "WAYLAND_DISPLAY", "XDG_SESSION_TYPE")
    return {name: value for name, value in os.environ.items() if name not in hidden}


def middle_of_an_object() -> str:
    """A prompt on an object of the scene, where it stands for most of a second."""
    _, ids = DemoScene(SIZE_WH).render(0)
    rows, columns = np.nonzero(ids == 1)
    return f"box={columns.min()},{rows.min()},{columns.max() + 1},{rows.max() + 1}"
