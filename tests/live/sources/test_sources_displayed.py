"""Videos as a good player shows them: turned and mirrored, square pixels, streams, sizes."""

from __future__ import annotations

import io
import logging
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageOps

from samcam.live.effects.background_video import BackgroundVideo
from samcam.live.errors import CaptureError
from samcam.live.frames import U8
from samcam.live.sources.options import SourceOptions
from samcam.live.sources.video.displayed import letterboxed, orientation_of
from samcam.live.sources.video.side_data import container_crop
from tests.conftest import RunCli
from tests.helpers.clips import (
    ONE,
    Clip,
    crop_in_mkv,
    crop_in_mp4,
    frames_of,
    vc1_in_mkv,
    write_clip,
)
from tests.helpers.synthetic_video import (
    CORNERS,
    corner_order,
    numbered_picture,
    read_number,
    serve_file,
)

TL, TR, BL, BR = CORNERS
EIGHT = {
    "as it is": ((1, 0, 0, 1), (TL, TR, BL, BR)),
    "mirrored left to right": ((-1, 0, 0, 1), (TR, TL, BR, BL)),
    "half a turn": ((-1, 0, 0, -1), (BR, BL, TR, TL)),
    "upside down": ((1, 0, 0, -1), (BL, BR, TL, TR)),
    "transposed": ((0, 1, 1, 0), (TL, BL, TR, BR)),
    "a quarter clockwise": ((0, 1, -1, 0), (BL, TL, BR, TR)),
    "transposed the other way": ((0, -1, -1, 0), (BR, TR, BL, TL)),
    "a quarter counter-clockwise": ((0, -1, 1, 0), (TR, BR, TL, BL)),
}


@pytest.mark.parametrize("name", EIGHT)
@pytest.mark.parametrize("aspect", [None, Fraction(2)])
def test_every_display_matrix(tmp_path: Path, name: str, aspect: Fraction | None) -> None:
    """Those with a mirror were turned instead.

    The matrix shows (x, y) at (a x + c y, b x + d y); pixels are made square before that.
    """
    matrix, seen = EIGHT[name]
    path = write_clip(tmp_path / "clip.mp4", Clip(matrix=matrix, aspect=aspect))
    upright = (96 if aspect is None else 192, 64)
    lying = matrix[0] == 0
    for frame in frames_of(path):
        assert frame.size_wh == (upright[::-1] if lying else upright)
        assert corner_order(frame.image_bgr) == seen


