"""From what the user wrote after --source to a source."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from samcam.live.errors import CaptureError
from samcam.live.sources.base import VideoSource
from samcam.live.sources.camera import open_camera
from samcam.live.sources.demo.source import DemoSource
from samcam.live.sources.looped import LoopedSource
from samcam.live.sources.options import SourceOptions
from samcam.live.sources.orient import orient
from samcam.live.sources.pictures.images import PictureFolder, open_picture
from samcam.live.sources.pictures.kinds import (
    PICTURE_SUFFIXES,
    REFUSED_SUFFIXES,
    VIDEO_SUFFIXES,
    is_picture,
)
from samcam.live.sources.video.file import VideoFile
from samcam.live.sources.video.url import open_url
from samcam.system import check_type, name_or_path
from samcam.system.files import NoHomeError, check_name, expand_user, is_pipe

_log = logging.getLogger(__name__)

_EXPECTED = (
    "expected demo, a camera's index or part of its name, a video or picture file, a folder of "
    "pictures, or an rtsp:// or http:// URL"
)


def open_source(spec: str | os.PathLike[str], options: SourceOptions | None = None) -> VideoSource:
    """Open what `spec` means, turned and mirrored as the options say, again and again with `loop`.

    In this order: "demo", digits (a camera), a URL, an existing file or folder, part of a
    camera's name. A `Path` is a file or folder, whatever it is called.

    Raises:
        CaptureError: Nothing fits, or it cannot be opened; says what was tried.
        TypeError: An argument is something else.
    """
    name = name_or_path("source", spec, 'a text such as "demo" or "0", or a path')
    chosen = SourceOptions() if options is None else options
    check_type("options", chosen, SourceOptions, "SourceOptions")

    def reopen() -> VideoSource:
        return orient(_open(name, chosen), chosen)

    return LoopedSource(reopen) if chosen.loop else reopen()


def _open(spec: str, options: SourceOptions) -> VideoSource:
    if not spec.strip():
        raise CaptureError(f"source {spec!r}: is empty; {_EXPECTED}")
    if spec == "demo":
        if Path(spec).exists():
            _log.info("source demo: the built-in scene; what is called so here is ./demo")
        return DemoSource(
            options.demo_size, options.fps, options.demo_frames, options.demo_vanish_s
        )
    is_url = re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", spec)
    if not is_url:
        _check_name(Path(spec), spec)
    if spec.isdecimal():
        return _open_camera_number(spec, options)
    if spec.lower().startswith("file:") and not Path(spec).exists():
        raise CaptureError(
            f"source {spec!r}: an address of a file; expected its path: {_path_of_address(spec)}"
        )
    if is_url:
        return open_url(spec, options)
    device = re.fullmatch(r"/dev/video(\d+)", spec)
    if device:
        return open_camera(device[1], options)
    try:
        path = expand_user(spec)
    except NoHomeError as error:
        raise CaptureError(f"source {error}") from error
    _check_name(path, spec)
    if path.is_dir():
        return PictureFolder(path, spec, options)
    if path.exists():
        return _open_file(path, spec, options)
    suffixes = PICTURE_SUFFIXES | REFUSED_SUFFIXES | VIDEO_SUFFIXES
    if "/" in spec or "\\" in spec or path.suffix.lower() in suffixes:
        raise CaptureError(f"source {spec!r}: no such file or folder; {_EXPECTED}")
    try:
        return open_camera(spec, options)
    except CaptureError as error:
        raise CaptureError(f"{error}; there is no file or folder {spec!r} either") from error


def _check_name(path: Path, spec: str) -> None:
    """Refuse a name that the system does not look up: too long, a loop of links, no right to."""
    try:
        check_name(path)
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return  # it may mean something else
    except OSError as error:
        raise CaptureError(
            f"source {spec!r}: cannot be looked up: {error.strerror}; {_EXPECTED}"
        ) from error


def _open_camera_number(spec: str, options: SourceOptions) -> VideoSource:
    """Open the camera of an index; where there is none, say that a file is called so."""
    try:
        return open_camera(spec, options)
    except CaptureError as error:
        if not Path(spec).exists():
            raise
        raise CaptureError(
            f"{error}; for the file or folder that is called {spec} here write ./{spec}"
        ) from error


def _path_of_address(spec: str) -> str:
    """Return the path in `file:NAME` or `file:///PATH`, as file managers give it."""
    if re.match(r"file://(localhost)?/", spec, re.IGNORECASE):
        return url2pathname(urlsplit(spec).path)
    return spec[len("file:") :]


def _open_file(path: Path, spec: str, options: SourceOptions) -> VideoSource:
    try:
        picture = not is_pipe(path) and is_picture(path)  # a pipe can be read once only
    except OSError as error:
        raise CaptureError(
            f"source {spec!r}: cannot be read: {error.strerror or error}; "
            "check that you may read it"
        ) from error
    if picture:
        return open_picture(path, spec, options)
    return VideoFile.open(path, spec, options.max_megapixels)
