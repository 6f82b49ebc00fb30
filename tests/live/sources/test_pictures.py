"""Picture files as a good viewer shows them: whole, upright, in their colours, with their times."""

from __future__ import annotations

import io
import logging
import struct
import sys
import zlib
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from samcam.live.frames import U8
from samcam.live.sources.choose import open_source
from samcam.live.sources.options import SourceOptions
from tests.helpers.heif_files import HeicSpec, write_heic
from tests.live.sources.test_sources_files import error_of, read_all

OPTIONS = SourceOptions()


def scene(size_wh: tuple[int, int] = (60, 40)) -> U8:
    """A picture whose corners differ, as RGB: red, green, blue, and a gray ramp."""
    width, height = size_wh
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[: height // 2, : width // 2] = (220, 20, 30)
    rgb[: height // 2, width // 2 :] = (10, 200, 40)
    rgb[height // 2 :, : width // 2] = (30, 40, 210)
    rgb[height // 2 :, width // 2 :] = np.linspace(20, 240, width - width // 2)[:, None]
    return rgb


def pillow_sees(path: Path) -> U8:
    """What Pillow makes of the file: BGR, upright."""
    with Image.open(path) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))[:, :, ::-1]


def opened(path: Path, options: SourceOptions = OPTIONS) -> list[U8]:
    return [frame.image_bgr for frame in read_all(open_source(str(path), options))]


def difference(one: U8, other: U8) -> float:
    assert one.shape == other.shape
    return float(np.abs(one.astype(int) - other).mean())


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_in_every_format(tmp_path: Path, suffix: str, orientation: int) -> None:
    """OpenCV turned JPEGs only."""
    path = tmp_path / f"turned{suffix}"
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(scene()).save(path, exif=exif, quality=95)
    (seen,) = opened(path)
    bgr = scene()[:, :, ::-1]
    want = {
        1: bgr,
        2: bgr[:, ::-1],
        3: bgr[::-1, ::-1],
        4: bgr[::-1],
        5: bgr.transpose(1, 0, 2),
        6: np.rot90(bgr, -1),
        7: bgr[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(bgr),
    }[orientation]
    assert difference(want, seen) < 8
    assert difference(pillow_sees(path), seen) == 0


@pytest.mark.parametrize(
    ("name", "mode", "said"),
    [
        ("gray.png", "L", ""),
        ("bits.png", "1", ""),
        ("palette.png", "P", ""),
        ("palette.gif", "P", ""),
        ("plain.bmp", "RGB", ""),
        ("plain.tga", "RGB", ""),
        ("plain.jp2", "RGB", ""),
        ("print.jpg", "CMYK", ""),
        ("print.tif", "CMYK", ""),
        ("lab.tif", "LAB", ""),
        ("gray_alpha.png", "LA", "transparency"),
        ("alpha.png", "RGBA", "transparency"),
        ("alpha.webp", "RGBA", "transparency"),
        ("alpha.tif", "RGBA", "transparency"),
    ],
)
def test_every_mode_looks_as_pillow_has_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, mode: str, said: str
) -> None:
    picture = Image.fromarray(scene())
    if mode in ("LA", "RGBA"):
        alpha = np.full((40, 60), 255, np.uint8)
        alpha[:10] = 0
        picture = picture.convert(mode)
        picture.putalpha(Image.fromarray(alpha))
    elif mode == "LAB":
        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        made = ImageCms.profileToProfile(picture, *profiles, outputMode="LAB")
        assert made is not None
        picture = made
    path = tmp_path / name
    picture.convert(mode).save(path)
    with caplog.at_level(logging.WARNING):
        (seen,) = opened(path)
    if mode == "LAB":  # which Pillow converts with a profile only
        assert difference(scene()[:, :, ::-1], seen) < 8
    else:
        assert difference(pillow_sees(path), seen) == 0
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == bool(said)
    assert said in " ".join(lines)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("bits", [10, 12, 16])
def test_more_than_eight_bits(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, suffix: str, channels: int, bits: int
) -> None:
    """Cameras store 12 bits in 16 without scaling them: the picture was black."""
    ramp = np.linspace(0, (1 << bits) - 1, 60).astype(np.uint16)
    samples = np.tile(ramp, (40, 1))
    if channels == 3:
        samples = np.stack((samples, samples[:, ::-1], samples // 2), axis=2)
    path = tmp_path / f"deep{suffix}"
    assert cv2.imwrite(str(path), samples)
    with caplog.at_level(logging.WARNING):
        (seen,) = opened(path)
    want = (samples >> (bits - 8)).astype(np.uint8)
    assert (seen == (want if channels == 3 else want[:, :, None])).all()
    (line,) = [record.getMessage() for record in caplog.records]
    assert f"{bits} of its 16 bits" in line if bits < 16 else "16 bits a channel" in line


def test_a_dark_picture_among_bright_ones_stays_dark(tmp_path: Path) -> None:
    """What the first picture shows of its bits holds for the folder: no flicker."""
    for name, most in (("0.png", 65535), ("1.png", 3000)):
        ramp = np.tile(np.linspace(0, most, 60).astype(np.uint16), (40, 1))
        assert cv2.imwrite(str(tmp_path / name), ramp)
    bright, dark = opened(tmp_path)
    assert (bright.max(), dark.max()) == (255, 3000 >> 8)


def test_a_colour_profile_is_followed_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Without it the colours of an iPhone, or of a file for print, are others."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    Image.fromarray(scene()).save(tmp_path / "srgb.png", icc_profile=srgb.tobytes())
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ"))
    Image.fromarray(scene()).save(tmp_path / "other.png", icc_profile=lab.tobytes())
    Image.fromarray(scene()).save(tmp_path / "damaged.png", icc_profile=b"no profile at all")
    with caplog.at_level(logging.WARNING):
        (plain,) = opened(tmp_path / "srgb.png")
        assert not caplog.records
        (damaged,) = opened(tmp_path / "damaged.png")
    assert difference(scene()[:, :, ::-1], plain) == 0
    assert difference(plain, damaged) == 0
    assert "colour profile cannot be used" in caplog.text


def swapped_profile() -> bytes:
    """An sRGB profile whose red and green primaries have changed places."""
    data = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = data.replace(b"s\0R\0G\0B", b"o\0d\0d\0 ")
    return data.replace(b"rXYZ", b"tmpX").replace(b"gXYZ", b"rXYZ").replace(b"tmpX", b"gXYZ")


def test_colours_go_through_the_profile(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "odd.png"
    Image.fromarray(scene()).save(path, icc_profile=swapped_profile())
    with caplog.at_level(logging.WARNING):
        (seen,) = opened(path)
    assert difference(scene()[:, :, [2, 0, 1]], seen) < 3
    assert "to sRGB" in caplog.text


def test_black_at_the_start_says_nothing_of_the_bits(tmp_path: Path) -> None:
    """A film of 12 bits that begins in the dark stayed nearly black."""
    for name, most in (("0.png", 0), ("1.png", 4095)):
        ramp = np.tile(np.linspace(0, most, 60).astype(np.uint16), (40, 1))
        assert cv2.imwrite(str(tmp_path / name), ramp)
    black, bright = opened(tmp_path)
    assert (black.max(), bright.max()) == (0, 255)


@pytest.mark.parametrize("suffix", [".webp", ".png", ".gif", ".avif"])
def test_moving_pictures_are_frames_with_their_own_times(tmp_path: Path, suffix: str) -> None:
    """48 pictures were one."""
    path = tmp_path / f"moving{suffix}"
    pictures = [Image.fromarray(np.full((32, 48, 3), 40 * i, np.uint8)) for i in range(6)]
    durations = [40, 100, 20, 500, 0 if suffix == ".gif" else 30, 60]
    pictures[0].save(
        path, save_all=True, append_images=pictures[1:], duration=durations, lossless=True
    )
    source = open_source(str(path), SourceOptions(repeat_picture=True))
    assert (source.info.kind, source.info.size_wh, source.info.frame_count) == ("file", (48, 32), 6)
    assert 10 <= source.info.fps <= 50
    frames = read_all(source)
    assert [round(frame.image_bgr.mean() / 40) for frame in frames] == list(range(6))
    ms = [frame.time_ns / 1e6 for frame in frames]
    told = [0, 40, 140, 160, 660, 760 if suffix == ".gif" else 690]
    assert ms == pytest.approx(told, abs=1.01)


def test_the_still_of_a_moving_png_is_not_part_of_it(tmp_path: Path) -> None:
    path = tmp_path / "moving.png"
    pictures = [Image.fromarray(np.full((32, 48, 3), 60 * i, np.uint8)) for i in range(4)]
    pictures[0].save(
        path, save_all=True, append_images=pictures[1:], duration=50, default_image=True
    )
    assert [round(seen.mean() / 60) for seen in opened(path)] == [1, 2, 3]


def test_pages_are_all_shown_and_thumbnails_are_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "scan.tif"
    pages = [Image.fromarray(np.full((40, 60, 3), 50 * i, np.uint8)) for i in range(1, 4)]
    small = Image.fromarray(np.full((10, 15, 3), 9, np.uint8))
    small.encoderinfo = {"tiffinfo": {254: 1}}
    pages[0].save(path, save_all=True, append_images=[pages[1], small, pages[2]])
    with caplog.at_level(logging.WARNING):
        frames = read_all(open_source(str(path), SourceOptions(fps=10)))
    assert [round(frame.image_bgr.mean() / 50) for frame in frames] == [1, 2, 3]
    assert [frame.time_ns for frame in frames] == [0, 100_000_000, 200_000_000]
    assert "1 thumbnails or masks in it are left out" in caplog.text


def test_pages_of_other_sizes_keep_their_shape(tmp_path: Path) -> None:
    path = tmp_path / "scan.tif"
    wide, tall = Image.new("RGB", (60, 40), "white"), Image.new("RGB", (40, 60), "red")
    wide.save(path, save_all=True, append_images=[tall])
    first, second = opened(path)
    assert first.shape == second.shape == (40, 60, 3)
    red = (second == (0, 0, 255)).all(axis=2)
    assert red[:, 18:42].all()
    assert not second[:, :15].any()
    assert not second[:, 45:].any()


@pytest.mark.parametrize("suffix", [".heic", ".heif", ".HEIC"])
@pytest.mark.parametrize(
    "spec",
    [
        HeicSpec(),
        HeicSpec(clap_wh=(120, 90)),
        HeicSpec(turns=1),
        HeicSpec(turns=3, mirror=1),
        HeicSpec(clap_wh=(90, 100), turns=2, mirror=0),
        HeicSpec(avif=True),
        HeicSpec(avif=True, clap_wh=(120, 90)),
        HeicSpec(avif=True, clap_wh=(90, 100), turns=1),
        HeicSpec(avif=True, clap_wh=(90, 100), turns=3, mirror=1),
    ],
    ids=lambda spec: str(spec)[9:-1],
)
def test_a_heic_of_a_phone_is_whole_and_upright(
    tmp_path: Path, spec: HeicSpec, suffix: str
) -> None:
    """FFmpeg gave the first tile, as it lay in the sensor."""
    bgr = np.ascontiguousarray(scene((150, 110))[:, :, ::-1])
    path = write_heic(tmp_path / f"IMG_1{suffix}", bgr, spec)
    if spec.clap_wh is not None:
        width, height = spec.clap_wh
        x, y = (150 - width) // 2, (110 - height) // 2
        bgr = bgr[y : y + height, x : x + width]
    bgr = np.rot90(bgr, spec.turns)
    if spec.mirror is not None:
        bgr = bgr[:, ::-1] if spec.mirror else bgr[::-1]
    (seen,) = opened(path)
    assert difference(bgr, seen) < 2


def test_heic_without_its_package_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_heic(tmp_path / "IMG_1.heic", np.full((60, 80, 3), 99, np.uint8), HeicSpec())
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    assert 'pip install -c constraints.txt -e ".[heif]"' in error_of(path)
    assert '".[heif]"' in error_of(tmp_path), "and in a folder"


def test_a_film_that_a_phone_calls_heic_is_played(tmp_path: Path) -> None:
    path = tmp_path / "burst.heics"
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(10))
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(4):
            gray = np.full((48, 64, 3), 50 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(gray, "bgr24")))
        container.mux(stream.encode())
    data = file.getvalue()
    path.write_bytes(data[:8] + b"msf1" + data[12:])
    assert len(opened(path)) == 4


def png_of_size(width: int, height: int) -> bytes:
    """A PNG header that promises this size, with hardly any data."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = zlib.compress(bytes(1000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("suffix", [".png", ".gif", ".bmp", ".tif", ".jpg", ".webp", ".avif"])
def test_the_size_is_looked_at_before_a_picture_is_decoded(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"large{suffix}"
    Image.new("RGB", (400, 300)).save(path)
    message = error_of(path, SourceOptions(max_megapixels=0.1))
    assert "400x300 pixels are 0.1 megapixels; expected at most 0.1" in message
    assert "source.max_megapixels" in message
    assert len(opened(path, SourceOptions(max_megapixels=0.12))) == 1


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("photo.jxl", b"\xff\x0a\xfa\x1f", "JPEG XL"),
        ("photo.png", b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        ("photo.nef", b"MM\0*\0\0\0\x08\0\0", "raw pictures of cameras"),
        ("photo.jpg", b"", "is empty"),
        ("photo.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "not a readable picture"),
        ("photo.avif", b"\0\0\0\x18ftypavif\0\0\0\0mif1avif", "not a readable picture"),
        ("photo.webp", b"RIFF\x10\0\0\0WEBPVP8 ", "not a readable picture"),
        ("photo.tif", b"II*\0\x08\0\0\0\xff\xff", "not a readable picture"),
    ],
)
def test_what_is_not_read_is_one_clear_line(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    message = error_of(path)
    assert said in message
    assert name in message


def test_a_name_that_lies_about_the_content(tmp_path: Path) -> None:
    picture = Image.fromarray(scene())
    picture.save(tmp_path / "clip.mp4", format="PNG")
    picture.save(tmp_path / "photo.png", format="JPEG")
    assert len(opened(tmp_path / "clip.mp4")) == len(opened(tmp_path / "photo.png")) == 1


def test_a_truncated_jpeg_is_refused_and_named(tmp_path: Path) -> None:
    path = tmp_path / "half.jpg"
    Image.fromarray(scene((600, 400))).save(path)
    path.write_bytes(path.read_bytes()[:3000])
    assert "truncated" in error_of(path)
