"""The file of `--suggest`: one JSON document, whole at every moment."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Final

from samcam.live.errors import SinkError
from samcam.live.frames import Frame
from samcam.system.files import is_folder, is_loop, is_there, open_regular

_HEAD: Final = '{"samcam": "suggestions"'


class SuggestionsFile:
    """Writes docs/schemas/suggestions.schema.json, picture by picture, in bounded memory.

    What is written lies beside its place until `close`, so a killed run leaves an older file
    whole. Used by the inference thread.
    """

    def __init__(self, path: Path, source: str, model: str) -> None:
        """Open the file.

        Raises:
            SinkError: It cannot be written, or its place holds something else.
        """
        if problem := suggestions_problem(path):
            raise SinkError(problem)
        self._path = path
        self._partial = path.with_name(path.name + ".part")
        self._pictures = 0
        try:
            self._file: BinaryIO | None = self._partial.open("wb")
            names = f', "source": {json.dumps(source)}, "model": {json.dumps(model)}'
            self._file.write(f'{_HEAD}{names}, "pictures": ['.encode())
        except OSError as error:
            raise self._failure(error) from error

    def add(self, frame: Frame, proposals: Sequence[Mapping[str, object]]) -> None:
        """Write one picture with its proposals as the schema has them.

        Raises:
            SinkError: The file cannot be written, such as on a full disk.
        """
        if self._file is None:
            raise ValueError(f"{self._path} is closed")
        width, height = frame.size_wh
        row = {"frame": frame.index, "width": width, "height": height, "proposals": proposals}
        text = (",\n" if self._pictures else "\n") + json.dumps(row, allow_nan=False)
        try:
            self._file.write(text.encode())
            self._file.flush()
        except OSError as error:
            raise self._failure(error) from error
        self._pictures += 1

    def close(self) -> None:
        """Finish the file and move it to its place; without a picture there is none. Idempotent.

        Raises:
            SinkError: It cannot be written.
        """
        file, self._file = self._file, None
        if file is None:
            return
        try:
            with file:
                file.write(b"\n]}\n")
            if self._pictures:
                self._partial.replace(self._path)
            else:
                self._partial.unlink()
        except OSError as error:
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> SinkError:
        return SinkError(
            f"--suggest {self._path}: cannot be written: {error.strerror or error}; expected a "
            "file in a folder that you may write to, on a disk with room"
        )


def suggestions_problem(path: Path) -> str:
    """Return why a place cannot be written, in one line; "": it is free, or one of ours."""
    if not is_folder(path.parent):
        return f"--suggest {path}: no folder {path.parent} there; expected one that is"
    if is_loop(path) or (is_there(path) and not _is_ours(path)):
        return (
            f"--suggest {path}: holds something else; expected a new file or one that "
            "--suggest wrote"
        )
    return ""


def _is_ours(path: Path) -> bool:
    """Whether a file is empty or one of ours."""
    try:
        with open_regular(path) as file:
            start = file.read(len(_HEAD))
    except OSError:
        return False
    return not start or start == _HEAD.encode()
