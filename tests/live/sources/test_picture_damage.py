"""Damaged picture files: one clear error each, whatever was broken, and nothing else."""

from __future__ import annotations

import io
import random
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from samcam.live.prompts.text import parse_prompts
from samcam.live.recording.values import Arrays
from samcam.live.sources.base import broken_frames
from samcam.live.sources.choose import open_source
from samcam.live.sources.options import SourceOptions
from samcam.live.sources.pictures.file import PictureError, PictureFile
from samcam.live.sources.pictures.images import read_picture
from tests.helpers.heif_files import HeicSpec, write_heic
from tests.live.sources.test_sources_files import read_all

NOISE = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)


def whole_files(folder: Path) -> list[tuple[str, bytes]]:
    """A file of each kind."""
    image = Image.fromarray(NOISE)
    exif = Image.Exif()
    exif[274] = 6
    files = []
    for suffix in ("png", "jpg", "gif", "webp", "tif", "avif", "bmp", "jp2", "ppm", "tga", "ico"):
        file = io.BytesIO()
        image.save(file, Image.registered_extensions()[f".{suffix}"], exif=exif)
        files.append((suffix, file.getvalue()))
    for suffix in ("png", "gif", "webp", "tif", "avif"):
        file = io.BytesIO()
        name = Image.registered_extensions()[f".{suffix}"]
        image.save(file, name, save_all=True, append_images=[image] * 2, duration=50)
        files.append((suffix, file.getvalue()))
    deep = cv2.imencode(".png", NOISE.astype(np.uint16) * 8)[1]
    heic = write_heic(folder / "whole.heic", NOISE, HeicSpec(turns=1, clap_wh=(40, 30)))
    return [*files, ("png", deep.tobytes()), ("heic", heic.read_bytes())]


def damaged(data: bytes, rng: random.Random) -> bytes:
    broken = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        at = min(rng.randrange(len(broken)), rng.choice((64, 200, 1 << 20)))
        match rng.randrange(4):
            case 0:
                broken[at] = rng.randrange(256)
            case 1:
                broken[at : at + 4] = rng.choice((b"\0\0\0\0", b"\xff" * 4, b"\x7f\xff\xff\xff"))
            case 2:
                del broken[at : at + rng.randrange(1, 20)]
            case _:
                broken = broken[: max(8, at)]
        broken = broken or bytearray(b"x")
    return bytes(broken)


PILLOWS_OWN = pytest.mark.expect_errors("More samples per pixel than can be decoded")


@pytest.mark.parametrize(
    "count", [200, pytest.param(20_000, marks=(pytest.mark.long, PILLOWS_OWN))]
)
def test_damage_is_one_kind_of_error(tmp_path: Path, count: int) -> None:
    rng = random.Random(count)
    kinds = whole_files(tmp_path)
    refused: list[str] = []
    for _ in range(count):
        suffix, data = rng.choice(kinds)
        path = tmp_path / f"damaged.{suffix}"
        path.write_bytes(damaged(data, rng))
        try:
            file = PictureFile(path, max_megapixels=5)
        except PictureError as error:
            refused.append(str(error))
            continue
        try:
            for page in range(min(file.page_count, 4)):
                file.read(page)
        except PictureError as error:
            refused.append(str(error))
        finally:
            file.close()
    assert count // 4 < len(refused) < count
    assert not any("\n" in line for line in refused)


@pytest.mark.parametrize("suffix", ["gif", "png"])
def test_a_cut_off_moving_picture_gives_what_is_there(tmp_path: Path, suffix: str) -> None:
    """One broken picture among the first nine, whose times are looked at, refused all of them."""
    path = tmp_path / f"moving.{suffix}"
    images = [Image.fromarray(np.roll(NOISE, n, axis=1)) for n in range(8)]
    images[0].save(path, save_all=True, append_images=images[1:], duration=50)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    source = open_source(str(path), SourceOptions())
    frames = read_all(source)
    assert [frame.index for frame in frames] == [0, 1, 2, 3]
    assert [frame.time_ns for frame in frames] == [n * 50_000_000 for n in range(4)]
    assert broken_frames(source) > 0


@pytest.mark.parametrize("suffix", ["png", "webp"])
def test_damaged_exif_is_said_and_the_picture_shown(
    tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The picture is whole: viewers show it. As a mask it ended the program with a traceback."""
    path = tmp_path / f"picture.{suffix}"
    mask = np.zeros((40, 60), np.uint8)
    mask[10:20, 10:30] = 255
    Image.fromarray(mask).save(path, exif=b"Exif\0\0neither II nor MM")
    assert (read_picture(path, "picture")[..., 0] > 128).sum() == 200
    assert "its EXIF is damaged" in caplog.text
    (prompt,) = parse_prompts([f"mask={path}"], (60, 40))
    assert prompt.mask is not None
    assert prompt.mask.sum() == 200


def test_a_recording_does_not_decode_what_it_did_not_save(tmp_path: Path) -> None:
    """A foreign one may hold a picture of any size, or lead to a device."""
    arrays = Arrays(tmp_path)
    name = arrays.save(NOISE)
    assert (arrays.load(name, (40, 60, 3)) == NOISE).all()
    with pytest.raises(ValueError, match="not of the shape"):
        arrays.load(name, (60, 40, 3))
    path = tmp_path / name
    bomb = bytearray(path.read_bytes())
    bomb[16:24] = (32000).to_bytes(4, "big") * 2
    path.write_bytes(bomb)
    with pytest.raises(ValueError, match=r"32000x32000|damaged"):
        arrays.load(name, (32000, 32000, 3))
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(ValueError, match="a link; expected a file"):
        arrays.load(name, (40, 60, 3))
