"""Fingerprints of the file or folder that a run read, to tell whether it has changed."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Final

from samcam.engines import Sha256, file_sha256
from samcam.live.sources.pictures import list_pictures
from samcam.system import Section, Setting
from samcam.system.files import is_file, is_folder, open_regular

MAX_LISTED: Final = 10_000  # files of a folder listed by name; the hash covers all of them


@dataclass(frozen=True, slots=True)
class Fingerprint(Section):
    """Of a file, or of the pictures of a folder."""

    sha256: Annotated[
        Sha256, Setting("Of a file; of a folder: of its pictures' lines `NAME SHA256`, by name.")
    ]
    files: Annotated[
        tuple[tuple[str, Sha256], ...],
        Setting(
            "Name and SHA-256 of a folder's first pictures, by name; empty for a file.",
            limits={"max_length": MAX_LISTED, "fail_fast": True},
            expected=f"at most {MAX_LISTED} pairs of name and 64 lower-case hex digits",
        ),
    ] = ()
    bytes: Annotated[
        int | None,
        Setting("Size of a file.", low=0, expected="a whole number of at least 0"),
    ] = None

    __needed__: ClassVar = ("files",)

    def first_difference(self, other: Fingerprint) -> str:
        """Name the first picture of a folder that differs, or ""."""
        ours, theirs = dict(self.files), dict(other.files)
        for name in sorted(ours.keys() | theirs.keys()):
            if name not in theirs:
                return f"{name} is missing"
            if name not in ours:
                return f"{name} is new"
            if ours[name] != theirs[name]:
                return f"{name} has changed"
        return ""


def fingerprint(path: Path) -> Fingerprint:
    """Read a file, or every picture of a folder, and return its fingerprint.

    Raises:
        OSError: It cannot be read, or is a pipe or a device.
    """
    if not is_folder(path):
        return Fingerprint(file_sha256(path), bytes=path.stat().st_size)
    names = sorted(p.name for p in list_pictures(path).paths)
    digest = hashlib.sha256()
    listed: list[tuple[str, str]] = []
    for name in names:
        one = file_sha256(path / name)
        digest.update(f"{name} {one}\n".encode())
        if len(listed) < MAX_LISTED:
            listed.append((name, one))
    return Fingerprint(digest.hexdigest(), tuple(listed))


def difference(recorded: Fingerprint, path: Path) -> str:
    """Return how a file or folder differs from the recorded one, or "" where it is the same.

    Where size or names already differ, nothing is hashed, which takes long.

    Raises:
        OSError: It cannot be read, or is a pipe or a device.
    """
    if is_folder(path):
        gone = next((n for n, _ in recorded.files if not is_file(path / Path(n).name)), None)
        if gone is not None or not recorded.files:
            return ": expected a file" if gone is None else f" ({gone} is missing)"
    else:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
        if recorded.bytes is not None and size != recorded.bytes:
            return f": {size} bytes, expected {recorded.bytes}"
    now = fingerprint(path)
    if now.sha256 == recorded.sha256:
        return ""
    what = recorded.first_difference(now)
    return (
        f"{f' ({what})' if what else ''}: SHA-256 {now.sha256[:16]}..., expected "
        f"{recorded.sha256[:16]}..."
    )
