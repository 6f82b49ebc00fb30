"""Addresses that cannot be opened: one line with the reason, not FFmpeg's name for it."""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from samcam.live.errors import CaptureError
from samcam.live.sources.choose import open_source
from samcam.live.sources.options import SourceOptions
from samcam.live.sources.video.open_errors import probe_http
from samcam.system.redact import hide_secrets
from tests.helpers.bounds import WAIT_S

OPTIONS = SourceOptions(open_timeout_s=WAIT_S, read_timeout_s=WAIT_S)
LOCATIONS = {
    "/circle": "/circle",
    "/there": "/back",
    "/back": "/there",
    "/file": "file:///etc/hostname",
    "/broken": "http://[::1",
    "/gone": "ftp://user:secret@127.0.0.1:9/?token=hidden",
}
SENT = {
    "/page": b"\xef\xbb\xbf\n<!DOCTYPE html><html>" + b"<p>Sign in</p>" * 400,
    "/form": b"<html></html>",
    "/text": "no such camera: ä\n".encode() * 100,
    "/json": b'{"error": 7}',
    "/noise": bytes(range(256)) * 20,
    "/empty": b"",
}


class _Handler(BaseHTTPRequestHandler):
    """Redirects as `LOCATIONS` say, /1 to /2 and so on for ever, and answers /status/N with N."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Drop the access log."""

    def do_GET(self) -> None:
        location = LOCATIONS.get(self.path)
        if self.path[1:].isdecimal():
            location = f"/{int(self.path[1:]) + 1}"
        if self.path == "/silent":
            self.close_connection = True
            return
        sent = SENT.get(self.path)
        status = 200 if sent is not None else 302 if location else self.path.rpartition("/")[2]
        self.send_response(int(status))
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Length", str(len(sent or b"")))
        self.end_headers()
        with suppress(OSError):  # the reader has seen enough
            self.wfile.write(sent or b"")


@contextmanager
def serve() -> Iterator[str]:
    """Give the address of a server."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), name="http-server")
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def error_of(url: str) -> str:
    """Return what opening an address says."""
    with pytest.raises(CaptureError) as caught:
        open_source(url, OPTIONS)
    message = str(caught.value)
    assert "\n" not in message
    assert "Input/output" not in message
    return hide_secrets(message)  # as every line of the program


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/circle", "redirects without end, to 'http://127.0.0.1:PORT/circle' again"),
        ("/there", "redirects without end, to 'http://127.0.0.1:PORT/there' again"),
        ("/1", "redirects more than 8 times, by then to 'http://127.0.0.1:PORT/10'"),
        ("/file", "redirects to 'file:///etc/hostname', which is not followed"),
        ("/broken", "redirects to 'http://[::1', which is no address; expected a video; open it"),
        ("/page", "answers with a web page; expected a video; open it in a browser"),
        ("/form", "answers with a web page; expected a video; open it in a browser"),
        ("/text", "answers with a text; expected a video; open it in a browser"),
        ("/json", "answers with a text; expected a video; open it in a browser"),
        ("/noise", "Invalid data found"),
        ("/empty", "answers with nothing (200 OK); expected a video; check the address; has what"),
        ("/status/204", "answers with nothing (204 No Content); expected a video"),
        ("/status/206", "answers with nothing (206 Partial Content); expected a video"),
        ("/status/304", "answers with nothing (304 Not Modified); expected a video"),
        ("/silent", "closes the connection without an answer"),
        ("/status/400", "(400); expected a video; check the address"),
        ("/status/401", "(401); expected an address such as SCHEME://USER:PASSWORD@HOST"),
        ("/status/403", "refuses access (403); expected an address that may be read"),
        ("/status/404", "has nothing there (404); expected a video; check the address"),
        ("/status/410", "refuses the request (an error 4xx"),
        ("/status/429", "asked too often (429); wait"),
        ("/status/500", "the server itself has an error (5xx); try again later"),
        ("/status/503", "the server itself has an error (5xx); try again later"),
    ],
)
def test_what_a_server_answers_is_said_with_what_to_do(path: str, said: str) -> None:
    """A circle of redirects was an "Input/output error", a web page "Invalid data"."""
    with serve() as address:
        message = error_of(address + path)
    assert said.replace("PORT", address.rpartition(":")[2]) in message


@pytest.mark.parametrize(
    "url",
    [
        *("http://[bad/x", "http://[::1", "HTTP://me:secret@[x]/y", "https://[v1.x/"),
        *("rtsp://[bad/x", "http://[::1]:port/x", "http://a\0b/x"),
    ],
)
def test_a_malformed_address_is_one_line(url: str) -> None:
    """Python's urlsplit() refuses it with a ValueError, which was a traceback."""
    with pytest.raises(CaptureError, match="cannot be opened as a video: ") as caught:
        open_source(url, OPTIONS)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_redirect_gives_no_password_away() -> None:
    with serve() as address:
        message = error_of(address + "/gone")
    assert "which is not followed" in message
    assert "secret" not in message
    assert "hidden" not in message


def test_what_does_not_speak_http_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            for _ in range(2):  # FFmpeg, and the question what it met
                connection, _ = listener.accept()
                with connection:
                    connection.recv(4096)
                    connection.sendall(b"220 mail ready\r\n\r\n")

        thread = threading.Thread(target=answer, name="mail-server")
        thread.start()
        message = error_of(f"http://127.0.0.1:{listener.getsockname()[1]}/clip.mp4")
        thread.join()
    assert "what answers there does not speak HTTP" in message


@pytest.mark.parametrize(
    ("scheme", "first", "again"),
    [
        ("http", b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        ("http", b"HTTP/1.1 200 ", b"O"),
        ("http", b"HTTP/1.1 200 OK\r\nX: ", b"x"),
        ("https", b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc", b"\x03"),  # a long ServerHello
    ],
)
def test_an_answer_without_end_is_given_up_in_time(scheme: str, first: bytes, again: bytes) -> None:
    """Each byte began the time-out anew: the question had no end."""
    left = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            end = time.monotonic() + WAIT_S
            with connection, suppress(OSError):
                connection.sendall(first)
                while time.monotonic() < end:
                    connection.sendall(again)
                    time.sleep(0.01)
                return
            left.set()

        thread = threading.Thread(target=answer, name="slow-server")
        thread.start()
        url = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}/clip.mp4"
        said = probe_http(OSError(errno.EIO, ""), url, timeout_s=0.3)
        thread.join()
    assert said.startswith("it does not answer in time; ")
    assert left.is_set()
