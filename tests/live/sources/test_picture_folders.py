"""Folders of pictures as people have them: masks beside frames, hidden files, sub-folders."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from samcam.live.frames import U8
from samcam.live.sources.base import broken_frames
from samcam.live.sources.choose import open_source
from tests.live.sources.test_pictures import OPTIONS, opened, png_of_size, scene
from tests.live.sources.test_sources_files import error_of, read_all


def save(path: Path, rgb: U8 | None = None) -> None:
    Image.fromarray(scene() if rgb is None else rgb).save(path)


def mask_picture() -> Image.Image:
    ids = np.zeros((40, 60), np.uint8)
    ids[10:30, 10:30] = 1
    image = Image.fromarray(ids)
    image.putpalette([0, 0, 0, 220, 20, 60])
    return image


@pytest.mark.parametrize("mode", ["P", "L", "1", "RGB", "RGBA"])
@pytest.mark.parametrize("name", ["{}.png", "{}_mask.png", "mask_{}.png", "{}.mask.PNG"])
def test_masks_beside_frames_are_no_frames(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: str, name: str
) -> None:
    """0.jpg, 0.png, 1.jpg, 1.png came one after the other: every second picture was a mask."""
    rng = np.random.default_rng(3)
    for number in range(3):
        noisy = scene().astype(int) + rng.integers(-9, 10, scene().shape)
        save(tmp_path / f"{number:05}.jpg", np.clip(noisy, 0, 255).astype(np.uint8))
        mask_picture().convert(mode).save(tmp_path / name.format(f"{number:05}"))
    with caplog.at_level(logging.WARNING):
        seen = opened(tmp_path)
    assert len(seen) == 3
    assert all(picture.mean() > 30 for picture in seen)
    assert "left out: 3 masks beside pictures of the same names" in caplog.text


def test_masks_alone_and_other_names_are_frames(tmp_path: Path) -> None:
    for number in range(3):
        mask_picture().save(tmp_path / f"{number:05}_mask.png")
        save(tmp_path / f"b{number}.jpg")
    assert len(opened(tmp_path)) == 6


def test_one_name_twice_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for suffix in (".jpg", ".webp"):
        save(
            tmp_path / f"IMG_1{suffix}",
            np.random.default_rng(1).integers(0, 255, (40, 60, 3), np.uint8),
        )
    with caplog.at_level(logging.WARNING):
        assert len(opened(tmp_path)) == 2
    assert "1 names stand twice, such as IMG_1.jpg and IMG_1.webp: both are shown" in caplog.text


def test_what_stands_in_folders_of_real_people(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path / "2.jpg")
    save(tmp_path / "10.jpg")
    (tmp_path / "1.jpg").mkdir()
    (tmp_path / "._2.jpg").write_bytes(b"\0\x05\x16\x07 macOS wrote this")
    (tmp_path / ".hidden.png").write_bytes(b"hidden")
    (tmp_path / "Thumbs.db").write_bytes(b"thumbs")
    (tmp_path / "tracks.jsonl").write_text("{}")
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "raw.dng").write_bytes(b"II*\0")
    with caplog.at_level(logging.WARNING):
        source = open_source(str(tmp_path), OPTIONS)
        assert source.info.frame_count == 2
        frames = read_all(source)
    assert [frame.index for frame in frames] == [0, 1]
    assert broken_frames(source) == 0
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert "1.jpg, gone.jpg, loop.jpg" in lines[0]
    assert "1 .dng" in lines[1]


def test_a_folder_of_nothing_but_hidden_files(tmp_path: Path) -> None:
    (tmp_path / "._2.jpg").write_bytes(b"macOS")
    (tmp_path / "x.jpg").mkdir()
    message = error_of(tmp_path)
    assert "no pictures in this folder" in message
    assert "x.jpg" in message


def test_unreadable_ones_are_counted_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path / "00.png")
    for number in range(1, 31):
        (tmp_path / f"{number:02}.png").write_bytes(b"broken")
    (tmp_path / "31.png").write_bytes(png_of_size(32000, 32000))
    save(tmp_path / "32.png")
    source = open_source(str(tmp_path), OPTIONS)
    with caplog.at_level(logging.WARNING):
        frames = read_all(source)
    assert [frame.index for frame in frames] == [0, 32]
    assert broken_frames(source) == 31
    assert "01.png skipped: not a readable picture" in caplog.text
    assert len(caplog.records) == 21, "a line each for the first twenty"


def test_a_folder_of_huge_pictures_says_so(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(png_of_size(32000, 32000))
    assert "source.max_megapixels" in error_of(tmp_path)


def test_further_pictures_and_films_in_a_photo_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of phones: two views in one file, and a photo with a short film behind it."""
    first, second = Image.fromarray(scene()), Image.new("RGB", (60, 40), "white")
    first.save(tmp_path / "two.jpg", format="MPO", save_all=True, append_images=[second])
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a GCamera:MotionPhoto="1"/></x:xmpmeta>'
    first.save(tmp_path / "moving.jpg", xmp=xmp)
    with (tmp_path / "moving.jpg").open("ab") as file:
        file.write(b"\0\0\0\x18ftypmp42 and a film")
    for name, said in (("two.jpg", "of its 2 pictures"), ("moving.jpg", "motion photo")):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            (seen,) = opened(tmp_path / name)
        assert seen[2, 2].tolist()[2] > 150, "the first one"
        (line,) = [record.getMessage() for record in caplog.records]
        assert said in line
