"""Others' weights, as Meta's checkpoints: downloaded once, resumed, checked by SHA-256.

With urllib: of the libraries that are kept up, pooch does not resume, huggingface_hub serves its
own site alone, and none refuses a login page by its length before it is taken for the file.
"""

from __future__ import annotations

import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import BinaryIO, Final

from tqdm import tqdm

from samcam.engines import file_sha256, user_model_folder
from samcam.export.errors import ExportError
from samcam.system.files import KnownFile

TIMEOUT_S: Final = 30.0
TRIES: Final = 5  # a connection that ends early is taken up again this often
_CHUNK_BYTES: Final = 1 << 18
_BASE: Final = "https://dl.fbaipublicfiles.com/segment_anything_2/092824"
_PARTIAL_CONTENT: Final = 206
_RANGE_PAST_END: Final = 416


# Addresses: checkpoints/download_ckpts.sh @2b90b9f. Meta publishes no hashes: these are what
# several public projects that pin the files found, all the same.
CHECKPOINTS: Final[Mapping[str, KnownFile]] = {
    "tiny": KnownFile(
        f"{_BASE}/sam2.1_hiera_tiny.pt",
        156_008_466,
        "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69",
    ),
    "small": KnownFile(
        f"{_BASE}/sam2.1_hiera_small.pt",
        184_416_285,
        "6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38",
    ),
    "base+": KnownFile(
        f"{_BASE}/sam2.1_hiera_base_plus.pt",
        323_606_802,
        "a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5",
    ),
    "large": KnownFile(
        f"{_BASE}/sam2.1_hiera_large.pt",
        898_083_611,
        "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318",
    ),
}


def checkpoint_folder() -> Path:
    """Return where downloaded checkpoints are kept; it need not exist."""
    return user_model_folder().parent / "checkpoints"


def download_checkpoint(variant: str) -> Path:
    """Return Meta's checkpoint of a variant, from the disk or from Meta.

    Raises:
        ExportError: As `download`.
    """
    known = CHECKPOINTS[variant]
    return download(known, checkpoint_folder() / known.file)


def download(wanted: KnownFile, target: Path) -> Path:
    """Download a file unless it is there; go on where an earlier attempt stopped.

    What has come so far lies in `TARGET.part`; `target` appears only when the hash is right.

    Args:
        wanted: Address, size and hash.
        target: Where to.

    Returns:
        `target`.

    Raises:
        ExportError: No connection, not enough disk, or another file than expected came.
    """
    whole = target.is_file() and target.stat().st_size == wanted.bytes
    if whole and file_sha256(target) == wanted.sha256:
        return target
    part = target.with_name(f"{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _check_space(wanted, part)
        _fetch(wanted, part)
    except OSError as error:
        if isinstance(error, urllib.error.URLError | ConnectionError | TimeoutError):
            raise ExportError(_unreachable(wanted, part, error)) from error
        raise ExportError(f"{part}: cannot be written: {error}") from error
    digest = file_sha256(part)
    if digest != wanted.sha256:
        part.unlink()
        raise ExportError(
            f"{wanted.url}: not the expected file: SHA-256 {digest[:12]}…, expected "
            f"{wanted.sha256[:12]}…; it was deleted: try again, or give --checkpoint FILE"
        )
    os.replace(part, target)
    return target


def _fetch(wanted: KnownFile, part: Path) -> None:
    """Append to `part` until it is complete; a connection that breaks is taken up again."""
    for attempt in range(TRIES):
        have = part.stat().st_size if part.exists() else 0
        if have > wanted.bytes:
            part.unlink()
            have = 0
        if have == wanted.bytes:
            return
        try:
            _fetch_once(wanted, part, have)
        except urllib.error.HTTPError as error:
            error.close()  # it holds the connection
            if error.code != _RANGE_PAST_END:
                raise
            part.unlink(missing_ok=True)
        except (ConnectionError, TimeoutError, HTTPException):
            if attempt == TRIES - 1:
                raise
    if part.stat().st_size != wanted.bytes:
        raise ConnectionError(f"the connection ended early {TRIES} times")


def _fetch_once(wanted: KnownFile, part: Path, have: int) -> None:
    request = urllib.request.Request(wanted.url, headers={"User-Agent": "samcam"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
        resumed = have > 0 and answer.status == _PARTIAL_CONTENT
        with part.open("ab" if resumed else "wb") as stream:
            _copy(answer, stream, wanted, have if resumed else 0)


def _copy(answer: HTTPResponse, stream: BinaryIO, wanted: KnownFile, have: int) -> None:
    """Write an answer's body, with a progress bar on a terminal.

    Raises:
        ExportError: The server offers a file of another size.
    """
    length = answer.headers.get("Content-Length")
    if length is not None and have + int(length) != wanted.bytes:
        raise ExportError(
            f"{wanted.url}: not the expected file: the server offers {have + int(length)} bytes, "
            f"expected {wanted.bytes}: check for a login page of the network, or give --checkpoint"
        )
    with tqdm(
        desc=wanted.file, total=wanted.bytes, initial=have, unit="B", unit_scale=True, disable=None
    ) as bar:
        left = wanted.bytes - have
        while left and (chunk := answer.read(min(_CHUNK_BYTES, left))):
            stream.write(chunk)
            left -= len(chunk)
            bar.update(len(chunk))


def _check_space(wanted: KnownFile, part: Path) -> None:
    """Refuse early where the file cannot fit.

    Raises:
        ExportError: Says how much is free.
    """
    have = part.stat().st_size if part.exists() else 0
    free = shutil.disk_usage(part.parent).free
    if wanted.bytes - have > free:
        raise ExportError(
            f"{part.parent}: {wanted.file} needs {(wanted.bytes - have) / 1e6:.0f} MB more, "
            f"{free / 1e6:.0f} MB are free: make room, or give --checkpoint FILE"
        )


def _unreachable(wanted: KnownFile, part: Path, error: Exception) -> str:
    kept = part.stat().st_size / 1e6 if part.exists() else 0.0
    if isinstance(error, urllib.error.HTTPError):
        what = f"the server answered {error.code} {error.reason}"
    else:
        what = f"no connection ({getattr(error, 'reason', None) or error})"
    again = (
        f"run it again to go on after {kept:.0f} MB" if kept else "check the internet connection"
    )
    return (
        f"{wanted.url}: {what}: {again}, or download it elsewhere and give --checkpoint "
        f"{wanted.file}"
    )
