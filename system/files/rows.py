"""Files of one row per line, JSON or other text: whole rows, however the program ends."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO, Final

from samcam.system.files.bounded_files import open_regular, parse_json
from samcam.system.files.pipes import say_if_pipe
from samcam.system.files.places import is_file

MAX_ROW_BYTES: Final = 16 << 20
_BLOCK: Final = 1 << 16

_log = logging.getLogger(__name__)


class RowFile:
    """The one writer of rows: each is handed to the system, whole, as soon as it is written.

    A row that does not fit on the disk is removed, so that a file ends with a whole row; so is half
    a row that an earlier run left. Used by one thread.
    """

    def __init__(self, path: Path, replace: bool = False) -> None:
        """Open a file to append to, or make it; `replace` removes older rows.

        Raises:
            OSError: It cannot be written.
        """
        if not replace:
            _end_torn_row(path)
        say_if_pipe(path)
        self._file: FileIO = path.open("ab", buffering=0)
        if replace:
            self.clear()

    def write(self, *rows: Mapping[str, Any]) -> None:
        """Write JSON rows that belong together, as `write_lines` does."""
        self.write_lines(json.dumps(row, allow_nan=False) + "\n" for row in rows)

    def write_lines(self, lines: Iterable[str]) -> None:
        """Write lines, each with its end, that belong together: all of them, or nothing.

        Raises:
            OSError: They cannot be written, such as on a full disk.
        """
        data = "".join(lines).encode()
        if not data:
            return
        end = os.fstat(self._file.fileno()).st_size
        try:
            written = self._file.write(data)
        except OSError:
            self._cut(end)
            raise
        if written != len(data):  # what the system does when the disk fills up on the way
            self._cut(end)
            raise OSError(f"only {written} of {len(data)} bytes fitted; is the disk full?")

    def clear(self) -> None:
        """Remove all rows; OSError where that cannot be done."""
        if stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):
            self._file.truncate(0)

    def close(self) -> None:
        self._file.close()

    def _cut(self, end: int) -> None:
        with contextlib.suppress(OSError):  # a device has no end; the first error is the one to say
            self._file.truncate(end)


def _end_torn_row(path: Path) -> None:
    """Make a regular file end with a whole row: half a one at its end is removed."""
    if not is_file(path):
        return
    with path.open("rb+") as file:
        size = file.seek(0, os.SEEK_END)
        end = _end_of_lines(file, size)
        if end == size:
            return
        file.seek(end)
        if _is_row(file.read(MAX_ROW_BYTES + 1)):
            file.write(b"\n")  # only its end is missing
            return
        file.truncate(end)
    _log.warning("%s: its last row was cut off when it was written: removed", path)


def _end_of_lines(file: BinaryIO, size: int) -> int:
    """Return the place after the last line end, 0 where there is none."""
    end = size
    while end:
        start = max(0, end - _BLOCK)
        file.seek(start)
        last = file.read(end - start).rfind(b"\n")
        if last >= 0:
            return start + last + 1
        end = start
    return 0


def _is_row(data: bytes) -> bool:
    try:
        return isinstance(parse_json(data), dict)
    except ValueError:
        return False


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Give the rows of a file, without a last one that was cut off; none of a missing file.

    Raises:
        ValueError: A row is damaged; says which.
        OSError: The file cannot be read, or is a link, a pipe or a device.
    """
    if not os.path.lexists(path):
        return
    with open_regular(path, follow=False) as file:
        for number, line in enumerate(iter(lambda: file.readline(MAX_ROW_BYTES + 1), b""), 1):
            if len(line) > MAX_ROW_BYTES:
                raise ValueError(f"{path.name}, line {number}: longer than {MAX_ROW_BYTES} bytes")
            if not line.endswith(b"\n"):
                return
            try:
                row = parse_json(line)
            except ValueError as error:
                raise ValueError(f"{path.name}, line {number}: {error}") from error
            if not isinstance(row, dict):
                raise ValueError(f"{path.name}, line {number}: expected a JSON object")
            yield row
