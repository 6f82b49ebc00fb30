"""Atomic writes: a file is the old or the new one, whole; written beside its place, then moved."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from samcam.system.files.private_files import write_private


def write_whole(path: Path, data: bytes, lasting: bool = False, private: bool = False) -> None:
    """Write a file in one step; after an error the old one is there, and nothing beside it.

    Args:
        lasting: Whether it is on the disk, not only with the system, before it takes its place.
        private: Whether only its user can open it, from the first moment on.

    Raises:
        OSError: It cannot be written.
    """
    part = path.with_name(path.name + ".part")
    try:
        if private:
            part.unlink(missing_ok=True)  # of a process that was killed
            write_private(part, data)
        else:
            with part.open("wb") as file:
                file.write(data)
                if lasting:
                    file.flush()
                    os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise
