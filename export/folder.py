"""A model folder appears whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engines.manifest import MANIFEST_NAME
from export.errors import ExportError


@contextmanager
def fresh_folder(target: Path, marker: str = MANIFEST_NAME) -> Iterator[Path]:
    """Give an empty folder that becomes `target` when the block ends well.

    The old folder stays in place until then; on an error, also an interrupt, nothing is left of
    the new one.

    Args:
        target: The folder.
        marker: File by which an old one is known to be of this kind.

    Raises:
        ExportError: `target` is something else than a model folder, or cannot be written.
    """
    target = target.expanduser().absolute()
    check_target(target, marker)
    partial = target.with_name(f"{target.name}.partial")
    old = target.with_name(f"{target.name}.old")
    try:
        for leftover in (partial, old):
            shutil.rmtree(leftover, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
        if target.exists():
            target.rename(old)
        try:
            partial.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise ExportError(f"{target}: cannot be written: {error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def check_target(target: Path, marker: str = MANIFEST_NAME) -> None:
    """Refuse to replace what is not a model.

    Raises:
        ExportError: `target` is a file, or a folder with other things in it.
    """
    if target.is_dir():
        if any(target.iterdir()) and not (target / marker).is_file():
            raise ExportError(
                f"{target}: not empty and not a model folder (no {marker}): choose another "
                "--out, as the whole folder is replaced"
            )
    elif target.exists():
        raise ExportError(f"{target}: is a file, expected a folder: choose another --out")
