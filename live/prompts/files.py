"""Text files of prompts as programs and people write them: encodings, separators, headers."""

from __future__ import annotations

import logging
import math
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from samcam.live.frames import MAX_OBJECT_ID, MAX_PENDING_PROMPTS
from samcam.live.sources import MAX_MEGAPIXELS
from samcam.system.files import check_name, decode_text, lenient_path, reason_of, text_lines

_log = logging.getLogger(__name__)

_LARGEST: Final = 1e9  # beyond, a coordinate lies outside of any picture; float32 still holds it
_SEPARATORS: Final = re.compile(r"\s*[,;\t]\s*|\s+")
_AROUND: Final = " \t,;()[]{}"
_QUOTES: Final = str.maketrans("", "", "\"'`\u201c\u201d\u2018\u2019")


@dataclass(frozen=True, slots=True)
class TextLimits:
    """Larger texts, and files of more prompts, are refused."""

    max_bytes: int
    max_prompts: int


AT_START: Final = TextLimits(64 << 20, MAX_PENDING_PROMPTS)
WHILE_RUNNING: Final = TextLimits(1 << 20, 4 * MAX_OBJECT_ID)  # more would hold up the pictures


@dataclass(frozen=True, slots=True)
class PromptFiles:
    """How files that a prompt names are read.

    Attributes:
        folder: Folder that relative names start from.
        pipes: Whether a text may come from a pipe or device, which may have no end.
        max_megapixels: Larger pictures are refused.
    """

    folder: Path = Path()
    pipes: bool = True
    max_megapixels: float = MAX_MEGAPIXELS
    limits: TextLimits = AT_START

    def path_of(self, name: str) -> Path:
        """Return where a file is; the shell leaves the ~ of `@~/FILE` as it is."""
        return self.folder / lenient_path(name)

    def read_text(self, path: Path) -> str:
        """Return a text file's content, in UTF-8 or UTF-16.

        Raises:
            OSError: It cannot be read.
            ValueError: It is too large, no text, or a pipe where that is not allowed.
        """
        check_name(path)
        mode = path.stat().st_mode
        if not self.pipes and not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise ValueError("a pipe or device; expected a file")
        with path.open("rb") as file:
            data = file.read(self.limits.max_bytes + 1)
        if len(data) > self.limits.max_bytes:
            limit = f"{self.limits.max_bytes >> 20} MiB"
            raise ValueError(f"larger than {limit}; expected a text of prompts")
        return decode_text(data)


def numbers(value: Any, count: int) -> tuple[float, ...]:
    """Return the numbers of a text such as "1, 2;3 4" or of a list; an empty ValueError where
    the form is wrong."""
    parts = _split(value) if isinstance(value, str) else value
    if not isinstance(parts, list) or len(parts) != count:
        raise ValueError
    found = []
    for part in parts:
        if isinstance(part, bool) or not isinstance(part, str | int | float):
            raise ValueError
        try:
            number = float(part)
        except (ValueError, OverflowError):
            raise ValueError from None
        if not math.isfinite(number):
            raise ValueError
        found.append(min(max(number, -_LARGEST), _LARGEST))
    return tuple(found)


def _split(text: str) -> list[str]:
    """Take a line of numbers apart; a comma is a decimal point where `;` separates."""
    plain = text.translate(_QUOTES).strip(_AROUND)
    if ";" in plain:
        return [part.strip().replace(",", ".") for part in plain.split(";")]
    return _SEPARATORS.split(plain)


def read_bbox(files: PromptFiles, name: str) -> tuple[float, float, float, float]:
    """Read `x,y,w,h` from a file's first line of numbers, as SAMURAI's demo does.

    Blank lines, comments and one header line may stand before it (scripts/demo.py, load_txt,
    takes the first line). Further lines belong to further frames.

    Raises:
        ValueError: The file cannot be read, or the line has another form.
    """
    path = files.path_of(name)
    try:
        lines = text_lines(files.read_text(path))
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot be read: {reason_of(error)}") from error
    found = _without_header(lines)
    if not found:
        text = next(filter(None, map(str.strip, lines)), "")
        has = f", only {text[:60]!r}" if text else ": it is empty"
        raise ValueError(f"has no line of numbers{has}; expected x,y,w,h")
    try:
        x, y, width, height = numbers(found[0], 4)
    except ValueError:
        what = _what_is_wrong(found[0])
        raise ValueError(f"the first line is {found[0][:60]!r}: {what}; expected x,y,w,h") from None
    if len(found) > 1:
        _log.info("bbox_txt=%s: only the first of its %d lines is used", name, len(found))
    return x, y, width, height


def _what_is_wrong(line: str) -> str:
    """Return why a line is not four numbers."""
    parts = _split(line)
    if len(parts) != 4:
        return f"{len(parts)} value{'' if len(parts) == 1 else 's'}"
    wrong = next((part for part in parts if not _is_number(part)), None)
    if wrong is not None:
        return f"{wrong[:20]!r} is no number"
    infinite = next(part for part in parts if not math.isfinite(float(part)))
    return f"{infinite[:20]!r} is not finite"


def _without_header(lines: list[str]) -> list[str]:
    """Return the lines without blank ones and comments, and without a header line."""
    texts = [line.strip() for line in lines]
    filled = [t for t in texts if t.strip(_AROUND) and not t.startswith(("#", "//"))]
    has_header = bool(filled) and not any(map(_is_number, _split(filled[0])))
    return filled[has_header:]


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
