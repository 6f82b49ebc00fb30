"""A real file system with little room: a tmpfs, where the system lets this user mount one."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.helpers.bounds import WAIT_S


@contextmanager
def small_disk(folder: Path, kib: int) -> Iterator[Path]:
    """Mount `kib` KiB at a new folder; skip the test where nobody may."""
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={kib}k", "none", str(folder)]
    try:
        made = subprocess.run(
            ["mount", *options], capture_output=True, text=True, timeout=WAIT_S, check=False
        )
    except FileNotFoundError:
        pytest.skip("needs mount")
    if made.returncode != 0:
        pytest.skip(f"needs the right to mount a file system: {made.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], timeout=WAIT_S, check=True)
