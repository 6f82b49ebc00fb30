"""Colours of videos: what tags mean, what is meant without them, pixel formats, HDR."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from samcam.live.frames import Frame
from tests.helpers.clips import Clip, frames_of, write_clip
from tests.helpers.synthetic_video import CORNERS, corner_order, read_number

# Y 120, Cb 90, Cr 170 as BGR, from the definitions of BT.601, BT.709 and BT.2020.
LEVELS = (120, 90, 170)
COLOURS = {
    ("601", "limited"): (44, 102, 188),
    ("709", "limited"): (41, 107, 196),
    ("2020", "limited"): (40, 101, 192),
    ("601", "full"): (53, 103, 179),
    ("709", "full"): (49, 107, 186),
}


@pytest.mark.parametrize(
    ("size_wh", "tags", "meant"),
    [
        ((96, 64), (0, 2, 2, 2), ("601", "limited")),
        ((720, 576), (0, 2, 2, 2), ("601", "limited")),
        ((1280, 720), (0, 2, 2, 2), ("709", "limited")),
        ((720, 1280), (0, 2, 2, 2), ("709", "limited")),
        ((1280, 720), (1, 6, 6, 6), ("601", "limited")),
        ((1280, 720), (1, 5, 6, 5), ("601", "limited")),
        ((96, 64), (1, 1, 1, 1), ("709", "limited")),
        ((96, 64), (1, 9, 14, 9), ("2020", "limited")),
        ((96, 64), (2, 6, 6, 6), ("601", "full")),
        ((1280, 720), (2, 2, 2, 2), ("709", "full")),
        ((96, 64), (1, 2, 2, 8), ("601", "limited")),
        ((1280, 720), (1, 2, 2, 3), ("709", "limited")),
    ],
)
def test_colours_are_those_that_the_tags_mean(
    tmp_path: Path,
    size_wh: tuple[int, int],
    tags: tuple[int, int, int, int],
    meant: tuple[str, str],
) -> None:
    """HD without tags is BT.709, as players have it; it was BT.601, which makes skin yellowish.

    Matrices that the scaler has not (8, YCgCo) or that do not exist (3) ended in a traceback.
    """
    clip = Clip(size_wh=size_wh, count=1, planes=LEVELS, tags=tags)
    (frame,) = frames_of(write_clip(tmp_path / "clip.mkv", clip))
    middle = frame.image_bgr[size_wh[1] // 2, size_wh[0] // 2]
    assert np.abs(middle.astype(int) - COLOURS[meant]).max() <= 2


@pytest.mark.parametrize(
    ("codec", "pix_fmt"),
    [
        ("libx264", "yuv422p"),
        ("libx264", "yuv444p"),
        ("libx264", "yuv420p10le"),
        ("libx264", "yuv422p10le"),
        ("libx264rgb", "rgb24"),
        ("ffv1", "bgra"),
        ("ffv1", "yuva420p"),
        ("ffv1", "gbrp16le"),
        ("rawvideo", "uyvy422"),
        ("qtrle", "argb"),
    ],
)
def test_pixel_formats(tmp_path: Path, codec: str, pix_fmt: str) -> None:
    suffix = ".mov" if codec == "qtrle" else ".mkv"
    path = write_clip(tmp_path / f"clip{suffix}", Clip(codec=codec, pix_fmt=pix_fmt))
    frames = frames_of(path)
    assert [read_number(frame.image_bgr) for frame in frames] == [0, 1, 2]
    assert corner_order(frames[0].image_bgr) == CORNERS


def test_gray_is_gray(tmp_path: Path) -> None:
    for pix_fmt in ("gray", "gray16le"):
        path = write_clip(tmp_path / f"{pix_fmt}.mkv", Clip(codec="ffv1", pix_fmt=pix_fmt))
        for number, frame in enumerate(frames_of(path)):
            assert read_number(frame.image_bgr) == number
            assert (frame.image_bgr == frame.image_bgr[..., :1]).all()


@pytest.mark.parametrize("transfer", [16, 18], ids=["PQ", "HLG"])
def test_hdr_is_tone_mapped_and_said(
    tmp_path: Path, transfer: int, caplog: pytest.LogCaptureFixture
) -> None:
    """PQ's numbers shown as they are make a dull gray picture: diffuse white is at 58 %."""
    white = {16: 143, 18: 180}[transfer]  # 203 cd/m2, of limited range, BT.2408
    clip = Clip(
        count=4,
        planes=(0, 128, 128),
        luma=(16, 64, white, 235),
        tags=(1, 9, transfer, 9),
    )
    path = write_clip(tmp_path / "hdr.mkv", clip)
    with caplog.at_level(logging.WARNING):
        frames = frames_of(path)
    assert caplog.text.count("HDR, shown tone-mapped") == 1
    pixels = [frame.image_bgr[32, 48].astype(int) for frame in frames]
    black, dark, diffuse, brightest = (int(pixel.mean()) for pixel in pixels)
    assert all(np.ptp(pixel) <= 3 for pixel in pixels), "gray stays gray"
    assert black <= 2
    assert dark < diffuse < brightest
    assert diffuse > white + 20, "brighter than its number"
    assert brightest >= 230


@pytest.mark.long
@pytest.mark.shared
def test_a_real_hdr_clip_has_the_colours_of_an_ordinary_one(shared_dir: Path) -> None:
    """The same scene in HDR10 and in BT.601; dull means half of the colour is missing."""
    hdr = frames_of(shared_dir / "cases/sources/pq.mp4")
    plain = frames_of(shared_dir / "cases/sources/m_hflip.mp4")
    assert len(hdr) == 48

    def spread(frame: Frame) -> float:
        return float(np.ptp(frame.image_bgr.astype(int), axis=2).mean())

    assert spread(hdr[0]) > 0.7 * spread(plain[0])
