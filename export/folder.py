"""A model folder appears whole or not at all."""

from __future__ import annotations

import glob
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from samcam.engines import MANIFEST_NAME
from samcam.export.errors import ExportError
from samcam.system.files import NoHomeError, expand_user, foreign_entry

# Beside the target: a folder of our own with both generations, under a name nobody else has.
_SUFFIX: Final = ".partial"
_NEW, _OLD = "new", "old"


@contextmanager
def fresh_folder(target: Path, marker: str = MANIFEST_NAME) -> Iterator[Path]:
    """Give an empty folder that becomes `target` when the block ends well.

    The old folder stays in place until then; on an error, also an interrupt, nothing is left of the
    new one. What the block raises passes as it is. A process that was killed between the two
    renames left the old folder beside: it is put back first. `marker` is the file by which an old
    one is known to be of this kind.

    Raises:
        ExportError: `target` is something else than a model folder, or cannot be written.
    """
    try:
        target = expand_user(target).absolute()
    except NoHomeError as error:
        raise ExportError(str(error)) from error
    try:
        _restore(target, marker)
        check_target(target, marker)
        target.parent.mkdir(parents=True, exist_ok=True)
        shelf = Path(tempfile.mkdtemp(_SUFFIX, f"{target.name}.", target.parent))
    except OSError as error:
        raise ExportError(f"{target}: cannot be written: {error}") from error
    try:
        partial = shelf / _NEW  # the shelf itself is its user's alone, which a model need not be
        try:
            partial.mkdir()
        except OSError as error:
            raise ExportError(f"{target}: cannot be written: {error}") from error
        yield partial
        _replace(target, shelf)
    finally:
        if target.exists() or not (shelf / _OLD).exists():
            shutil.rmtree(shelf, ignore_errors=True)


def check_target(target: Path, marker: str = MANIFEST_NAME) -> None:
    """Refuse to replace what is not a model.

    Raises:
        ExportError: `target` is a file, or a folder with other things in it.
    """
    if target.exists() and not target.is_dir():
        raise ExportError(f"{target}: is a file, expected a folder: choose another --out")
    if foreign_entry(target, marker) is not None:
        raise ExportError(
            f"{target}: not empty and not a model folder (no {marker}): choose another --out, as "
            "the whole folder is replaced"
        )


def _replace(target: Path, shelf: Path) -> None:
    """Put the new folder in the old one's place, or the old one back, an interrupt included.

    Raises:
        ExportError: A folder cannot be renamed.
    """
    old = shelf / _OLD
    try:
        if target.exists():
            target.rename(old)
        (shelf / _NEW).rename(target)
    except BaseException as error:
        if old.exists() and not target.exists():
            old.rename(target)
        if isinstance(error, OSError):
            raise ExportError(f"{target}: cannot be written: {error}") from error
        raise


def _restore(target: Path, marker: str) -> None:
    """Put back the old folder where a killed process left none in its place."""
    if target.exists():
        return
    pattern = f"{glob.escape(target.name)}.*{_SUFFIX}/{_OLD}/{glob.escape(marker)}"
    for found in sorted(target.parent.glob(pattern)):
        found.parent.rename(target)
        shutil.rmtree(found.parent.parent, ignore_errors=True)
        return
