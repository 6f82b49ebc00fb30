"""Small videos whose frames say which they are, and HTTP servers that serve them.

A numbered picture carries its number as black and white blocks that survive lossy coding, and a
colour in each corner that tells how it is turned.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import cv2
import numpy as np

from samcam.live.frames import U8
from tests.helpers.bounds import WAIT_S

CORNERS = ("top left", "top right", "bottom left", "bottom right")
_CORNER_BGR = ((40, 40, 220), (40, 200, 40), (220, 60, 40), (230, 230, 230))
_BITS = 8


def numbered_picture(number: int, size_wh: tuple[int, int] = (96, 64)) -> U8:
    """Return a (H, W, 3) picture of `number`, 0..255; at least 64 x 48."""
    width, height = size_wh
    image = np.full((height, width, 3), 128, np.uint8)
    side = min(size_wh) // 4
    for (y, x), colour in zip(
        ((0, 0), (0, width - side), (height - side, 0), (height - side, width - side)),
        _CORNER_BGR,
        strict=True,
    ):
        image[y : y + side, x : x + side] = colour
    step = width // _BITS
    for bit in range(_BITS):
        level = 255 if number >> bit & 1 else 0
        image[height // 2 - 6 : height // 2 + 6, bit * step : (bit + 1) * step] = level
    return image


def read_number(image: U8) -> int:
    """Return the number of a picture that is not turned."""
    height, width = image.shape[:2]
    step = width // _BITS
    middles = [image[height // 2, bit * step + step // 2].mean() for bit in range(_BITS)]
    return sum(1 << bit for bit, level in enumerate(middles) if level > 128)


def corner_order(image: U8) -> tuple[str, ...]:
    """Return which corners of the original are seen, in the order of `CORNERS`."""
    seen = []
    for y, x in ((4, 4), (4, -5), (-5, 4), (-5, -5)):
        distance = np.abs(np.array(_CORNER_BGR, int) - image[y, x]).sum(axis=1)
        seen.append(CORNERS[int(distance.argmin())])
    return tuple(seen)


@dataclass(frozen=True, slots=True)
class VideoSpec:
    """How to write a video.

    Attributes:
        times_ms: Presentation time of each frame; None: evenly at `fps`.
        rotation: Counter-clockwise degrees for the display matrix.
        keyframe_every: Distance of key frames.
        noise: Strength of noise on the pictures, which makes each frame many bytes.
        options: Of the container, such as {"movflags": "faststart"}.
    """

    count: int = 12
    fps: int = 25
    size_wh: tuple[int, int] = (96, 64)
    times_ms: Sequence[int] | None = None
    rotation: int = 0
    keyframe_every: int = 12
    noise: int = 0
    options: tuple[tuple[str, str], ...] = ()


def write_video(path: Path, spec: VideoSpec | None = None) -> Path:
    """Write numbered pictures as H.264 and return `path`."""
    spec = spec or VideoSpec()
    times_ms = spec.times_ms or [round(1000 * i / spec.fps) for i in range(spec.count)]
    with av.open(str(path), "w", container_options=dict(spec.options)) as container:
        stream = container.add_stream("libx264", rate=spec.fps)
        stream.width, stream.height = spec.size_wh
        stream.pix_fmt = "yuv420p"
        stream.gop_size = spec.keyframe_every
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        stream.options = {"preset": "ultrafast", "crf": "12"}
        if spec.rotation:
            stream.set_display_rotation(spec.rotation)
        for number, at in enumerate(times_ms):
            image = numbered_picture(number, spec.size_wh)
            if spec.noise:
                grain = np.random.default_rng(number).integers(0, spec.noise, image.shape)
                image = np.minimum(image + grain, 255).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            frame.pts, frame.time_base = at, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


class _Handler(BaseHTTPRequestHandler):
    """Says nothing on stderr."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Drop the access log."""


