"""NanoTrackV2, the box tracker of `--guide nanotrack`: fetched or copied, and checked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from samcam.export.download import download
from samcam.export.errors import ExportError
from samcam.guides import NANOTRACK_FILES, GuideError, NanoTrackGuide
from samcam.system.files import KnownFile, is_folder, is_there, read_known, write_whole

LICENCE: Final = (
    "NanoTrackV2, github HonglinChu/SiamTrackers, NanoTrack/LICENSE: Apache-2.0; it was trained "
    "on public tracking data sets, some of which are for research: whether you may use it "
    "is yours to judge"
)


def install_nanotrack(checkpoint: Path | None, folder: Path, report: Callable[[str], None]) -> None:
    """Put NanoTrackV2's two files into a folder, and load them once.

    Args:
        checkpoint: A folder that has both, or one of them in it, under whatever names; None: they
            are downloaded, and a download goes on where it stopped.
        folder: Where to; what is there and right stays.
        report: Takes lines for the user.

    Raises:
        ExportError: No connection, no room, or other files than expected.
    """
    report(LICENCE)
    if checkpoint is not None and not is_there(checkpoint):
        raise ExportError(f"--checkpoint {checkpoint}: no such file or folder")
    for known in NANOTRACK_FILES:
        target = folder / known.file
        if checkpoint is None:
            download(known, target)
            continue
        content = _content(known, checkpoint if is_folder(checkpoint) else checkpoint.parent)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_whole(target, content)
        except OSError as error:
            raise ExportError(f"{target}: cannot be written: {error.strerror or error}") from error
    try:
        NanoTrackGuide(folder)
    except GuideError as error:
        raise ExportError(str(error)) from error


def _content(known: KnownFile, folder: Path) -> bytes:
    """Return a file's content from a folder, where it may have another name."""
    try:
        found = [p for p in sorted(folder.glob("*.onnx")) if p.stat().st_size == known.bytes]
    except OSError as error:
        raise ExportError(f"--checkpoint {folder}: {error.strerror or error}") from error
    for path in found:
        try:
            return read_known(known, path)
        except ValueError:
            continue  # another file of the same size
    origin = known.url.rpartition("/")[0]
    raise ExportError(
        f"--checkpoint {folder}: has no {known.file} ({known.bytes} bytes, SHA-256 "
        f"{known.sha256[:12]}…); expected a folder with both files of {origin}"
    )
