"""Files whose content is known before they come: others' weights, told by size and SHA-256."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from samcam.system.files.bounded_files import read_regular, reason_of


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A file to download.

    Attributes:
        url: Its address.
        bytes: Its size.
        sha256: Its hash, 64 lower-case hex digits.
    """

    url: str
    bytes: int
    sha256: str

    @property
    def file(self) -> str:
        """Plain file name."""
        return self.url.rpartition("/")[2]


def read_known(known: KnownFile, path: Path) -> bytes:
    """Return the content of a small file, found to be the right one.

    Raises:
        ValueError: It cannot be read, or is another file; one line that names it.
    """
    try:
        content = read_regular(path, known.bytes)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read: {reason_of(error)}") from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != known.sha256:
        raise ValueError(
            f"{path}: not the expected file: SHA-256 {digest[:12]}…, expected {known.sha256[:12]}…"
        )
    return content
