"""Why a source cannot be opened, and what to do: what FFmpeg calls it is not always what it is."""

from __future__ import annotations

import codecs
import errno
import http.client
import re
import socket
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Final
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

import av.error

from samcam.system import hide_in_url, hide_secrets

_MOST_REDIRECTS: Final = 8  # FFmpeg's own limit
_MOST_LETTERS: Final = 200  # of an address in a message
_FIRST_BYTES: Final = 512  # of what is sent, to see what it is
_PAGES: Final = (b"<!doctype html", b"<html", b"<head", b"<body", b"<script", b"<!--")
_PLAYLIST: Final = b"#extm3u"
_BINARY: Final = re.compile(rb"[^\t\n\f\r\x1b -~\x80-\xff]")
_REDIRECTS: Final = frozenset((301, 302, 303, 307, 308))
_OF_A_FILE: Final = "expected a video or picture that FFmpeg can read; is it complete?"
_OF_A_URL: Final = "expected a video; check the address, the password and the network"
_NOTHING: Final = "it answers with nothing"
_OF_NOTHING: Final = "expected a video; check the address; has what it shows begun?"
_BROWSER: Final = "expected a video; open it in a browser to find the address of the video itself"
# FFmpeg's own texts are of the kind "4XX Client Error, but not one of 40{0,1,3,4}".
_ANSWERS: Final[dict[type[Exception], tuple[str, str]]] = {
    av.error.HTTPBadRequestError: (
        "the server does not understand the address (400)",
        "expected a video; check the address",
    ),
    av.error.HTTPUnauthorizedError: (
        "the server asks for a user and a password, or refuses these (401)",
        "expected an address such as SCHEME://USER:PASSWORD@HOST/PATH",
    ),
    av.error.HTTPForbiddenError: (
        "the server refuses access (403)",
        "expected an address that may be read from here; has it expired, does it need a password?",
    ),
    av.error.HTTPNotFoundError: (
        "the server has nothing there (404)",
        "expected a video; check the address",
    ),
    av.error.HTTPTooManyRequestsError: (
        "the server was asked too often (429)",
        "wait a few minutes, then try again",
    ),
    av.error.HTTPOtherClientError: (
        "the server refuses the request (an error 4xx, none of 400, 401, 403, 404, 429)",
        _BROWSER,
    ),
    av.error.HTTPServerError: (
        "the server itself has an error (5xx)",
        "try again later, or ask who runs it",
    ),
}


def describe(error: BaseException) -> str:
    """Return what went wrong in a few words, without the address that FFmpeg appends."""
    if isinstance(error, av.error.ExitError):  # how PyAV's own time-outs surface
        return "no answer in time"
    if isinstance(error, av.error.FFmpegError) and error.strerror:
        return error.strerror
    return hide_secrets(str(error)) or type(error).__name__


def reason_and_advice(
    error: Exception, address: str, timeouts_s: tuple[float, float] | None, took_s: float
) -> str:
    """Return why FFmpeg could not open an address, and what to do, for the end of a message.

    Args:
        timeouts_s: (open, read) seconds of silence that were allowed; None: of a file.
        took_s: How long it tried.
    """
    if timeouts_s is None:
        return f"{describe(error)}; {_OF_A_FILE}"
    if took_s >= timeouts_s[0]:  # RTSP reports a time-out as invalid data
        return f"no answer in time; {_OF_A_URL}"
    if type(error) in _ANSWERS:
        return "; ".join(_ANSWERS[type(error)])
    # urlsplit() refuses http://[::1 with a ValueError, and FFmpeg has its own say on it.
    is_http = address.partition("://")[0].lower() in ("http", "https")
    if is_http and isinstance(error, av.error.EOFError):
        return f"the server closes the connection without an answer; {_OF_A_URL}"
    return f"{describe(error)}; {_OF_A_URL}"


def probe_http(error: BaseException | None, address: str, timeout_s: float) -> str:
    """Ask an address for what FFmpeg cannot name; "" where that tells no more.

    FFmpeg has the same error for redirects without end, a broken TLS and what is not HTTP, and
    another for a web page, a text and nothing at all.

    Args:
        error: FFmpeg's.
        timeout_s: For all that is asked, however slowly it is answered.
    """
    is_unclear = getattr(error, "errno", None) in (errno.EIO, errno.EINVAL)
    if not is_unclear and not isinstance(error, av.error.InvalidDataError):
        return ""
    found = _follow_redirects(address, timeout_s)
    return found and f"{found}; {_OF_NOTHING if found.startswith(_NOTHING) else _BROWSER}"


