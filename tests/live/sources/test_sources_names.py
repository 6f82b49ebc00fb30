"""Names of files that are more than names to FFmpeg, to the shell or to us."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path

import pytest

from samcam.live.errors import CaptureError
from samcam.live.sources.choose import open_source
from samcam.live.sources.options import SourceOptions
from tests.conftest import RunCli
from tests.helpers.synthetic_video import VideoSpec, read_number, write_video

NAMES = (
    "2025-01-01T10:30:00.mp4",
    "concat:a|b.mp4",
    "file:clip.mp4",
    "http:clip.mp4",
    "pipe:0.mp4",
    "shot%03d.mp4",
    "-start.mp4",
    "a?b=c&d#e.mp4",
    "with space and ünïcödé 🎥.mp4",
    "crypto:data:,.mp4",
    "async:cache:x",
)


@pytest.mark.skipif(os.name == "nt", reason="Windows forbids these names")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bare", [True, False])
def test_a_file_is_opened_whatever_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, bare: bool
) -> None:
    """A camera's "10:30:00.mp4" was "Protocol not found"."""
    clip = write_video(tmp_path / "plain.mp4", VideoSpec(count=3))
    clip.rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    source = open_source(name if bare else str(tmp_path / name), SourceOptions())
    frames = [source.read() for _ in range(3)]
    assert source.read() is None
    source.close()
    assert [read_number(frame.image_bgr) for frame in frames if frame] == [0, 1, 2]


def test_a_name_of_other_bytes_is_opened(tmp_path: Path) -> None:
    """A file of an old disk whose name is no UTF-8."""
    path = tmp_path / os.fsdecode(b"caf\xe9.mp4")
    try:
        write_video(tmp_path / "plain.mp4", VideoSpec(count=3)).rename(path)
    except (OSError, UnicodeError):
        pytest.skip("this file system takes no such name")
    source = open_source(str(path), SourceOptions())
    assert source.read() is not None
    source.close()


def test_a_file_named_like_a_camera_is_mentioned(tmp_path: Path, run_cli: RunCli) -> None:
    """`--source 12345` said only that there is no such camera."""
    folder = tmp_path / "here"
    folder.mkdir()
    write_video(folder / "clip.mp4", VideoSpec(count=3)).rename(folder / "12345")
    result = run_cli("--source", "12345", "--output", "none", cwd=folder)
    assert result.returncode == 3
    assert "write ./12345" in result.stderr
    source = open_source(str(folder / "12345"), SourceOptions())
    source.close()


def test_a_folder_named_demo_is_mentioned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").mkdir()
    with caplog.at_level(logging.INFO):
        open_source("demo", SourceOptions()).close()
    assert "./demo" in caplog.text


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("file:///tmp/My%20Clip.mp4", "/tmp/My Clip.mp4"),
        ("file://localhost/tmp/a.mp4", "/tmp/a.mp4"),
        ("file:a.mp4", "a.mp4"),
    ],
)
@pytest.mark.skipif(os.name == "nt", reason="paths are other ones there")
def test_an_address_of_a_file_says_the_path(address: str, path: str) -> None:
    with pytest.raises(CaptureError) as caught:
        open_source(address, SourceOptions())
    assert str(caught.value).endswith(f"expected its path: {path}")


def test_an_empty_file_says_so(tmp_path: Path) -> None:
    path = tmp_path / "empty.mp4"
    path.write_bytes(b"")
    with pytest.raises(CaptureError, match="is empty"):
        open_source(str(path), SourceOptions())


@pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX")
def test_a_pipe_that_may_not_be_read_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was a traceback; root may read every pipe, so the system's answer is made up."""

    def refuse(*_: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    os.mkfifo(tmp_path / "in.mp4")
    monkeypatch.setattr("samcam.system.files.pipes.os.open", refuse)
    with pytest.raises(CaptureError, match="cannot be read: Permission denied"):
        open_source(str(tmp_path / "in.mp4"), SourceOptions())


@pytest.mark.skipif(os.name == "nt", reason="paths are other ones there")
@pytest.mark.parametrize("spec", ["x" * 300, "9" * 300, "file:" + "x" * 300, "y" * 300 + ".mp4"])
def test_a_name_that_is_too_long_says_so(spec: str) -> None:
    with pytest.raises(CaptureError, match="cannot be looked up: File name too long"):
        open_source(spec, SourceOptions())


@pytest.mark.skipif(os.name == "nt", reason="links need a right there")
def test_a_loop_of_links_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(CaptureError, match="cannot be looked up: Too many levels"):
        open_source("loop", SourceOptions())
