"""`python -m export nanotrack`: fetched from a server or copied from a folder, and checked."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from samcam.export import nanotrack
from samcam.export.__main__ import main
from samcam.guides import NANOTRACK_FILES, NANOTRACK_FOLDER, NanoTrackGuide
from tests.helpers.nanotrack import install_nanotrack, shared_nanotrack

pytestmark = pytest.mark.shared


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None: ...


@pytest.fixture
def served(shared_dir: Path, tmp_path: Path) -> Iterator[str]:
    """The address of a server with the two files under their own names."""
    folder = install_nanotrack(shared_dir, tmp_path / "served")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{http.server_address[1]}"
        http.shutdown()
        thread.join()


def test_both_files_are_fetched_into_the_users_folder(
    served: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = tuple(replace(known, url=f"{served}/{known.file}") for known in NANOTRACK_FILES)
    monkeypatch.setattr(nanotrack, "NANOTRACK_FILES", files)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert main(["nanotrack"]) == 0
    folder = tmp_path / "samcam" / "models" / NANOTRACK_FOLDER
    assert sorted(path.name for path in folder.iterdir()) == sorted(k.file for k in files)
    NanoTrackGuide()  # found there without a word
    said = capsys.readouterr().out
    assert "Apache-2.0" in said
    assert "1.8 MB in 2 files" in said

    monkeypatch.setattr(
        nanotrack,
        "NANOTRACK_FILES",
        tuple(replace(known, url=f"http://127.0.0.1:9/{known.file}") for known in files),
    )
    assert main(["nanotrack"]) == 0, "what is there and right needs no connection"
    (folder / files[1].file).unlink()
    assert main(["nanotrack"]) == 4
    assert f"give --checkpoint {files[1].file}" in capsys.readouterr().err


def test_files_on_the_disk_may_have_other_names(
    shared_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = shared_nanotrack(shared_dir)
    one = next(source.glob("*head*.onnx"))
    for number, given in enumerate((source, one)):
        out = tmp_path / str(number)
        assert main(["nanotrack", "--checkpoint", str(given), "--out", str(out)]) == 0
        NanoTrackGuide(out)
    assert main(["nanotrack", "--checkpoint", str(tmp_path), "--out", str(tmp_path / "x")]) == 4
    said = capsys.readouterr().err
    assert f"--checkpoint {tmp_path}: has no {NANOTRACK_FILES[0].file} (1056849 bytes" in said
    assert said.count("\n") == 1
    gone = tmp_path / "gone"
    assert main(["nanotrack", "--checkpoint", str(gone), "--out", str(tmp_path / "x")]) == 4
    assert f"--checkpoint {gone}: no such file or folder" in capsys.readouterr().err


def test_what_it_does_not_have_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["nanotrack", "--precision", "int8", "--out", str(tmp_path)]) == 4
    assert "--precision int8: nanotrack has one form only" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main(["nanotrack@256"])
    assert ended.value.code == 2
    assert "got 'nanotrack@256'" in capsys.readouterr().err
