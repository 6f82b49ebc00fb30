"""Prompt files as people have them: encodings, headers, separators, boxes over the edge."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from samcam.live.errors import ConfigError
from samcam.live.frames import Frame, Prompt
from samcam.live.prompts.text import parse_prompts
from samcam.live.remote.command_text import CommandError, PromptContext, parse_command
from samcam.live.tracker.tracker import Tracker
from tests.conftest import RunCli

SIZE = (320, 180)


def box_of(path: Path) -> list[float]:
    (prompt,) = parse_prompts([f"bbox_txt='{path}'"], SIZE)
    assert prompt.box_xyxy_px is not None
    return [float(value) for value in prompt.box_xyxy_px]


@pytest.mark.parametrize(
    "text",
    [
        "10,20,100,60\n",
        "10,20,100,60\r\n300,150,40,50\r\n",
        "10,20,100,60\r11,21,100,60\r",
        "10, 20, 100, 60,\n",
        "10;20;100;60",
        "10,0;20,0;100,0;60,0",
        "10\t20\t100\t60\t\n",
        "  10   20  100 60  ",
        "10.0,2e1,+100.,60.000",
        '"10","20","100","60"\n',
        "'10,20,100,60'\n",
        "[10, 20, 100, 60]\n",
        "(10, 20, 100, 60),\n",
        "\n\n  \n10,20,100,60\n",
        "x,y,w,h\n10,20,100,60\n",
        "x1;y1;width;height\n10;20;100;60\n",
        "# drawn by hand\n\nx y w h\n10 20 100 60\n",
    ],
)
@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
def test_a_box_in_every_spelling_and_encoding(tmp_path: Path, text: str, encoding: str) -> None:
    """Notepad and PowerShell write byte order marks and UTF-16; spreadsheets write `;`."""
    path = tmp_path / "box.txt"
    path.write_bytes(text.encode(encoding))
    assert box_of(path) == [10, 20, 110, 80]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "has no line of numbers: it is empty; expected x,y,w,h"),
        (b"\n \n", "has no line of numbers: it is empty; expected x,y,w,h"),
        (b"x,y,w,h\n", "has no line of numbers, only 'x,y,w,h'; expected x,y,w,h"),
        (b"x,y,w,h\nstill no numbers\n", "still no numbers"),
        (b"nan,nan,nan,nan\n10,20,100,60\n", "nan"),
        (b"nan,30,20,10\n", "'nan,30,20,10': 'nan' is not finite; expected x,y,w,h"),
        (b"10,inf,20,10\n", "'inf' is not finite; expected x,y,w,h"),
        (b"10,20,1oo,60\n", "'1oo' is no number; expected x,y,w,h"),
        (b"10,20,,60\n", "'' is no number; expected x,y,w,h"),
        (b"1,10,20,100,60,1,-1,-1,-1\n", ": 9 values; expected x,y,w,h"),
        (b"10,20,100\n", "'10,20,100': 3 values; expected x,y,w,h"),
        (b"10\n", "'10': 1 value; expected x,y,w,h"),
        (b"\xff\x00\x01\x80 binary", "not a text"),
        (b"400,10,20,20", "lies outside the picture 320x180"),
        (b"-50,10,50,20", "lies outside the picture 320x180"),
        (b"10,10,-5,20", "empty box"),
    ],
)
def test_other_content_is_one_clear_line(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "box.txt"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        box_of(path)
    (line,) = caught.value.problems
    assert said in line
    assert "\n" not in line


def test_further_boxes_are_left_out_and_it_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "box.txt"
    for text, count in (("x,y,w,h\n10,20,100,60\n\n", 1), ("10,20,100,60\n11,20,100,60\n", 2)):
        path.write_text(text, encoding="utf-8")
        caplog.clear()
        with caplog.at_level(logging.INFO):
            assert box_of(path) == [10, 20, 110, 80]
        said = f"bbox_txt={path}: only the first of its {count} lines is used" in caplog.text
        assert said == (count > 1)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize(
    "text",
    [
        '{"point": [5, 5]}\r\n{"object": 2, "box": [1, 2, 30, 40]}\r\n',
        '\n# two objects\n{"point": [5, 5]}\n\n{"object": 2, "box": [1, 2, 30, 40]}',
        '[\n{"point": [5, 5]},\n{"object": 2, "box": [1, 2, 30, 40]},\n]\n',
        '[{"point": [5, 5]}, {"object": 2, "box": [1, 2, 30, 40]}]',
        '{"point": ["5", "5"]}\n{"object": "2", "box": "1;2;30;40"}\n',
    ],
)
def test_jsonl_in_every_encoding(tmp_path: Path, text: str, encoding: str) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_bytes(text.encode(encoding))
    click, box = parse_prompts([f"@{path}"], SIZE)
    assert click.points_xy_px.tolist() == [[5, 5]]
    assert box.box_xyxy_px is not None
    assert (box.object_id, box.box_xyxy_px.tolist()) == (2, [1, 2, 30, 40])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no prompt; expected a line such as"),
        ("# object 1\n\n", "has no prompt; expected a line such as"),
        ("[\n]\n", "has no prompt; expected a line such as"),
        ("[" * 100_000, "line 1: not valid JSON: nested deeper than"),
    ],
)
def test_a_file_without_a_prompt_is_not_taken_in_silence(
    tmp_path: Path, text: str, said: str
) -> None:
    """A line of brackets alone was passed over as a list's frame, and the run had no object."""
    path = tmp_path / "p.jsonl"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        parse_prompts([f"@{path}"], SIZE)
    (problem,) = caught.value.problems
    assert said in problem


