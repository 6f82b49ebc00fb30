"""Downloading a checkpoint: resumed, checked, and clear when it fails. Against a local server."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from samcam.export import download as download_module
from samcam.export.download import CHECKPOINTS, TRIES, download
from samcam.export.errors import ExportError
from samcam.export.sam2.checkpoint import VARIANTS
from samcam.system.files import KnownFile

CONTENT = np.random.default_rng(0).bytes(700_001)


class Request(NamedTuple):
    """What a client asked for."""

    path: str
    range: str | None


@dataclass
class Server:
    """A file server whose manners the test chooses.

    Attributes:
        content: What it serves.
        cut: Bytes after which it ends a connection; None: never.
        ranges: Whether it knows about ranges.
        status: Its answer's status, where it is not to be found out.
    """

    address: str = ""
    content: bytes = CONTENT
    cut: int | None = None
    ranges: bool = True
    status: int | None = None
    requests: list[Request] = field(default_factory=list)

    @property
    def wanted(self) -> KnownFile:
        digest = hashlib.sha256(CONTENT).hexdigest()
        return KnownFile(f"{self.address}/weights.pt", len(CONTENT), digest)


@pytest.fixture
def server() -> Iterator[Server]:
    manners = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            manners.requests.append(Request(self.path, asked))
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and manners.ranges else 0
            body = manners.content[start:]
            self.send_response(manners.status or (206 if start else 200))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body if manners.cut is None else body[: manners.cut])
            self.close_connection = True

        def log_message(self, *arguments: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        manners.address = f"http://127.0.0.1:{http.server_address[1]}"
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        yield manners
        http.shutdown()
        thread.join()


def refusal(wanted: KnownFile, target: Path) -> str:
    with pytest.raises(ExportError) as caught:
        download(wanted, target)
    assert not target.exists()
    message = str(caught.value)
    assert "\n" not in message
    return message


def part_of(target: Path) -> Path:
    return target.with_name(target.name + ".part")


def test_downloads_once(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "new" / "weights.pt"
    assert download(server.wanted, target) == target
    assert target.read_bytes() == CONTENT
    download(server.wanted, target)
    assert server.requests == [Request("/weights.pt", None)]
    assert list(target.parent.iterdir()) == [target]


def test_a_terminal_sees_progress(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    target = tmp_path / "weights.pt"
    part_of(target).write_bytes(CONTENT[:350_000])
    download(server.wanted, target)
    first, *_, last = screen.getvalue().strip().split("\r")
    assert first.startswith("weights.pt:  50%")  # what was there already counts
    assert last.startswith("weights.pt: 100%")


def test_a_damaged_file_is_fetched_again(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "weights.pt"
    target.write_bytes(b"x" * len(CONTENT))
    download(server.wanted, target)
    assert target.read_bytes() == CONTENT


def test_a_connection_that_breaks_is_taken_up_again(server: Server, tmp_path: Path) -> None:
    server.cut = 300_000
    download(server.wanted, tmp_path / "weights.pt")
    assert [r.range for r in server.requests] == [None, "bytes=300000-", "bytes=600000-"]


def test_an_earlier_run_is_resumed(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "weights.pt"
    part_of(target).write_bytes(CONTENT[:123_456])
    download(server.wanted, target)
    assert [r.range for r in server.requests] == ["bytes=123456-"]
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("left", [len(CONTENT), len(CONTENT) + 5])
def test_a_part_that_is_whole_or_too_long(server: Server, tmp_path: Path, left: int) -> None:
    target = tmp_path / "weights.pt"
    part_of(target).write_bytes((CONTENT + b"12345")[:left])
    download(server.wanted, target)
    assert target.read_bytes() == CONTENT
    assert len(server.requests) == (0 if left == len(CONTENT) else 1)


def test_a_server_without_ranges_starts_over(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    target = tmp_path / "weights.pt"
    part_of(target).write_bytes(CONTENT[:1000])
    download(server.wanted, target)
    assert target.read_bytes() == CONTENT


def test_a_connection_that_always_breaks_keeps_what_came(server: Server, tmp_path: Path) -> None:
    server.cut = 100_000
    target = tmp_path / "weights.pt"
    message = refusal(server.wanted, target)
    assert "ended early" in message
    assert "run it again to go on" in message
    assert len(server.requests) == TRIES
    assert part_of(target).read_bytes() == CONTENT[: TRIES * 100_000]
    server.cut = None
    download(server.wanted, target)
    assert target.read_bytes() == CONTENT


def test_another_file_is_refused_and_deleted(server: Server, tmp_path: Path) -> None:
    server.content = CONTENT[::-1]
    message = refusal(server.wanted, tmp_path / "weights.pt")
    assert "SHA-256" in message
    assert "--checkpoint" in message
    assert list(tmp_path.iterdir()) == []


def test_a_resumed_part_of_another_file_is_refused_and_deleted(
    server: Server, tmp_path: Path
) -> None:
    target = tmp_path / "weights.pt"
    part_of(target).write_bytes(b"?" * 1000)
    assert "SHA-256" in refusal(server.wanted, target)
    assert download(server.wanted, target).read_bytes() == CONTENT


def test_a_login_page_is_not_taken_for_weights(server: Server, tmp_path: Path) -> None:
    server.content = b"<html>please log in</html>"
    message = refusal(server.wanted, tmp_path / "weights.pt")
    assert f"offers {len(server.content)} bytes, expected {len(CONTENT)}" in message


def test_the_servers_refusal_is_told(server: Server, tmp_path: Path) -> None:
    server.status = 404
    assert "the server answered 404" in refusal(server.wanted, tmp_path / "weights.pt")


def test_no_connection(tmp_path: Path) -> None:
    wanted = KnownFile("http://127.0.0.1:9/weights.pt", 10, "0" * 64)
    message = refusal(wanted, tmp_path / "weights.pt")
    assert "no connection" in message
    assert "--checkpoint weights.pt" in message


def test_a_full_disk_is_told_before_the_download(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage(NamedTuple):
        free: int

    monkeypatch.setattr(download_module.shutil, "disk_usage", lambda path: Usage(1000))
    assert "make room" in refusal(server.wanted, tmp_path / "weights.pt")
    assert not server.requests


def test_a_folder_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert "cannot be written" in refusal(server.wanted, tmp_path / "file" / "weights.pt")


def test_every_variant_has_an_address() -> None:
    assert tuple(CHECKPOINTS) == VARIANTS
    for known in CHECKPOINTS.values():
        assert known.url.startswith("https://dl.fbaipublicfiles.com/segment_anything_2/092824/")
        assert len(bytes.fromhex(known.sha256)) == 32
    assert len({known.sha256 for known in CHECKPOINTS.values()}) == len(VARIANTS)
