"""The prompt grammar: what it accepts and the one clear line for everything else."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from samcam.live.errors import ConfigError
from samcam.live.frames import Prompt
from samcam.live.prompts.text import parse_prompts

SIZE = (640, 360)


def one(spec: str) -> Prompt:
    (prompt,) = parse_prompts([spec], SIZE)
    return prompt


def problems_of(*specs: str, frame_count: int | None = None) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        parse_prompts(specs, SIZE, frame_count)
    assert all("\n" not in line for line in caught.value.problems)
    return caught.value.problems


def write_mask(path: Path, width: int, height: int, value: int = 3) -> Path:
    mask = np.zeros((height, width), np.uint8)
    mask[height // 2 :, : width // 2] = value
    assert cv2.imwrite(str(path), mask)
    return path


def test_points_keep_their_order_and_labels() -> None:
    prompt = one("point=10,20 neg=30.5,40 point=639,359")
    assert prompt.points_xy_px.tolist() == [[10, 20], [30.5, 40], [639, 359]]
    assert prompt.labels.tolist() == [1, 0, 1]
    assert (prompt.object_id, prompt.frame_index) == (1, 0)
    assert prompt.box_xyxy_px is None
    assert prompt.mask is None


def test_box_object_and_frame() -> None:
    prompt = one("box=0,0,640,360 object=254 frame=17")
    assert prompt.box_xyxy_px is not None
    assert prompt.box_xyxy_px.tolist() == [0, 0, 640, 360]
    assert (prompt.object_id, prompt.frame_index) == (254, 17)


def test_several_prompts() -> None:
    prompts = parse_prompts(["point=1,2", "object=2 box=1,2,3,4"], SIZE)
    assert [prompt.object_id for prompt in prompts] == [1, 2]


def test_bbox_txt_takes_the_first_line(tmp_path: Path) -> None:
    """A ground-truth file with a line per frame serves too, as SAMURAI's demo takes it."""
    path = tmp_path / "a folder" / "gt.txt"
    path.parent.mkdir()
    for text in ("10,20,30,40\n11,21,30,40\n", "10 20 30 40\n", "10\t20\t30\t40", "10, 20, 30, 40"):
        path.write_text(text)
        prompt = one(f"bbox_txt='{path}'")
        assert prompt.box_xyxy_px is not None
        assert prompt.box_xyxy_px.tolist() == [10, 20, 40, 60]


def test_mask_and_reference_picture(tmp_path: Path) -> None:
    mask = write_mask(tmp_path / "mask.png", *SIZE)
    prompt = one(f"mask={mask}")
    assert prompt.mask is not None
    assert prompt.mask.shape == (360, 640)
    assert prompt.mask.sum() == 180 * 320
    assert prompt.reference_bgr is None

    small = write_mask(tmp_path / "small.png", 64, 48)
    picture = tmp_path / "other.jpg"
    assert cv2.imwrite(str(picture), np.full((48, 64, 3), 90, np.uint8))
    other = one(f"mask={small} image={picture}")
    assert other.mask is not None
    assert other.reference_bgr is not None
    assert other.mask.shape == other.reference_bgr.shape[:2] == (48, 64)


def test_jsonl_with_every_key(tmp_path: Path) -> None:
    """File names in a JSONL file start from its own folder."""
    write_mask(tmp_path / "mask.png", *SIZE)
    (tmp_path / "box.txt").write_text("1, 2, 3, 4\n")
    rows = [
        {"point": [1, 2], "neg": [[3, 4], [5, 6]], "object": 2, "frame": 3},
        {"box": [1, 2, 3, 4]},
        {"mask": "mask.png", "object": 3},
        {"bbox_txt": "box.txt"},
    ]
    path = tmp_path / "prompts.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    points, box, mask, text = parse_prompts([f"@{path}"], SIZE)
    assert points.points_xy_px.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert points.labels.tolist() == [1, 0, 0]
    assert (points.object_id, points.frame_index) == (2, 3)
    assert box.box_xyxy_px is not None
    assert mask.mask is not None
    assert text.box_xyxy_px is not None
    assert text.box_xyxy_px.tolist() == [1, 2, 4, 6]


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        ("", ["expected a point"]),
        ("object=2", ["expected a point"]),
        ("590,430", ["590,430", "key=value", "point="]),
        ("pont=1,2", ["pont", "unknown key", "point"]),
        ("point=1", ["point=1", "expected X,Y"]),
        ("point=a,b", ["point=a,b", "expected X,Y"]),
        ("point=nan,1", ["point=nan,1", "expected X,Y"]),
        ("point=640,10", ["point=640,10", "640x360", "outside"]),
        ("neg=-1,10 point=1,1", ["neg=-1,10", "640x360", "outside"]),
        ("box=641,10,660,20", ["641,10,660,20", "640x360", "outside"]),
        ("box=-9,-9,-1,-1", ["-9,-9,-1,-1", "640x360", "outside"]),
        ("box=0,0,1e-50,1", ["empty box"]),
        ("box=30,10,20,20", ["30,10,20,20", "X1 < X2"]),
        ("box=1,2,3", ["box=1,2,3", "X1,Y1,X2,Y2"]),
        ("box=1,2,3,4 box=1,2,3,4", ["box", "twice"]),
        ("point=1,2 object=0", ["object=0", "1..254"]),
        ("point=1,2 object=255", ["object=255", "1..254"]),
        ("point=1,2 frame=-1", ["frame=-1", "at least 0"]),
        ("point=1,2 frame=1.5", ["frame=1.5", "whole number"]),
        ("point=1,2 image=a.png", ["image", "mask"]),
        ("mask=none.png", ["none.png", "No such file"]),
        ("mask=none.png point=1,2", ["mask", "combined"]),
        ("bbox_txt=none.txt", ["none.txt", "No such file"]),
        ("mask='none.png", ["quote"]),
        ("@none.jsonl", ["none.jsonl", "No such file"]),
    ],
)
def test_each_mistake_is_one_clear_line(spec: str, parts: list[str]) -> None:
    (line,) = problems_of(spec)
    for part in parts:
        assert part in line


