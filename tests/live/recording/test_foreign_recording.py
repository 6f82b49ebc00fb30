"""What a recording that somebody else made may have opened: regular files of its own, no more."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from samcam.live.config.request import Request
from samcam.live.config.schema import Settings
from samcam.live.errors import CaptureError
from samcam.live.recording.replay import Recording, shown_version
from samcam.live.recording.values import Arrays, decode_command
from samcam.live.sources.options import SourceOptions
from tests.conftest import RunCli
from tests.helpers.recordings import one_step

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links and pipes of POSIX")
SHA = "0" * 64


def change(folder: Path, **source: Any) -> None:
    path = folder / "recording.json"
    header = json.loads(path.read_text())
    header["source"] |= source
    path.write_text(json.dumps(header))


def replay(folder: Path) -> None:
    """Open a recording and its source, as --replay does."""
    recording = Recording.open(folder)
    request = recording.request(Request(replay=folder))
    options = SourceOptions(fps=Settings().source.fps)
    recording.open_source(request.source, options, exact=True).close()


def mark(size: int | None = None) -> dict[str, Any]:
    return {"sha256": SHA, "files": [], **({} if size is None else {"bytes": size})}


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/full", "/dev/tty", "PIPE", "LOOP"])
def test_what_is_no_regular_file_is_not_read(path: str, tmp_path: Path) -> None:
    """/dev/zero was hashed for ever."""
    os.mkfifo(tmp_path / "PIPE")
    (tmp_path / "LOOP").symlink_to("LOOP")
    one_step(tmp_path / "r")
    change(tmp_path / "r", kind="file", path=str(tmp_path / path), fingerprint=mark())
    said = "a pipe or device; expected a file|Too many levels of symbolic links|No such"
    with pytest.raises(CaptureError, match=f"cannot be read now: ({said}).*--source PATH"):
        replay(tmp_path / "r")


def test_a_file_of_another_size_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(path: Path) -> None:
        raise AssertionError(f"{path} was read for its hash")

    monkeypatch.setattr("samcam.live.recording.fingerprint.fingerprint", read)
    with (tmp_path / "large").open("wb") as file:
        file.truncate(1 << 40)  # holes: no room on the disk
    one_step(tmp_path / "r")
    change(tmp_path / "r", kind="file", path=str(tmp_path / "large"), fingerprint=mark(5))
    with pytest.raises(CaptureError, match=f"{1 << 40} bytes, expected 5; say where the recorded"):
        replay(tmp_path / "r")


@pytest.mark.parametrize(
    "source",
    [
        {"kind": "url", "name": "http://127.0.0.1:PORT/x.mp4"},
        {"kind": "url", "name": "rtsp://127.0.0.1:PORT/x"},
        {"kind": "camera", "name": "0"},
        {"kind": "demo", "name": "http://127.0.0.1:PORT/x.mp4"},
        {"kind": "demo", "name": "0"},
        {"kind": "file", "name": "x", "path": "http://127.0.0.1:PORT/x", "fingerprint": mark()},
        {"kind": "file", "name": "x", "path": "0", "fingerprint": mark()},
        {"kind": "recording", "name": "/etc/passwd"},
        {"kind": "file", "name": "/etc/passwd"},
    ],
)
def test_nothing_is_connected_to(source: dict[str, Any], tmp_path: Path) -> None:
    """A header named a URL, and the replay fetched it; a camera, and the replay switched it on."""
    one_step(tmp_path / "r")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        change(tmp_path / "r", **json.loads(json.dumps(source).replace("PORT", port)))
        with pytest.raises(CaptureError, match=r"recording\.json: "):
            replay(tmp_path / "r")
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()


def link(path: Path, outside: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(outside)


def pipe(path: Path, outside: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


@pytest.mark.parametrize("make", [link, pipe])
@pytest.mark.parametrize("name", ["recording.json", "steps.jsonl", "commands.jsonl"])
def test_its_files_are_regular_and_its_own(
    name: str, make: Callable[[Path, Path], None], tmp_path: Path
) -> None:
    one_step(tmp_path / "r")
    outside = tmp_path / name
    path = tmp_path / "r" / name
    outside.write_bytes(path.read_bytes() if path.exists() else b"")
    make(path, outside)
    with pytest.raises(CaptureError, match=r"--replay .*(a link|a pipe or device|no recording\.)"):
        replay(tmp_path / "r")


@pytest.mark.parametrize("make", [link, pipe])
def test_its_pictures_are_regular_and_its_own(
    make: Callable[[Path, Path], None], tmp_path: Path
) -> None:
    one_step(tmp_path / "r")
    change(tmp_path / "r", kind="camera", name="0", pictures="lossy")
    outside = tmp_path / "other.mp4"
    outside.write_bytes(b"")
    make(tmp_path / "r" / "pictures.mp4", outside)
    with pytest.raises(CaptureError, match=r"pictures\.mp4: cannot be read: a (link|pipe)"):
        replay(tmp_path / "r")


def test_its_pictures_cannot_name_other_files(tmp_path: Path) -> None:
    """A list of videos in the place of a video would have FFmpeg open what stands in it."""
    one_step(tmp_path / "r")
    change(tmp_path / "r", kind="camera", name="0", pictures="lossy")
    (tmp_path / "r" / "pictures.mp4").write_text("ffconcat version 1.0\nfile other.mp4\n")
    with pytest.raises(CaptureError, match="cannot be opened as a video"):
        replay(tmp_path / "r")


def prompt(name: str, shape: list[Any]) -> dict[str, Any]:
    return {"type": "Prompt", "mask": {"dtype": "bool", "shape": shape, "file": name}}


def test_its_arrays_are_regular_its_own_and_of_the_shape_they_claim(tmp_path: Path) -> None:
    name, folder = "arrays/0123456789abcdef.png", tmp_path / "arrays"
    other = tmp_path / "other"
    other.mkdir()
    _, data = cv2.imencode(".png", np.full((4, 6), 255, np.uint8))
    (other / "0123456789abcdef.png").write_bytes(data.tobytes())
    folder.symlink_to(other)
    with pytest.raises(ValueError, match="arrays: a link"):
        decode_command(prompt(name, [4, 6]), Arrays(tmp_path))
    folder.unlink()
    folder.mkdir()
    (tmp_path / name).symlink_to(other / "0123456789abcdef.png")
    with pytest.raises(ValueError, match="a link; expected a file"):
        decode_command(prompt(name, [4, 6]), Arrays(tmp_path))
    (tmp_path / name).unlink()
    shutil.copy(other / "0123456789abcdef.png", tmp_path / name)
    for shape in ([6, 4], [24], ["4", "6"], [-4, -6], [4, 6, 1, 1], [4.5, 6.0], [True, 24]):
        with pytest.raises(ValueError, match="shape"):
            decode_command(prompt(name, shape), Arrays(tmp_path))
    decode_command(prompt(name, [4, 6]), Arrays(tmp_path))


@pytest.mark.parametrize(
    ("name", "word", "known"),
    [
        ("preset", "dam2", "default | sam2"),
        ("backend", "openvino", "auto | tensorrt"),
        ("effect", "aurora", "highlight | blur"),
    ],
)
def test_a_word_of_another_version_is_the_recordings(
    name: str, word: str, known: str, tmp_path: Path
) -> None:
    """The error named an option that nobody had given."""
    one_step(tmp_path / "r")
    path = tmp_path / "r" / "recording.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: word}))
    recording = Recording.open(tmp_path / "r")
    with pytest.raises(CaptureError) as caught:
        recording.request(Request(replay=tmp_path / "r"))
    said = (
        f"--replay {tmp_path / 'r'}: recorded with {name} {word}, which this version does not have"
    )
    assert str(caught.value).startswith(said)
    assert f"choose one with --{name} {known}" in str(caught.value)
    request = Request(replay=tmp_path / "r", given=frozenset([f"--{name}"]))
    assert getattr(recording.request(request), name) == getattr(request, name)


def test_the_program_says_it_in_one_line(run_cli: RunCli, tmp_path: Path) -> None:
    one_step(tmp_path / "r")
    change(tmp_path / "r", kind="file", path="/dev/zero", fingerprint=mark())
    done = run_cli("--replay", tmp_path / "r", "--output", "none")
    assert done.returncode == 3, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("option", ["--metrics", "--replay", "--output"])
def test_a_name_that_no_file_can_have_is_one_line(
    option: str, run_cli: RunCli, tmp_path: Path
) -> None:
    """A name of 300 letters and a link in a circle were tracebacks."""
    (tmp_path / "loop").symlink_to("loop")
    names = {"--metrics": tmp_path / "loop" / "x", "--output": f"masks:{tmp_path / 'loop'}"}
    done = run_cli("--source", "demo", option, names.get(option, "x" * 300))
    # each option's own code: a recording is a source, a folder of masks an output
    assert done.returncode == {"--metrics": 2, "--replay": 3, "--output": 5}[option], done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("error: ") == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pace": "x"}, r'pace: "x": expected one of live \| all'),
        ({"fps": 1e308}, "source.fps: 1e.308: expected a rate"),
        (
            {"size_wh": [1e9, 1e9]},
            r"source.size_wh: \[1000000000.0, 1000000000.0\]: expected sides",
        ),
        ({"size_wh": []}, r"source.size_wh: \[\]: expected sides of 1 to 65536 pixels"),
    ],
)
def test_values_that_no_run_has_are_named(
    changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    one_step(tmp_path / "r")
    path = tmp_path / "r" / "recording.json"
    header = json.loads(path.read_text())
    (header if "pace" in changes else header["source"]).update(changes)
    path.write_text(json.dumps(header))
    with pytest.raises(CaptureError, match=said):
        replay(tmp_path / "r")


def test_a_foreign_version_is_shown_short_and_without_terminal_codes() -> None:
    assert shown_version("\x1b[2Jevil" + "x" * 10**6) == r"\x1b[2Jevil" + "x" * 32