def test_a_matrix_that_turns_by_an_odd_angle_is_none() -> None:
    def packed(*values: int) -> bytes:
        return np.array([*values, 0, 0, 0, 0], np.int32).tobytes()

    assert orientation_of(packed(46341, 46341, 0, -46341, 46341)) is None
    assert orientation_of(packed(0, 0, 0, 0, 0)) is None
    scaled = orientation_of(packed(-2 * ONE, 0, 0, 0, ONE // 3))
    assert scaled is not None
    assert scaled.flipped_x


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_camera_pictures(tmp_path: Path, orientation: int) -> None:
    """EXIF in the pictures of an MJPEG recording: it ended in a traceback."""
    picture = Image.fromarray(np.ascontiguousarray(numbered_picture(3)[..., ::-1]))
    exif = Image.Exif()
    exif[0x112] = orientation
    jpeg = io.BytesIO()
    picture.save(jpeg, "JPEG", exif=exif)
    path = tmp_path / "camera.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuvj420p"
        for number in range(2):
            packet = av.Packet(jpeg.getvalue())
            packet.stream, packet.time_base, packet.is_keyframe = stream, Fraction(1, 25), True
            packet.pts = packet.dts = number
            container.mux(packet)
    upright = np.array(ImageOps.exif_transpose(Image.open(jpeg)))[..., ::-1]
    for frame in frames_of(path):
        assert frame.size_wh == (upright.shape[1], upright.shape[0])
        assert corner_order(frame.image_bgr) == corner_order(upright)


@pytest.mark.shared
def test_a_display_orientation_in_the_stream_holds(shared_dir: Path) -> None:
    """H.264 says it once, with the first frame; only that one was turned."""
    turned = frames_of(shared_dir / "cases/sources/sei_rot90.mp4")
    plain = frames_of(shared_dir / "cases/sources/reboot.ts")  # the same scene twice
    assert len(turned) == 48
    for ours, upright in zip(turned, plain, strict=False):
        assert ours.size_wh == (180, 320)
        again = np.rot90(ours.image_bgr, -1)  # it was turned counter-clockwise
        assert np.abs(again.astype(int) - upright.image_bgr).mean() < 3


@pytest.mark.shared
def test_the_whole_command_on_a_mirrored_turned_clip(
    shared_dir: Path, run_cli: RunCli, nano_dir: Path
) -> None:
    result = run_cli(
        *("--source", str(shared_dir / "cases/sources/m_rot90_mirror.mp4")),
        *("--prompt", "point=40,30", "--output", "masks:m", "--output", "video:v.mp4"),
    )
    assert result.returncode == 0, result.stderr
    assert "180x320" in result.stderr
    with av.open(str(result.cwd / "v.mp4")) as container:
        first = next(container.decode(video=0)).to_ndarray(format="bgr24")
    with av.open(str(shared_dir / "cases/sources/m_rot90_mirror.mp4")) as container:
        coded = next(container.decode(video=0)).to_ndarray(format="bgr24")
    difference = np.abs(first.astype(int) - coded.transpose(1, 0, 2)).mean()
    assert difference < 12, "an effect and a codec lie between them, but no turn"


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
@pytest.mark.parametrize(
    ("aspect", "width"), [(Fraction(2), 192), (Fraction(16, 15), 102), (Fraction(8, 9), 85)]
)
def test_pixels_are_made_square(tmp_path: Path, suffix: str, aspect: Fraction, width: int) -> None:
    """As ffmpeg's scale=iw*sar:ih; a pixel twice as wide was shown half as wide."""
    path = write_clip(tmp_path / f"clip{suffix}", Clip(aspect=aspect))
    for number, frame in enumerate(frames_of(path)):
        assert frame.size_wh == (width, 64)
        assert read_number(frame.image_bgr) == number
        assert corner_order(frame.image_bgr) == CORNERS


def test_pixels_of_a_recording_and_a_background_are_square_too(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", Clip(aspect=Fraction(2)))
    with serve_file(path) as url:
        assert [frame.size_wh for frame in frames_of(url)] == [(192, 64)] * 3
    background = BackgroundVideo(path, "clip.mp4")
    picture = background.picture(0, (192, 64))
    background.close()
    assert corner_order(picture) == CORNERS


def test_a_strange_pixel_aspect_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A damaged header must not make a picture of millions of columns."""
    path = write_clip(tmp_path / "clip.mp4", Clip(aspect=Fraction(50)))
    with caplog.at_level(logging.WARNING):
        frames = frames_of(path)
    assert [frame.size_wh for frame in frames] == [(96, 64)] * 3
    assert caplog.text.count("pixel aspect 50") == 1


def test_a_size_and_an_aspect_that_change_are_letter_boxed(tmp_path: Path) -> None:
    """Two recordings of other sizes in one file: the second was stretched."""
    parts = [
        Clip(),
        Clip(size_wh=(64, 96)),
        Clip(aspect=Fraction(2)),
        Clip(size_wh=(192, 128)),
    ]
    data = b"".join(
        write_clip(tmp_path / f"{i}.ts", clip).read_bytes() for i, clip in enumerate(parts)
    )
    path = tmp_path / "joined.ts"
    path.write_bytes(data)
    frames = frames_of(path)
    assert len(frames) == 12
    whole, upright, wide, large = (frames[3 * i + 2].image_bgr for i in range(4))
    assert corner_order(whole) == corner_order(large) == CORNERS
    assert not upright[:, :25].any()
    assert not upright[:, -25:].any()
    assert corner_order(upright[:, 28:68]) == CORNERS
    assert not wide[:15].any()
    assert not wide[-15:].any()
    assert corner_order(wide[17:47]) == CORNERS


@pytest.mark.parametrize("size_wh", [(96, 64), (97, 13), (1, 1), (5, 300)])
def test_letter_boxed_keeps_the_whole_picture(size_wh: tuple[int, int]) -> None:
    image: U8 = np.full((48, 72, 3), 200, np.uint8)
    boxed = letterboxed(image, size_wh)
    assert boxed.shape == (size_wh[1], size_wh[0], 3)
    assert boxed.any()


def write_streams(path: Path, sizes_wh: list[tuple[int, int]], default: int | None) -> Path:
    """Write video streams of these sizes whose pictures have their place as number."""
    with av.open(str(path), "w") as container:
        streams = []
        for width, height in sizes_wh:
            stream = container.add_stream("mjpeg", rate=25)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuvj420p"
            streams.append(stream)
        for place, stream in enumerate(streams):
            flag = av.stream.Disposition.default
            stream.disposition = flag if place == default else av.stream.Disposition(0)
        for _ in range(3):
            for place, stream in enumerate(streams):
                picture = numbered_picture(place, sizes_wh[place])
                frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    ("default", "shown"), [(None, 1), (0, 0), (2, 2)], ids=["largest", "first", "last"]
)
def test_the_default_or_largest_stream_is_shown(
    tmp_path: Path, default: int | None, shown: int
) -> None:
    """A camera's preview stream came first in the file, and was shown."""
    sizes_wh = [(96, 64), (192, 128), (128, 96)]
    path = write_streams(tmp_path / "clip.mkv", sizes_wh, default)
    frames = frames_of(path)
    assert [frame.size_wh for frame in frames] == [sizes_wh[shown]] * 3
    assert [read_number(frame.image_bgr) for frame in frames] == [shown] * 3


def test_what_is_left_out_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clip = Clip(codec="ffv1", pix_fmt="yuva420p", planes=(120, 128, 128, 40))
    with caplog.at_level(logging.WARNING):
        frames_of(write_clip(tmp_path / "see_through.mkv", clip))
        frames_of(write_clip(tmp_path / "opaque.mkv", Clip(codec="ffv1", pix_fmt="bgra")))
    assert caplog.text.count("has transparency") == 1
    assert "see_through" in caplog.text


def test_interlaced_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "fields.mpg"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg2video", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.options = {"flags": "+ildct+ilme", "top": "1"}
        for number in range(4):
            picture = numbered_picture(number)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        container.mux(stream.encode())
    with caplog.at_level(logging.WARNING):
        assert len(frames_of(path)) == 4
    assert caplog.text.count(": interlaced,") == 1


@pytest.mark.parametrize("size_wh", [(1, 1), (2, 2), (3, 5), (161, 97)])
def test_small_and_odd_sizes(tmp_path: Path, size_wh: tuple[int, int]) -> None:
    planes = (90, 60, 30)
    clip = Clip(size_wh=size_wh, codec="ffv1", pix_fmt="yuv444p", planes=planes)
    assert [f.size_wh for f in frames_of(write_clip(tmp_path / "a.mkv", clip))] == [size_wh] * 3


def test_large_pictures_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    """A few kilobytes of video can hold pictures of a hundred megapixels."""
    path = write_clip(tmp_path / "large.mkv", Clip(size_wh=(640, 480), count=1))
    few = SourceOptions(max_megapixels=0.2)
    with pytest.raises(CaptureError, match=r"640 x 480 .*source.max_megapixels = 0.2"):
        frames_of(path, few)
    with serve_file(path) as url, pytest.raises(CaptureError, match=r"max_megapixels"):
        frames_of(url, few)
    wide = write_clip(tmp_path / "wide.mkv", Clip(size_wh=(160, 120), aspect=Fraction(9)))
    with pytest.raises(CaptureError, match=r"1440 x 120 .*source.max_megapixels = 0.1"):
        frames_of(wide, SourceOptions(max_megapixels=0.1))


def test_any_limit_of_the_settings_reads_an_ordinary_file(tmp_path: Path) -> None:
    """Beyond FFmpeg's own largest number no video could be read any more."""
    path = write_clip(tmp_path / "a.mkv", Clip())
    assert len(frames_of(path, SourceOptions(max_megapixels=4000))) == 3


def test_a_size_that_grows_beyond_the_limit_is_not_decoded(tmp_path: Path) -> None:
    small = write_clip(tmp_path / "a.ts", Clip()).read_bytes()
    large = write_clip(tmp_path / "b.ts", Clip(size_wh=(640, 480))).read_bytes()
    path = tmp_path / "joined.ts"
    path.write_bytes(small + large)
    with pytest.raises(CaptureError, match="max_megapixels"):
        frames_of(path, SourceOptions(max_megapixels=0.2))


@pytest.mark.parametrize("codec", ["libx264", "libsvtav1"])
@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_what_a_container_crops_is_not_shown(tmp_path: Path, suffix: str, codec: str) -> None:
    """Matroska's PixelCrop and mp4's clean aperture; both were ignored.

    Those of AV1 for longer: its decoder is not called as an encoder is.
    """
    path = write_clip(tmp_path / f"clip{suffix}", Clip(codec=codec))
    whole = frames_of(path)
    left, top, right, bottom = crop = 16, 8, 12, 4
    if suffix == ".mkv":
        crop_in_mkv(path, crop)
    else:
        crop_in_mp4(path, (96, 64), crop)
    cropped = frames_of(path)
    assert len(cropped) == len(whole)
    for before, after in zip(whole, cropped, strict=True):
        assert after.size_wh == (68, 52)
        shown = before.image_bgr[top : 64 - bottom, left : 96 - right]
        assert np.array_equal(after.image_bgr, shown)


@pytest.mark.parametrize("crop", [(16, 8, 12, 4), (0, 0, 0, 6), (1, 0, 0, 3), (0, 0, 0, 0)])
def test_what_is_cropped_of_vc1_is_known(crop: tuple[int, int, int, int]) -> None:
    """This FFmpeg writes VC-1 to no Matroska file, from whose header all others are read."""
    with av.open(io.BytesIO(vc1_in_mkv((96, 64), crop))) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "vc1"
        assert container_crop(stream) == crop


def test_cropping_comes_before_pixel_aspect_and_turning(tmp_path: Path) -> None:
    """Numbers of the container are its pixels', which are neither square nor upright."""
    clip = Clip(aspect=Fraction(2), matrix=EIGHT["a quarter clockwise"][0])
    path = write_clip(tmp_path / "clip.mp4", clip)
    whole = frames_of(path)[0].image_bgr
    assert whole.shape == (192, 64, 3)
    crop_in_mp4(path, (96, 64), (16, 8, 0, 0))
    cropped = frames_of(path)[0].image_bgr
    assert cropped.shape == (160, 56, 3)
    assert np.abs(cropped.astype(int) - whole[32:, :56]).mean() < 2
