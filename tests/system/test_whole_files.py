"""Files that are written whole, and folders that are not ours to fill."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from samcam.system.files.places import foreign_entry
from samcam.system.files.whole_files import write_whole


@pytest.mark.parametrize("private", [False, True])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(
    private: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    write_whole(path, b"old", private=private)
    (tmp_path / "a.json.part").write_bytes(b"of a killed process")

    def refuse(source: object, target: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", refuse)
        with pytest.raises(PermissionError):
            write_whole(path, b"new", private=private)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    write_whole(path, b"new", private=private)
    assert path.read_bytes() == b"new"
    if private and sys.platform != "win32":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_folder_is_ours_if_it_is_new_empty_or_marked(tmp_path: Path) -> None:
    assert foreign_entry(tmp_path / "new") is None
    assert foreign_entry(tmp_path, "manifest.json") is None
    notes = tmp_path / "notes.txt"
    notes.touch()
    assert foreign_entry(tmp_path, "manifest.json") == notes
    (tmp_path / "manifest.json").touch()
    assert foreign_entry(tmp_path, "manifest.json") is None
    with pytest.raises(OSError, match="Not a directory"):
        foreign_entry(notes)
