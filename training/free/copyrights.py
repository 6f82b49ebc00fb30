"""Who made a file of a Debian package, and under which licence: machine-readable copyright files.

The format is DEP-5 (https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/).
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass


class CopyrightError(ValueError):
    """A copyright file says nothing about a file that is used."""


@dataclass(frozen=True)
class Terms:
    """What a copyright file says about some files; `patterns` are of the source package."""

    patterns: tuple[str, ...]
    copyright: str
    licence: str


def parse_copyright(text: str) -> tuple[Terms, ...]:
    """Read the `Files` paragraphs of a copyright file, in their order."""
    found = []
    for paragraph in re.split(r"\n\s*\n", text):
        fields = _fields(paragraph)
        if "files" in fields and "license" in fields:
            licence = fields["license"].splitlines()[0].strip()
            holders = " ".join(fields.get("copyright", "").split())
            found.append(Terms(tuple(fields["files"].split()), holders, licence))
    return tuple(found)


def _fields(paragraph: str) -> dict[str, str]:
    """The fields of a paragraph by name in lower case; following lines belong to the one above."""
    fields: dict[str, str] = {}
    name = ""
    for line in paragraph.splitlines():
        if line[:1] in (" ", "\t"):
            if name:
                fields[name] += "\n" + line.strip()
        elif ":" in line:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            fields[name] = value.strip()
    return fields


def terms_of(path: str, terms: Sequence[Terms]) -> Terms:
    """The last paragraph that speaks of a file of the package.

    A package puts files elsewhere than its source has them, so a pattern fits where it fits the end
    of the path, or the file's name alone.

    Raises:
        CopyrightError: None does.
    """
    name = path.rsplit("/", 1)[-1]
    for entry in reversed(terms):
        for pattern in entry.patterns:
            ends = fnmatch.fnmatchcase(path, f"*/{pattern}")
            if pattern == "*" or ends or fnmatch.fnmatchcase(name, pattern.rsplit("/", 1)[-1]):
                if pattern.rsplit("/", 1)[-1] == "*" and pattern != "*" and not ends:
                    continue  # debian/* and the like: not every file's name
                return entry
    raise CopyrightError(f"{path}: the package's copyright file does not speak of it")