@pytest.mark.parametrize("text", ['{"point": [5, 5]}\n' * 4097, '{"mask": "ids.png"}\n' * 20])
def test_a_file_has_a_bounded_number_of_prompts(tmp_path: Path, text: str) -> None:
    """One line can stand for 254 prompts: a mask of as many objects."""
    ids = np.arange(SIZE[0] * SIZE[1], dtype=np.uint32).reshape(SIZE[::-1]) % 255
    mask = Image.fromarray(ids.astype(np.uint8))
    mask.putpalette([0, 0, 0] + [90, 40, 200] * 255)
    mask.save(tmp_path / "ids.png")
    path = tmp_path / "prompts.jsonl"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        parse_prompts([f"@{path}"], SIZE)
    (problem,) = caught.value.problems
    assert problem == f"--prompt @{path}: expected at most 4096 prompts in one file, got more"


def test_a_line_separator_inside_a_text_ends_no_line(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"bbox_txt": "a\u2028b.txt"}\n', encoding="utf-8")
    (tmp_path / "a\u2028b.txt").write_text("1,2,3,4")
    assert len(parse_prompts([f"@{path}"], SIZE)) == 1


# --- one checker for all ways in ------------------------------------------------------------


def boxed(*box: float) -> Prompt:
    return Prompt(box_xyxy_px=np.array(box, np.float32))


def frame() -> Frame:
    return Frame(0, 0, 0, np.full((SIZE[1], SIZE[0], 3), 80, np.uint8))


@pytest.mark.parametrize(
    ("prompt", "spec"),
    [
        (boxed(300, 150, 340, 200), "box=300,150,340,200"),
        (boxed(-20, -20, 330, 190), "box=-20,-20,330,190"),
        (boxed(400, 10, 420, 20), "box=400,10,420,20"),
        (boxed(-30, 10, 0, 20), "box=-30,10,0,20"),
        (Prompt(points_xy_px=np.array([[320, 5]]), labels=np.array([1])), "point=320,5"),
        (Prompt(points_xy_px=np.array([[5, -1]]), labels=np.array([1])), "point=5,-1"),
    ],
)
def test_all_ways_in_say_and_do_the_same(tmp_path: Path, prompt: Prompt, spec: str) -> None:
    """The command line refused what Python let pass, in other words."""

    def from_python() -> Prompt:
        with Tracker.open("nano") as tracker:
            tracker.prompt(Prompt(points_xy_px=np.array([[9, 9]]), labels=np.array([1])))
            tracker.step(frame())
            tracker.prompt(prompt)
            (waiting,) = tracker._queue.take_due(1, SIZE)[1]
            return waiting

    def from_the_command_line() -> Prompt:
        return parse_prompts([spec], SIZE)[0]

    def from_a_file() -> Prompt:
        path = tmp_path / "prompts.jsonl"
        key, _, values = spec.partition("=")
        path.write_text(f'{{"{key}": [{values}]}}')
        return parse_prompts([f"@{path}"], SIZE)[0]

    def from_ctl() -> Prompt:
        (commands,) = parse_command(f"prompt {spec}", PromptContext(SIZE))
        assert isinstance(commands, Prompt)
        return commands

    answers = []
    for way in (from_python, from_the_command_line, from_a_file, from_ctl):
        try:
            taken = way()
            box = taken.box_xyxy_px
            answers.append("taken as " + str(None if box is None else box.tolist()))
        except (ValueError, ConfigError, CommandError) as error:
            answers.append(str(error)[str(error).index("object 1: ") :])
    assert len(set(answers)) == 1, answers
    if "300" in spec:
        assert answers[0] == "taken as [300.0, 150.0, 320.0, 180.0]"
    else:
        assert ("lies outside the picture 320x180" in answers[0]) == ("-20" not in spec)


@pytest.mark.shared
@pytest.mark.slow
def test_the_program_takes_the_prompts_that_broke_it(
    shared_dir: Path, tmp_path: Path, run_cli: RunCli
) -> None:
    cases = shared_dir / "cases"
    picture = tmp_path / "picture.png"
    Image.fromarray(frame().image_bgr).save(picture)
    source = ("--source", picture, "--output", "none")
    prompts = cases / "prompts"
    for spec in (
        f"bbox_txt={prompts / 'bbox_bom.txt'}",
        f"bbox_txt={prompts / 'bbox_over_edge.txt'}",
        f"@{prompts / 'bom.jsonl'}",
        f"mask={prompts / 'mask_q75.jpg'}",
    ):
        result = run_cli(*source, "--prompt", spec)
        assert result.returncode == 0, (spec, result.stderr)


@pytest.mark.slow
def test_the_program_follows_each_id_of_a_mask(tmp_path: Path, run_cli: RunCli) -> None:
    """A mask of two objects became one object 1."""
    pixels = np.array(frame().image_bgr)
    ids = np.zeros(pixels.shape[:2], np.uint8)
    for object_id, rows, colour in ((3, slice(20, 80), 220), (7, slice(110, 160), 20)):
        ids[rows, 40 * object_id : 40 * object_id + 30] = object_id
        pixels[ids == object_id] = colour
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    mask = Image.fromarray(ids)
    mask.putpalette([0, 0, 0] + [90, 40, 200] * 255)
    mask.save(tmp_path / "ids.png")
    source = ("--source", tmp_path / "picture.png")
    for spec, found in (
        ("", [0, 3, 7]),
        ("#7", [0, 1]),
        (" object=9", [0, 9]),
        ("#3 object=7", [0, 7]),
    ):
        out = tmp_path / f"out{len(found)}{found[1]}"
        prompt = f"mask={tmp_path / 'ids.png'}{spec}"
        result = run_cli(*source, "--prompt", prompt, "--output", f"masks:{out}")
        assert result.returncode == 0, result.stderr
        with Image.open(out / "00000.png") as written:
            assert np.unique(np.asarray(written)).tolist() == found
