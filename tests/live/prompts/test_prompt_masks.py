"""What mask files mean: black and white, soft, lossy, cut-outs, ids."""

from __future__ import annotations

import logging
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from samcam.live.errors import ConfigError
from samcam.live.frames import Mask, Prompt
from samcam.live.prompts.files import PromptFiles
from samcam.live.prompts.text import parse_prompts
from tests.helpers.heif_files import HeicSpec, write_heic

SIZE = (320, 180)


def disc(radius: float = 40.0, x: float = 160, y: float = 90) -> Mask:
    rows, columns = np.mgrid[: SIZE[1], : SIZE[0]]
    return np.asarray((columns - x) ** 2 + (rows - y) ** 2 <= radius**2, np.bool_)


DISC = disc()


def prompts_of(spec: str) -> list[Prompt]:
    return parse_prompts([spec], SIZE)


def one_mask(spec: str) -> Mask:
    (prompt,) = prompts_of(spec)
    assert prompt.mask is not None
    return prompt.mask


def problem_of(spec: str) -> str:
    with pytest.raises(ConfigError) as caught:
        prompts_of(spec)
    (line,) = caught.value.problems
    assert "\n" not in line
    return line


def iou(one: Mask, other: Mask) -> float:
    return float((one & other).sum() / (one | other).sum())


def id_values() -> NDArray[np.uint8]:
    ids = np.zeros((SIZE[1], SIZE[0]), np.uint8)
    ids[20:80, 20:100] = 1
    ids[90:150, 150:250] = 2
    ids[5:9, 300:304] = 7  # small things are objects too
    return ids


def save_palette(path: Path, ids: NDArray[np.uint8]) -> Path:
    image = Image.fromarray(ids)
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0] + [9, 9, 200] * 252)
    image.save(path)
    return path


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".heic"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_lossy_mask_is_cut_at_half(tmp_path: Path, suffix: str, mode: str) -> None:
    """Whatever was not quite black counted: the disc grew by a tenth."""
    path = tmp_path / f"mask{suffix}"
    image = Image.fromarray(DISC.astype(np.uint8) * 255).convert(mode)
    if suffix == ".heic":
        write_heic(path, np.asarray(image.convert("RGB")), HeicSpec())
    else:
        image.save(path, quality=60)
    assert iou(one_mask(f"mask={path}"), DISC) > 0.98


@pytest.mark.shared
def test_the_disc_keeps_its_size(shared_dir: Path) -> None:
    mask = one_mask(f"mask={shared_dir / 'cases/prompts/mask_q75.jpg'}")
    assert abs(int(mask.sum()) - 5025) < 50


@pytest.mark.parametrize("white", [1, 2, 38, 128, 254, 255])
@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".webp", ".gif"])
def test_black_and_one_value(tmp_path: Path, white: int, suffix: str) -> None:
    path = tmp_path / f"mask{suffix}"
    Image.fromarray(DISC.astype(np.uint8) * white).save(path, lossless=True)
    assert (one_mask(f"mask={path}") == DISC).all()