def _follow_redirects(address: str, timeout_s: float) -> str:
    """Follow an address; return what is wrong with it, "" where nothing is."""
    end = time.monotonic() + timeout_s
    seen = [address]
    shown = ""
    try:
        for _ in range(_MOST_REDIRECTS + 1):
            status, location, sent = _request(seen[-1], end)
            if status not in _REDIRECTS or not location:
                return _describe_answer(status, sent)
            shown = hide_in_url(location)[:_MOST_LETTERS]
            try:
                target = urljoin(seen[-1], location)
            except ValueError:
                return f"it redirects to {shown!r}, which is no address"
            shown = hide_in_url(target)[:_MOST_LETTERS]
            if urlsplit(target).scheme.lower() not in ("http", "https"):
                return f"it redirects to {shown!r}, which is not followed"
            if target in seen:
                return f"it redirects without end, to {shown!r} again"
            seen.append(target)
    except (OSError, ValueError, http.client.HTTPException) as error:
        return "it does not answer in time" if time.monotonic() >= end else _describe_failure(error)
    return f"it redirects more than {_MOST_REDIRECTS} times, by then to {shown!r}"


def _describe_answer(status: int, sent: bytes) -> str:
    """Return what an answer is, by its first bytes, "" for a possible video and for an error."""
    if status >= 400:
        return ""
    if not sent:
        return f"{_NOTHING} ({status} {http.client.responses.get(status, '')}".rstrip() + ")"
    begin = sent.removeprefix(codecs.BOM_UTF8).lstrip().lower()
    if begin.startswith(_PAGES):
        return "it answers with a web page"
    is_text = not _BINARY.search(sent) and not begin.startswith(_PLAYLIST)
    return "it answers with a text" if is_text else ""


def _describe_failure(error: Exception) -> str:
    """Return what an error of `_request` tells of who answers, "" for nothing."""
    if isinstance(error, ssl.SSLError):
        return f"no secure connection: {error.reason or 'TLS failed'}"
    if isinstance(error, (OSError, ValueError, http.client.InvalidURL)):
        return ""
    return "what answers there does not speak HTTP"


def _request(address: str, end: float) -> tuple[int, str, bytes]:
    """Return the status of a server's answer, where it redirects to, or "", and its first bytes.

    Args:
        end: When to give up, on time.monotonic()'s clock.

    Raises:
        OSError: There is no connection, or the time is over.
        http.client.HTTPException: It is no answer of HTTP.
        ValueError: The address is none.
    """
    parts = urlsplit(address)
    is_https = parts.scheme.lower() == "https"
    kind = http.client.HTTPSConnection if is_https else http.client.HTTPConnection
    host, port = parts.hostname or "", parts.port or kind.default_port
    target = parts._replace(scheme="", netloc="", fragment="").geturl() or "/"
    with (
        _connect(host, port, end) as raw,
        _shut_down_at(end, raw),
        closing(kind(host, port)) as connection,
    ):
        connection.sock = _with_tls(raw, host) if is_https else raw
        some = f"bytes=0-{_FIRST_BYTES - 1}"
        connection.request("GET", target, headers={"Range": some, **_login(parts)})
        answer = connection.getresponse()
        sent = answer.read1(_FIRST_BYTES)
        if time.monotonic() >= end:
            raise TimeoutError("half an answer, which is taken for a whole one")
        return answer.status, answer.getheader("Location", ""), sent


def _connect(host: str, port: int, end: float) -> socket.socket:
    """Connect to the first address of a host that takes it, all of them within the time."""
    failure: OSError = TimeoutError("no time is left")
    for *_, place in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        left_s = end - time.monotonic()
        if left_s <= 0:
            break
        try:
            return socket.create_connection((str(place[0]), port), left_s)
        except OSError as error:
            failure = error
    raise failure


def _with_tls(raw: socket.socket, host: str) -> ssl.SSLSocket:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # as FFmpeg asks
    return context.wrap_socket(raw, server_hostname=host)


@contextmanager
def _shut_down_at(end: float, connection: socket.socket) -> Iterator[None]:
    """Shut a connection down when its time is over, for whoever reads from it then.

    A time-out of a socket starts again with every byte, so that who sends one now and then, or
    "100 Continue" without end, is read from for ever.
    """
    with connection.dup() as same:  # TLS takes the descriptor of the other away

        def shut_down() -> None:
            with suppress(OSError):  # the server was quicker
                same.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(max(0.0, end - time.monotonic()), shut_down)
        timer.name, timer.daemon = "http-answer-timeout", True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()


def _login(parts: SplitResult) -> dict[str, str]:
    """Return the header for the user and password of an address, where it has some."""
    if parts.username is None:
        return {}
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}
