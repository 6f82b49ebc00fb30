"""Which colours the numbers of a decoded frame mean, also where its tags do not say it."""

from __future__ import annotations

from typing import Final, TypedDict

from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorTrc

# AVColorSpace, the matrix between YCbCr and RGB; PyAV's `Colorspace` has the scaler's numbers.
_BT709: Final = 1
_BT601: Final = 6
_BT2020: Final = 9
_BT2020_CONSTANT: Final = 10
# Unspecified, reserved, and what the scaler cannot do are guessed.
_KNOWN: Final = frozenset((_BT709, 4, 5, _BT601, 7, _BT2020))
_HDR: Final = frozenset((ColorTrc.SMPTE2084.value, ColorTrc.ARIB_STD_B67.value))
_RANGES: Final = frozenset((0, 1, 2))
# As players have it (mpv's rule): larger pictures are HD.
_SD_MOST_WIDTH, _SD_MOST_HEIGHT = 1279, 576


class ToneMapping(TypedDict, total=False):
    """Arguments of `VideoReformatter.reformat` that make the scaler convert light, not numbers."""

    dst_color_trc: int
    dst_color_primaries: int


def is_hdr(frame: VideoFrame) -> bool:
    """Return whether the frame's numbers are light as of HDR10, Dolby Vision 8 (PQ) or HLG."""
    return frame.color_trc in _HDR


def tag_colours(frame: VideoFrame) -> None:
    """Set the tags that a frame lacks, as players guess them.

    Without a matrix HD is BT.709, smaller pictures are BT.601, HDR is BT.2020. Without a range the
    scaler takes the limited one, and the full one for "yuvj" formats and RGB.
    """
    if frame.color_range not in _RANGES:
        frame.color_range = 0
    if is_hdr(frame) and frame.color_primaries in (0, ColorPrimaries.UNSPECIFIED.value):
        frame.color_primaries = ColorPrimaries.BT2020.value
    if frame.format.is_rgb or frame.colorspace in _KNOWN:
        return
    if is_hdr(frame) or frame.colorspace == _BT2020_CONSTANT:
        frame.colorspace = _BT2020
    elif frame.width > _SD_MOST_WIDTH or frame.height > _SD_MOST_HEIGHT:
        frame.colorspace = _BT709
    else:
        frame.colorspace = _BT601


def tone_mapping(frame: VideoFrame) -> ToneMapping:
    """Return what makes the scaler tone-map an HDR frame; nothing for all others."""
    if not is_hdr(frame):
        return {}
    return {
        "dst_color_trc": ColorTrc.BT709.value,
        "dst_color_primaries": ColorPrimaries.BT709.value,
    }