@pytest.mark.parametrize("kind", ["bool", "16 bit", "gray alpha", "white alpha", "opaque", "float"])
def test_other_plain_masks(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ("mask.tif" if kind == "float" else "mask.png")
    plain = DISC.astype(np.uint8) * 255
    white = np.full_like(plain, 255)
    image = {
        "bool": lambda: Image.fromarray(DISC),
        "16 bit": lambda: Image.fromarray(DISC.astype(np.uint16) * 65535),
        "gray alpha": lambda: Image.merge("LA", (Image.fromarray(white), Image.fromarray(plain))),
        "white alpha": lambda: Image.fromarray(np.dstack((white, white, white, plain))),
        "opaque": lambda: Image.fromarray(np.dstack((plain, plain, plain, white))),
        "float": lambda: Image.fromarray(DISC.astype(np.float32)),
    }[kind]()
    image.save(path)
    assert (one_mask(f"mask={path}") == DISC).all()


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("blur_px", [1, 5, 41])
def test_a_soft_border_is_cut_at_half(tmp_path: Path, blur_px: int, deep: bool) -> None:
    """Anti-aliased and feathered masks are one object; their grays are no ids."""
    path = tmp_path / "mask.png"
    large = cv2.resize(disc().astype(np.float32), None, fx=4, fy=4)
    soft = cv2.resize(large, SIZE, interpolation=cv2.INTER_AREA)
    soft = cv2.GaussianBlur(soft, (0, 0), blur_px / 4)
    values = (soft * 65535).astype(np.uint16) if deep else (soft * 255).astype(np.uint8)
    Image.fromarray(values).save(path)
    assert iou(one_mask(f"mask={path}"), soft >= 0.5) > 0.99


def test_a_soft_alpha_is_cut_at_half(tmp_path: Path) -> None:
    path = tmp_path / "cut.png"
    soft = cv2.GaussianBlur(DISC.astype(np.float32) * 255, (0, 0), 6).astype(np.uint8)
    colour = np.full((*soft.shape, 3), 90, np.uint8)
    Image.fromarray(np.dstack((colour, soft))).save(path)
    assert iou(one_mask(f"mask={path}"), DISC) > 0.97


@pytest.mark.parametrize("stored", ["palette", "gray", "16 bit", "rgb gray", "tif"])
def test_several_ids_are_several_objects(tmp_path: Path, stored: str) -> None:
    """All of it became object 1."""
    path = tmp_path / ("mask.tif" if stored == "tif" else "mask.png")
    ids = id_values()
    if stored == "palette":
        save_palette(path, ids)
    elif stored == "rgb gray":
        Image.fromarray(np.dstack((ids, ids, ids))).save(path)
    else:
        Image.fromarray(ids.astype(np.uint16) if stored == "16 bit" else ids).save(path)
    prompts = prompts_of(f"mask={path} frame=0")
    assert [prompt.object_id for prompt in prompts] == [1, 2, 7]
    for prompt in prompts:
        assert prompt.mask is not None
        assert (prompt.mask == (ids == prompt.object_id)).all()
    (all_of_it,) = prompts_of(f"mask={path} object=5")
    assert all_of_it.object_id == 5, "with an object it is that object"
    assert all_of_it.mask is not None
    assert (all_of_it.mask == (ids > 0)).all()
    for wanted, object_id in ((2, 1), (7, 1), (2, 9)):
        text = "" if object_id == 1 else f" object={object_id}"
        (chosen,) = prompts_of(f"mask={path}#{wanted}{text}")
        assert chosen.object_id == object_id
        assert chosen.mask is not None
        assert (chosen.mask == (ids == wanted)).all()
    assert "there is no id 3; it has 1, 2, 7" in problem_of(f"mask={path}#3")


def test_ids_of_a_gray_copy_and_void(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ids = id_values()
    gray = np.array([0, 38, 75, 0, 0, 0, 0, 113], np.uint8)[ids]
    Image.fromarray(gray).save(tmp_path / "gray.png")
    prompts = prompts_of(f"mask={tmp_path / 'gray.png'}")
    assert [prompt.object_id for prompt in prompts] == [38, 75, 113]
    ids[20:24, 20:100] = 255
    with caplog.at_level(logging.INFO):
        prompts = prompts_of(f"mask={save_palette(tmp_path / 'void.png', ids)}")
    assert [prompt.object_id for prompt in prompts] == [1, 2, 7]
    assert "void" in caplog.text
    name = tmp_path / "void.png"
    said = f"mask={name}: ids 1, 2, 7: 3 objects; mask={name}#1 takes one, object=ID joins them"
    assert said in caplog.text


@pytest.mark.parametrize("mode", ["L", "RGB", "gray palette"])
@pytest.mark.parametrize("steps", [(100, 200), (85, 170, 255), (51, 102, 153, 204, 255)])
def test_a_soft_mask_of_few_levels_is_one_object(
    tmp_path: Path, mode: str, steps: tuple[int, ...], caplog: pytest.LogCaptureFixture
) -> None:
    """Its wide bands became objects of their own."""
    soft = np.zeros(DISC.shape, np.uint8)
    for number, value in enumerate(steps):
        soft[disc(60 - 10 * number)] = value
    image = Image.fromarray(soft)
    if mode == "gray palette":
        image.putpalette([value for value in range(256) for _ in range(3)])
    (image.convert("RGB") if mode == "RGB" else image).save(tmp_path / "mask.png")
    with caplog.at_level(logging.INFO):
        assert (one_mask(f"mask={tmp_path / 'mask.png'}") == (soft >= 128)).all()
    assert "one object: its grays are a soft border, cut at 128" in caplog.text


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_two_grays_apart_are_two_objects_and_it_is_said(
    tmp_path: Path, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    values = np.zeros(DISC.shape, np.uint8)
    values[40:120, 20:120] = 100
    values[40:120, 120:220] = 200  # they touch, as people side by side do
    Image.fromarray(values).convert(mode).save(tmp_path / "mask.png")
    with caplog.at_level(logging.INFO):
        prompts = prompts_of(f"mask={tmp_path / 'mask.png'}")
    assert [prompt.object_id for prompt in prompts] == [100, 200]
    assert "mask.png: ids 100, 200: 2 objects; " in caplog.text
    assert (one_mask(f"mask={tmp_path / 'mask.png'} object=3") == (values > 0)).all()


def test_small_ids_inside_each_other_are_ids(tmp_path: Path) -> None:
    values = np.zeros(DISC.shape, np.uint8)
    values[disc(60)], values[disc(30)] = 1, 2
    Image.fromarray(values).save(tmp_path / "low.png")
    save_palette(tmp_path / "palette.png", values * 100)
    assert [prompt.object_id for prompt in prompts_of(f"mask={tmp_path / 'low.png'}")] == [1, 2]
    palette = prompts_of(f"mask={tmp_path / 'palette.png'}")
    assert [prompt.object_id for prompt in palette] == [100, 200]


def test_ids_beyond_those_of_objects(tmp_path: Path) -> None:
    ids = id_values().astype(np.uint16) * 1000
    path = tmp_path / "cityscapes.png"
    Image.fromarray(ids).save(path)
    assert "choose one with" in problem_of(f"mask={path}")
    assert (one_mask(f"mask={path}#7000") == (ids == 7000)).all()
    assert (one_mask(f"mask={path} object=3") == (ids > 0)).all()


def test_a_name_with_a_number_sign(tmp_path: Path) -> None:
    path = tmp_path / "take#2"
    Image.fromarray(DISC.astype(np.uint8) * 255).save(path, format="PNG")
    assert (one_mask(f"mask={path}") == DISC).all()
    Image.fromarray(DISC.astype(np.uint8) * 255).save(tmp_path / "colour.jpg")
    assert "has no ids" in problem_of(f"mask={tmp_path / 'colour.jpg'}#2")


def test_a_palette_of_white_and_black(tmp_path: Path) -> None:
    """An editor may put white first; then index 0 is the object and not the background."""
    image = Image.fromarray((~DISC).astype(np.uint8))
    image.putpalette([255, 255, 255, 0, 0, 0])
    image.save(tmp_path / "mask.png")
    assert (one_mask(f"mask={tmp_path / 'mask.png'}") == DISC).all()


def test_a_mask_turned_by_exif_fits_its_picture(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    turned = np.ascontiguousarray(np.rot90(DISC)).astype(np.uint8) * 255
    Image.fromarray(turned).save(tmp_path / "mask.png", exif=exif)
    assert (one_mask(f"mask={tmp_path / 'mask.png'}") == DISC).all()


def test_a_mask_that_cannot_be_read_has_one_cause_and_one_advice(tmp_path: Path) -> None:
    """A size that is refused ended with "expected PNG or JPEG"; a cut-off file began with it."""
    path = tmp_path / "mask.png"
    noise = np.random.default_rng(0).integers(0, 255, (SIZE[1], SIZE[0]), np.uint8)
    Image.fromarray(noise).save(path)
    with pytest.raises(ConfigError) as caught:
        parse_prompts([f"mask={path}"], SIZE, files=PromptFiles(max_megapixels=0.01))
    assert str(caught.value).endswith("expected at most 0.01, which is source.max_megapixels")
    path.write_bytes(path.read_bytes()[:20_000])
    cut_off = problem_of(f"mask={path}")
    assert "truncated" in cut_off
    assert cut_off.count("expected") == 1
    assert ".jpg" not in cut_off
    path.write_bytes(b"")
    assert problem_of(f"mask={path}").count("expected") == 1
    assert "is empty; expected one of" in problem_of(f"mask={path}")


def test_masks_that_cannot_be(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    Image.fromarray(np.full((SIZE[1], SIZE[0]), 90, np.uint8)).save(tmp_path / "dark.jpg")
    assert "all darker than half" in problem_of(f"mask={tmp_path / 'dark.jpg'}")
    (tmp_path / "folder.png").mkdir()
    assert "not a regular file" in problem_of(f"mask={tmp_path / 'folder.png'}")
    path.symlink_to(path)
    assert "cannot be read" in problem_of(f"mask={path}")
