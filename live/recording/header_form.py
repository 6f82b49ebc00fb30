"""The shape of `recording.json`: which keys it has, and what each value must be.

Whoever reads a recording that somebody else made is told the key's path, its value and what was
expected there. docs/schemas/recording.schema.json says the same to other programs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from samcam.live.recording.fingerprint import MAX_LISTED
from samcam.system.files import Form, is_whole

HIGHEST_FPS: Final = 100_000  # more than any camera has; a stream may say 90,000
LONGEST_SIDE: Final = 1 << 16
MAX_COUNT: Final = 1 << 53
MAX_PROMPTS: Final = 1 << 16

_SHA: Final = re.compile(r"[0-9a-f]{64}")


def _is_whole(value: Any, low: int, high: int) -> bool:
    return is_whole(value) and low <= value <= high


def _is_rate(value: Any) -> bool:
    return isinstance(value, int | float) and value is not True and 0 < value <= HIGHEST_FPS


def _is_size(value: Any) -> bool:
    sides = isinstance(value, list) and len(value) == 2
    return sides and all(_is_whole(side, 1, LONGEST_SIDE) for side in value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_sha(value: Any) -> bool:
    return isinstance(value, str) and _SHA.fullmatch(value) is not None


def _are_marks(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= MAX_LISTED
        and all(
            isinstance(item, list) and len(item) == 2 and _is_text(item[0]) and _is_sha(item[1])
            for item in value
        )
    )


def _are_objects(value: Any) -> bool:
    few = isinstance(value, list) and len(value) <= MAX_PROMPTS
    return few and all(isinstance(item, dict) for item in value)


def _or_null(form: Form, optional: bool = False) -> Form:
    return Form(f"{form.expected}, or null", lambda v: v is None or form.fits(v), optional)


_TEXT: Final = Form("a text", _is_text)
_HASH: Final = Form("64 hex digits", _is_sha)
_SWITCH: Final = Form("true or false", lambda v: isinstance(v, bool), optional=True)
_OBJECT: Final = Form("an object", lambda v: isinstance(v, dict))
_COUNT: Final = Form("a whole number of at least 0", lambda v: _is_whole(v, 0, MAX_COUNT), True)
_PICTURES: Final = Form(
    "null, lossless or lossy", lambda v: v in (None, "lossless", "lossy"), optional=True
)
_RATE: Final = Form(f"a rate above 0, at most {HIGHEST_FPS}", _is_rate)
_SIZE: Final = Form(f"sides of 1 to {LONGEST_SIDE} pixels, as [width, height]", _is_size)
_NAMES: Final = Form(f"at most {MAX_LISTED} pairs of name and 64 hex digits", _are_marks)
_PROMPTS: Final = Form("a list of objects", _are_objects, optional=True)

HEADER: Final[Mapping[str, Form]] = {
    "version": _TEXT,
    "source": _OBJECT,
    "model": _TEXT,
    "manifest_sha256": _HASH,
    "backend": _TEXT,
    "preset": _TEXT,
    "effect": _TEXT,
    "pace": Form("live or all", lambda v: v in ("live", "all")),
    "settings": _OBJECT,
    "prompts": _PROMPTS,
    "complete": _SWITCH,
    "steps": _or_null(_COUNT, optional=True),
    "pictures_dropped": _COUNT,
    "files": Form("an object", _OBJECT.fits, optional=True),
}
SOURCE: Final[Mapping[str, Form]] = {
    "name": _TEXT,
    "kind": _TEXT,
    "size_wh": _SIZE,
    "fps": _RATE,
    "path": _or_null(_TEXT, optional=True),
    "fingerprint": _or_null(_OBJECT, optional=True),
    "repeated": _SWITCH,
    "pictures": _PICTURES,
    "looped": _SWITCH,
}
FINGERPRINT: Final[Mapping[str, Form]] = {
    "sha256": _HASH,
    "files": _NAMES,
    "bytes": _or_null(_COUNT, optional=True),
}
