"""Decoded frames as a good player shows them: upright, in square pixels, in the right colours.

One order for every stream: the container's cropping, colours and pixel aspect (in one pass of the
scaler where nothing is cropped), then the display matrix. Where these change in the middle, the
picture is fitted by `letterboxed`, since prompts, masks and outputs keep the size of the first
picture.
"""

from __future__ import annotations

import logging
import math
import struct
import threading
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, cast

import av.error
import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream

from samcam.live.errors import CaptureError
from samcam.live.frames import U8
from samcam.live.sources.options import too_large
from samcam.live.sources.video.colours import is_hdr, tag_colours, tone_mapping
from samcam.live.sources.video.side_data import Crop, container_crop, display_matrix

_log = logging.getLogger(__name__)

# The scaler needs two seconds for its table of HDR colours: a file that is opened again, in a loop,
# takes that of the thread's last one.
_this_thread = threading.local()

_STRANGE_ASPECT: Final = 10  # beyond, either way, a pixel aspect is a damaged header
_UPRIGHT_WITHIN: Final = 0.02  # of a unit vector; a matrix farther off turns by an odd angle


@dataclass(frozen=True, slots=True)
class Orientation:
    """One of the eight ways to lay a picture: transposed first, then flipped."""

    transposed: bool = False
    flipped_x: bool = False
    flipped_y: bool = False

    def apply(self, image: U8) -> U8:
        """Return the (H, W, 3) picture laid this way, itself where nothing is to do."""
        if self.transposed:
            image = cast(U8, cv2.transpose(image))
        if self.flipped_x or self.flipped_y:
            code = (-1 if self.flipped_y else 1) if self.flipped_x else 0
            image = cast(U8, cv2.flip(image, code))
        return image


def orientation_of(matrix: bytes) -> Orientation | None:
    """Return how a display matrix lays the picture; None where it turns by no right angle.

    Args:
        matrix: FFmpeg's nine int32, 16.16 fixed point: (x, y) is shown at (a x + c y, b x + d y).
    """
    a, b, _, c, d = struct.unpack_from("=5i", matrix)
    upright, lying = math.hypot(a, d), math.hypot(b, c)
    if min(upright, lying) > _UPRIGHT_WITHIN * max(upright, lying) or upright == lying:
        return None
    if lying > upright:
        return Orientation(True, flipped_x=c < 0, flipped_y=b < 0)
    return Orientation(False, flipped_x=a < 0, flipped_y=d < 0)


def letterboxed(image: U8, size_wh: tuple[int, int]) -> U8:
    """Return a (H, W, 3) picture of a size, the given one whole in its middle, black around it."""
    height, width = image.shape[:2]
    if (width, height) == size_wh:
        return image
    scale = min(size_wh[0] / width, size_wh[1] / height)
    inner_w = min(size_wh[0], max(1, round(width * scale)))
    inner_h = min(size_wh[1], max(1, round(height * scale)))
    kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    boxed = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
    x, y = (size_wh[0] - inner_w) // 2, (size_wh[1] - inner_h) // 2
    boxed[y : y + inner_h, x : x + inner_w] = cv2.resize(
        image, (inner_w, inner_h), interpolation=kind
    )
    return boxed


def _is_transparent(frame: VideoFrame) -> bool:
    """Return whether a frame with an alpha channel makes use of it."""
    try:
        alpha = frame.to_ndarray(format="bgra")[..., 3]
    except (av.error.FFmpegError, OSError, ValueError):
        return False  # `picture` says what is wrong with it
    return bool((alpha < 255).any())


