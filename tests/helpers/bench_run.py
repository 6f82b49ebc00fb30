"""A program of bench/ as a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.conftest import REPO_ROOT
from tests.helpers.bounds import LONG_RUN_TIMEOUT_S


def run_bench(program: str, *arguments: str | Path | int) -> subprocess.CompletedProcess[str]:
    """Run `python -m bench.PROGRAM` to its end, whatever its exit code."""
    return subprocess.run(
        [sys.executable, "-m", f"bench.{program}", *map(str, arguments)],
        cwd=REPO_ROOT,
        capture_output=True,
        text=True,
        timeout=LONG_RUN_TIMEOUT_S,
        check=False,
    )
