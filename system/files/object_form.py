"""The form of a JSON object of unknown origin: its keys, and what each holds.

One table says it for each kind of object; who reads a file is told the key's path, its value and
what was expected there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from samcam.system.files.bounded_files import shown_value

_LONGEST_KEY: Final = 40  # characters of a foreign one that are shown
_MISSING: Final = object()


@dataclass(frozen=True, slots=True)
class Form:
    """What one value must be: in words (`expected`), and as a check.

    Attributes:
        optional: Whether the key may be missing, as in files of earlier versions.
    """

    expected: str
    fits: Callable[[Any], bool]
    optional: bool = False


def is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def check_form(row: Mapping[str, Any], forms: Mapping[str, Form], prefix: str = "") -> None:
    """Refuse an object with other keys or values; `prefix` is its own path and a dot.

    Raises:
        ValueError: Names the first key that is wrong, its value and what was expected.
    """
    for key in row:
        if key not in forms:
            shown = key[:_LONGEST_KEY]
            raise ValueError(f"{prefix}{shown}: unknown key; expected {', '.join(forms)}")
    for key, form in forms.items():
        value = row.get(key, _MISSING)
        if value is _MISSING:
            if not form.optional:
                raise ValueError(f"{prefix}{key}: missing; expected {form.expected}")
        elif not form.fits(value):
            raise ValueError(f"{prefix}{key}: {shown_value(value)}: expected {form.expected}")


def value_problems(
    row: Mapping[str, Any], forms: Mapping[str, Form], prefix: str = ""
) -> Iterator[str]:
    """Give every value that is wrong; a missing or unknown key is another check's problem."""
    for key, form in forms.items():
        if key in row and not form.fits(row[key]):
            yield f"{prefix}{key}: expected {form.expected}, got {shown_value(row[key])}"