class DisplayedPictures:
    """Turns the decoded frames of one stream into what a player shows; used by one thread.

    What cannot be shown as it is meant is logged once.
    """

    def __init__(self, stream: VideoStream, name: str, max_megapixels: float) -> None:
        """Start before the first frame; `name` is what the user wrote, for messages."""
        self._context = stream.codec_context
        self._container_aspect = stream.sample_aspect_ratio
        # A container's own has precedence; else the two are the same, and the frames' may change.
        in_stream = self._context.sample_aspect_ratio
        self._aspect_of_frames = in_stream == self._container_aspect or not self._container_aspect
        self._name = name
        self._max_megapixels = max_megapixels
        self._crop = container_crop(stream)
        self._matrix = b""
        self._orientation = Orientation()
        self._reformatter = VideoReformatter()  # keeps the scaler from frame to frame
        self._scaler_of_cropped = VideoReformatter()
        self._tone_mapper: VideoReformatter | None = None
        self._looked_at_alpha = False
        self._warned: set[str] = set()

    def picture(self, frame: VideoFrame) -> U8:
        """Return a frame as (H, W, 3) uint8 BGR.

        Raises:
            CaptureError: It is larger than `max_megapixels`, or its pixel format is unknown.
        """
        self._orient(frame)
        width, height = self._square_size_wh(frame)
        if problem := too_large(width, height, self._max_megapixels):
            raise CaptureError(f"source {self._name!r}: {problem}")
        self._warn_of_what_is_not_shown(frame)
        tag_colours(frame)
        try:
            bgr = self._bgr(frame, (width, height))
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise CaptureError(
                f"source {self._name!r}: its pictures ({frame.format.name}) cannot be shown: "
                f"{error}; expected a usual pixel format such as yuv420p; convert it with ffmpeg"
            ) from error
        return self._orientation.apply(bgr)

    def _bgr(self, frame: VideoFrame, size_wh: tuple[int, int]) -> U8:
        """Return a frame, cropped and then scaled to a size, as (H, W, 3) BGR."""
        crop = self._crop_of(frame)
        is_scaled = size_wh != crop.size_wh(frame.width, frame.height)
        scaler = Interpolation.BICUBIC if is_scaled else None
        reformat = self._reformatter_for(frame).reformat
        mapped = tone_mapping(frame)
        if not any(crop):
            shown = reformat(frame, *size_wh, "bgr24", interpolation=scaler, **mapped)
            return cast(U8, shown.to_ndarray())
        whole = cast(U8, reformat(frame, format="bgr24", **mapped).to_ndarray())
        rows = slice(crop.top, frame.height - crop.bottom)
        image = np.ascontiguousarray(whole[rows, crop.left : frame.width - crop.right])
        if not is_scaled:
            return image
        cropped = VideoFrame.from_ndarray(image, format="bgr24")
        shown = self._scaler_of_cropped.reformat(cropped, *size_wh, interpolation=scaler)
        return cast(U8, shown.to_ndarray())

    def _crop_of(self, frame: VideoFrame) -> Crop:
        """Return what of a frame is cut off by the container; its stream's own was by decoding."""
        if min(self._crop.size_wh(frame.width, frame.height)) >= 1:
            return self._crop
        self._warn("its cropping is left out: it leaves nothing of the picture")
        return Crop()

    def _reformatter_for(self, frame: VideoFrame) -> VideoReformatter:
        if not is_hdr(frame):
            return self._reformatter
        if self._tone_mapper is None:
            self._tone_mapper = getattr(_this_thread, "tone_mapper", None) or VideoReformatter()
            _this_thread.tone_mapper = self._tone_mapper
        return self._tone_mapper

    def _square_size_wh(self, frame: VideoFrame) -> tuple[int, int]:
        """Return the cropped size in square pixels: as ffmpeg's scale=iw*sar:ih makes it."""
        aspect = self._container_aspect
        if self._aspect_of_frames:
            aspect = self._context.sample_aspect_ratio
        width, height = self._crop_of(frame).size_wh(frame.width, frame.height)
        if not aspect or aspect == 1:
            return width, height
        if not Fraction(1, _STRANGE_ASPECT) <= aspect <= _STRANGE_ASPECT:
            self._warn("its pixel aspect %s is left out: no picture has such pixels", aspect)
            return width, height
        return max(1, round(width * aspect)), height

    def _orient(self, frame: VideoFrame) -> None:
        """Take the display matrix of a frame; without one, that of the frame before holds."""
        matrix = display_matrix(frame)
        if matrix is None or matrix == self._matrix:
            return
        self._matrix = matrix
        orientation = orientation_of(matrix)
        if orientation is None:
            self._warn("its display matrix turns by %s degrees: shown unturned", frame.rotation)
        self._orientation = orientation or Orientation()

    def _warn_of_what_is_not_shown(self, frame: VideoFrame) -> None:
        if is_hdr(frame):
            self._warn("HDR, shown tone-mapped to BT.709 as on an ordinary screen")
        if frame.interlaced_frame:
            self._warn("interlaced, shown as it is: both fields of a frame in one picture")
        if any(part.is_alpha for part in frame.format.components) and not self._looked_at_alpha:
            self._looked_at_alpha = True  # every frame of a GIF could have some
            if _is_transparent(frame):
                self._warn("has transparency, which is left out: all of it is shown")

    def _warn(self, what: str, *values: object) -> None:
        if what not in self._warned:
            self._warned.add(what)
            _log.warning(f"source %r: {what}", self._name, *values)
