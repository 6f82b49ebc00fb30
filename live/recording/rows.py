"""Files of one JSON object per line, whole rows whatever ends the program."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class RowWriter:
    """Appends rows; each is with the system as soon as `write` returns. Used by one thread."""

    def __init__(self, path: Path) -> None:
        """Make the file.

        Raises:
            OSError: It cannot be written.
        """
        self._file = path.open("ab", buffering=0)

    def write(self, row: dict[str, Any]) -> None:
        """Write one row, or nothing of it.

        Raises:
            OSError: It cannot be written, such as on a full disk.
        """
        data = (json.dumps(row, allow_nan=False) + "\n").encode()
        end = os.fstat(self._file.fileno()).st_size
        try:
            written = self._file.write(data)
        except OSError:
            self._file.truncate(end)
            raise
        if written != len(data):  # what the system does when the disk fills up on the way
            self._file.truncate(end)
            raise OSError(f"only {written} of {len(data)} bytes fitted; is the disk full?")

    def close(self) -> None:
        """Close the file. Idempotent."""
        self._file.close()


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Give the rows of a file, without a last one that was cut off; none of a missing file.

    Raises:
        ValueError: A row is damaged; says which.
        OSError: The file cannot be read.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"{path.name}, line {number}: not valid JSON") from error
            if not isinstance(row, dict):
                raise ValueError(f"{path.name}, line {number}: expected a JSON object")
            yield row


def whole(row: dict[str, Any], key: str, low: int = 0) -> int:
    """Return a whole number of a row.

    Raises:
        ValueError: It has none of that name.
    """
    value = row.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < low:
        raise ValueError(f"{key}: {value!r}: expected a whole number of at least {low}")
    return value