@contextmanager
def _serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = False
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), name="http-server")
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def serve_file(path: Path) -> Iterator[str]:
    """Serve one file, ranges included, and give its URL."""
    data = path.read_bytes()

    class Handler(_Handler):
        def do_GET(self) -> None:
            start = 0
            asked = self.headers.get("Range", "")
            if asked.startswith("bytes="):
                start = int(asked[6:].split("-")[0])
            self.send_response(206 if asked else 200)
            self.send_header("Content-Type", "video/mp4")
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(len(data) - start))
            if asked:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.end_headers()
            try:
                self.wfile.write(data[start:])
            except OSError:
                self.close_connection = True  # the reader left in the middle

    with _serving(Handler) as address:
        yield f"{address}/{path.name}"


class RecordingServer:
    """Serves one file as simple servers do: from its beginning, whatever range is asked for.

    Attributes:
        connections: How often it was asked for.
        refuse_numbers: Which connections are closed at once.
        cuts: Bytes after which the first, second, ... connection is cut; later ones are whole.
        silent: Connections that are cut are not closed, but say no more.
    """

    def __init__(self, data: bytes, length: bool = True, chunked: bool = False) -> None:
        """Serve `data`.

        Args:
            length: Say how long it is.
            chunked: Send it in chunks, which needs no length.
        """
        self.connections = 0
        self.cuts: list[int] = []
        self.refuse_numbers: set[int] = set()
        self.silent = False
        self._stopped = threading.Event()
        self._data, self._length, self._chunked = data, length, chunked

    def show(self, data: bytes) -> None:
        """Serve something else from the next connection on."""
        self._data = data

    @contextmanager
    def serve(self, name: str) -> Iterator[str]:
        """Start, and give the URL."""
        server = self

        class Handler(_Handler):
            def do_GET(self) -> None:
                self.close_connection = True
                self.send_response(200)
                if server._chunked:
                    self.send_header("Transfer-Encoding", "chunked")
                elif server._length:
                    self.send_header("Content-Length", str(len(server._data)))
                self.send_header("Connection", "close")
                self.end_headers()
                with suppress(OSError):  # the reader left
                    server._send(self)

        with _serving(Handler) as address:
            try:
                yield f"{address}/{name}"
            finally:
                self._stopped.set()

    def _send(self, handler: BaseHTTPRequestHandler) -> None:
        number, self.connections = self.connections, self.connections + 1
        if number in self.refuse_numbers:
            handler.close_connection = True
            return
        whole = number >= len(self.cuts)
        data = self._data if whole else self._data[: self.cuts[number]]
        if not self._chunked:
            handler.wfile.write(data)
            if self.silent and not whole:
                self._stopped.wait(WAIT_S)
            return
        for at in range(0, len(data), 1000):
            part = data[at : at + 1000]
            handler.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        if whole:
            handler.wfile.write(b"0\r\n\r\n")


class MjpegServer:
    """A network camera: numbered JPEG pictures as multipart, hung up after `per_connection`."""

    def __init__(self, per_connection: int, size_wh: tuple[int, int] = (96, 64)) -> None:
        self.connections = 0
        self.refuse = False
        self.silent = threading.Event()  # when set, a connection stays open without pictures
        self.garbage_numbers: set[int] = set()  # of pictures that cannot be decoded
        self.stopped = threading.Event()
        self.size_wh = size_wh
        self._per_connection = per_connection

    @contextmanager
    def serve(self) -> Iterator[str]:
        """Start, and give the URL."""
        camera = self

        class Handler(_Handler):
            def do_GET(self) -> None:
                if camera.refuse:
                    self.send_error(503)
                    return
                camera.connections += 1
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.send_header("Connection", "close")
                self.end_headers()
                self.close_connection = True
                with suppress(OSError):  # the reader left
                    camera.send_pictures(self)

        with _serving(Handler) as address:
            try:
                yield f"{address}/camera.mjpg"
            finally:
                self.stopped.set()

    def send_pictures(self, handler: BaseHTTPRequestHandler) -> None:
        """Send one connection's pictures, numbered from 0."""
        for number in range(self._per_connection):
            ok, jpeg = cv2.imencode(".jpg", numbered_picture(number % 256, self.size_wh))
            assert ok
            data = jpeg.tobytes()
            if number in self.garbage_numbers:
                data = b"\xff\xd8" + bytes(200)
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
            handler.wfile.write(head.encode() + data + b"\r\n")
        if self.silent.is_set():
            self.stopped.wait(WAIT_S)
