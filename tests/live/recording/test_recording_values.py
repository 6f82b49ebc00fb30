"""Commands on their way into a recording and back: every one that the program knows."""

from __future__ import annotations

import json
import types
import typing
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from samcam.live.commands import Command
from samcam.live.frames import Prompt
from samcam.live.recording import values
from samcam.live.recording.values import COMMAND_CLASSES, Arrays, decode_command, encode_command
from samcam.system.files.rows import RowFile, read_rows


def mask_of(shape: tuple[int, int], seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).random(shape) > 0.5


def picture_of(shape: tuple[int, int, int]) -> np.ndarray[Any, Any]:
    return np.random.default_rng(1).integers(0, 256, shape, np.uint8)


PROMPTS = (
    Prompt(7, None, np.array([[1.25, 1 / 3], [3e-8, 719.5]]), np.array([1, 0]), step=12),
    Prompt(3, frame_index=9, box_xyxy_px=np.array([0.1, 2, 30.7, 40])),
    Prompt(mask=mask_of((48, 65))),
    Prompt(254, mask=mask_of((31, 17)), reference_bgr=picture_of((31, 17, 3))),
)


def sample(hint: Any) -> Any:
    """Return a value of a field's type that is not its default."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return sample(next(arg for arg in typing.get_args(hint) if arg is not type(None)))
    if typing.get_origin(hint) is tuple:
        arguments = [arg for arg in typing.get_args(hint) if arg is not Ellipsis]
        return tuple(sample(arg) for arg in arguments)
    if typing.get_origin(hint) is typing.Literal:
        return typing.get_args(hint)[-1]
    samples = {bool: True, int: 5, float: 1 / 3, str: "blur é\U0001f3b8"}
    if hint in samples:
        return samples[hint]
    pytest.fail(f"no sample for {hint}: teach this test and live/recording/values.py that type")


def examples() -> list[Any]:
    """Return two values of every command: its fields set, and None where that is allowed."""
    made: list[Any] = list(PROMPTS)
    for cls in typing.get_args(Command):
        if cls is Prompt:
            continue
        hints = typing.get_type_hints(cls)
        made.append(cls(**{item.name: sample(hints[item.name]) for item in fields(cls)}))
        empty = {
            item.name: None if type(None) in typing.get_args(hints[item.name]) else sample(hint)
            for item, hint in ((item, hints[item.name]) for item in fields(cls))
        }
        made.append(cls(**empty))
    return made


def assert_same(first: Any, second: Any) -> None:
    assert type(first) is type(second)
    for item in fields(first):
        one, other = getattr(first, item.name), getattr(second, item.name)
        if isinstance(one, np.ndarray):
            assert isinstance(other, np.ndarray)
            assert (one.dtype, one.shape) == (other.dtype, other.shape), item.name
            assert one.tobytes() == other.tobytes(), item.name
        else:
            assert (type(one), one) == (type(other), other), item.name


@pytest.mark.parametrize("command", examples(), ids=lambda c: type(c).__name__)
def test_every_command_comes_back_as_it_was(command: Any, tmp_path: Path, repo_root: Path) -> None:
    """Through a row of a file, bit for bit; and the row is what the schema says."""
    schema = json.loads((repo_root / "docs/schemas/recording_commands.schema.json").read_text())
    rows = RowFile(tmp_path / "rows.jsonl")
    rows.write({"step": 3, "command": encode_command(command, Arrays(tmp_path))})
    rows.close()
    (row,) = read_rows(tmp_path / "rows.jsonl")
    jsonschema.validate(row, schema)
    assert_same(decode_command(row["command"], Arrays(tmp_path)), command)


def test_the_examples_cover_the_union() -> None:
    assert {type(command) for command in examples()} == set(typing.get_args(Command))
    assert set(COMMAND_CLASSES) == {cls.__name__ for cls in typing.get_args(Command)}


def test_a_value_that_a_recording_cannot_hold_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a new command would run into, were its fields of a new kind."""

    @dataclass(frozen=True)
    class OpenFile:
        path: Path

    arrays = Arrays(tmp_path)
    with pytest.raises(TypeError, match="cannot hold a OpenFile"):
        encode_command(typing.cast(Any, OpenFile(tmp_path)), arrays)
    monkeypatch.setattr(values, "COMMAND_CLASSES", {"OpenFile": OpenFile})
    with pytest.raises(TypeError, match=r"cannot hold a .*Path"):
        encode_command(typing.cast(Any, OpenFile(tmp_path)), arrays)


def test_the_same_picture_is_kept_once(tmp_path: Path) -> None:
    arrays = Arrays(tmp_path)
    encode_command(PROMPTS[3], arrays)
    encode_command(PROMPTS[3], arrays)
    assert len(list((tmp_path / "arrays").iterdir())) == 2  # its mask and its picture


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (5, "expected an object with a type"),
        ({"type": "Explode"}, "command Explode: expected one of Prompt, RemoveObject"),
        ({"type": "SetEffect", "colour": 3}, "SetEffect: .*colour"),
        ({"type": "Prompt", "object_id": 255}, "object_id: 255: expected a whole number 1..254"),
        ({"type": "PinStep", "step": "x"}, 'PinStep: step: "x": expected a whole number, or null'),
        ({"type": "CycleCandidate", "object_id": 1, "by": 1.5}, "by: 1.5: expected a whole number"),
        ({"type": "UndoPrompt", "object_id": True}, "object_id: true: expected a whole number"),
        (
            {"type": "Prompt", "points_xy_px": [[1, 2]]},
            r"points_xy_px: \[\[1, 2\]\]: expected a section with the keys dtype, shape",
        ),
        (
            {"type": "Prompt", "mask": {"dtype": "complex", "shape": [1]}},
            r'mask.dtype: "complex": expected one of bool \|',
        ),
        (
            {"type": "Prompt", "mask": {"dtype": "bool", "shape": [2], "values": [1]}},
            r"mask.values: \[1.0\]: expected 2 numbers, as the shape \[2\] and bool say",
        ),
        (
            {"type": "Prompt", "mask": {"dtype": "bool", "shape": [2, 2], "file": "../a.png"}},
            "expected arrays/ and 16 hex digits",
        ),
        (
            {
                "type": "Prompt",
                "mask": {"dtype": "bool", "shape": [2, 2], "file": "arrays/0123456789abcdef.png"},
            },
            "cannot be read: No such file",
        ),
    ],
)
def test_damaged_commands_are_named(value: object, said: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=said):
        decode_command(value, Arrays(tmp_path))


def test_a_damaged_array_file_is_named(tmp_path: Path) -> None:
    row = encode_command(PROMPTS[2], Arrays(tmp_path))
    (path,) = (tmp_path / "arrays").iterdir()
    for content in (b"", path.read_bytes()[:40]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"{path.name}: damaged"):
            decode_command(row, Arrays(tmp_path))


def test_a_row_that_was_cut_off_is_left_out_and_a_damaged_one_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows = RowFile(path)
    rows.write({"step": 0})
    rows.write({"step": 1})
    rows.close()
    path.write_bytes(path.read_bytes()[:-3])
    assert list(read_rows(path)) == [{"step": 0}]
    assert list(read_rows(tmp_path / "none.jsonl")) == []
    path.write_text('{"step": 0}\n{"ste\n{"step": 2}\n')
    with pytest.raises(ValueError, match=r"rows.jsonl, line 2: not valid JSON"):
        list(read_rows(path))