def test_mask_of_another_size_needs_its_picture(tmp_path: Path) -> None:
    mask = write_mask(tmp_path / "mask.png", 64, 48)
    (line,) = problems_of(f"mask={mask}")
    assert "64x48" in line
    assert "640x360" in line
    assert "image=FILE" in line
    picture = tmp_path / "picture.png"
    assert cv2.imwrite(str(picture), np.zeros((40, 64, 3), np.uint8))
    (line,) = problems_of(f"mask={mask} image={picture}")
    assert "64x40" in line


def test_empty_and_unreadable_masks(tmp_path: Path) -> None:
    mask = write_mask(tmp_path / "mask.png", *SIZE, value=0)
    assert "all black" in problems_of(f"mask={mask}")[0]
    broken = tmp_path / "broken.png"
    for content, cause in ((b"not a picture", "not a readable picture"), (b"", "is empty")):
        broken.write_bytes(content)
        (problem,) = problems_of(f"mask={broken}")
        assert f"{cause}; expected one of " in problem


def test_a_mask_with_alpha_is_what_is_not_transparent(tmp_path: Path) -> None:
    """A white cut-out on transparent white stood for the whole picture."""
    pixels = np.full((SIZE[1], SIZE[0], 4), 255, np.uint8)
    pixels[:, :, 3] = 0
    pixels[10:60, 20:50, 3] = 255
    path = tmp_path / "cut.png"
    cv2.imwrite(str(path), pixels)
    prompt = one(f"mask={path}")
    assert prompt.mask is not None
    assert prompt.mask.sum() == 50 * 30
    pixels[:, :, 3] = 0
    cv2.imwrite(str(path), pixels)
    assert "all transparent" in problems_of(f"mask={path}")[0]


def test_a_truncated_mask_leaves_the_codec_silent(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (SIZE[1], SIZE[0], 3), np.uint8)
    path = tmp_path / "mask.png"
    cv2.imwrite(str(path), noise)
    path.write_bytes(path.read_bytes()[:200])
    (problem,) = problems_of(f"mask={path}")
    assert problem.endswith("image file is truncated; expected an undamaged file")
    assert capfd.readouterr().err == ""


def test_bbox_txt_with_wrong_content(tmp_path: Path) -> None:
    path = tmp_path / "box.txt"
    path.write_text("10;20;30\n")  # three numbers: ten by ten needs a fourth
    (line,) = problems_of(f"bbox_txt={path}")
    assert "10;20;30" in line
    assert "x,y,w,h" in line
    path.write_text("10,20,0,40\n")
    assert "empty box" in problems_of(f"bbox_txt={path}")[0]


def test_frame_beyond_the_end_of_a_known_source() -> None:
    (line,) = problems_of("point=1,2 frame=300", frame_count=300)
    assert "frame=300" in line
    assert "0..299" in line
    assert one("point=1,2 frame=300").frame_index == 300


def test_all_problems_come_at_once(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"point": [1, 2]}\n{"point": [700, 2]}\nnonsense\n[1]\n{"point": [true, 1]}\n')
    lines = problems_of("point=1", "box=1,2,3", f"@{path}")
    assert len(lines) == 6
    for number in (2, 3, 4, 5):
        assert any(f"line {number}:" in line for line in lines)
