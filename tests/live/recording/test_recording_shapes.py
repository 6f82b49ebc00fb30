"""A recording of a wrong shape: key path, value and what was expected, in no words of Python."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from samcam.live.errors import CaptureError
from samcam.live.frames import Prompt
from samcam.live.recording.replay import Recording
from samcam.live.recording.values import Arrays, encode_command
from tests.helpers.recordings import add_command, one_step

WRONG: Final[tuple[Any, ...]] = (None, True, 5, -1.5, "", "x", [], [1], [[1, 2]], {}, {"a": 1})
PYTHON: Final = re.compile(
    r"None\b|NoneType|True\b|False\b|\bstr\b|\bint\b|\blist indices|\bdict\b|KeyError|TypeError|"
    r"__init__|positional|keyword|numpy|ndarray|reshape|iterable|subscriptable|unpack|attribute|"
    r"not a value of its kind|not of its kind|out of bounds|could not convert"
)
PROMPT: Final = encode_command(
    Prompt(points_xy_px=np.array([[5, 6]], np.float32), labels=np.array([1], np.int32)),
    Arrays(Path()),
)


def said_of(folder: Path) -> str | None:
    try:
        Recording.open(folder)
    except CaptureError as error:
        return str(error)
    return None


def places(row: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value of a document."""
    items = row.items() if isinstance(row, dict) else enumerate(row)
    found = []
    for key, value in items:
        found.append((*path, key))
        if isinstance(value, dict | list) and key != "settings":
            found += places(value, (*path, key))
    return found


def effect(**fields: Any) -> dict[str, Any]:
    """Return a row that changes the effect."""
    return {"step": 0, "command": {"type": "SetEffect", **fields}}


def put(row: Any, path: tuple[Any, ...], value: Any) -> Any:
    copy = json.loads(json.dumps(row))
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    if value is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return copy


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    one_step(tmp_path / "r")
    path = tmp_path / "r" / "recording.json"
    header = json.loads(path.read_text()) | {"prompts": [PROMPT]}
    mark = {"sha256": "0" * 64, "files": [["a.png", "1" * 64]], "bytes": 5}
    header["source"] |= {"kind": "file", "path": "/x", "fingerprint": mark}
    header["files"] = {"effect.replace.picture": mark}
    path.write_text(json.dumps(header))
    assert said_of(tmp_path / "r") is None
    return tmp_path / "r"


def test_every_value_of_the_header_that_is_wrong_is_named(recording: Path) -> None:
    """They were "damaged: 'NoneType' object is not iterable", or "a value is not of its kind"."""
    path = recording / "recording.json"
    header = json.loads(path.read_text())
    refused = 0
    for place in places(header):
        for value in (..., *WRONG):
            path.write_text(json.dumps(put(header, place, value)))
            said = said_of(recording)
            if said is None:
                continue
            refused += 1
            assert not PYTHON.search(said), (place, value, said)
            assert "expected" in said, (place, value, said)
            # the key, its owner where that is of another shape, or what it has to fit to
            names = {str(part) for part in place if part not in ("format", "dtype", "shape")}
            assert not names or any(name in said for name in names), (place, value, said)
    assert refused > 300


def test_every_value_of_a_command_that_is_wrong_is_named(recording: Path) -> None:
    rows = [
        PROMPT,
        {"type": "CycleCandidate", "object_id": 1, "by": 1},
        {"type": "SetEffect", "name": "blur", "object_id": 1},
        {"type": "HideFeed", "on": True},
        PROMPT
        | {"mask": {"dtype": "bool", "shape": [4, 6], "file": "arrays/" + "0" * 16 + ".png"}},
    ]
    for row in rows:
        for place in places(row):
            for value in (..., *WRONG):
                (recording / "commands.jsonl").write_text("")
                add_command(recording, 0, put(row, place, value))
                said = said_of(recording)
                if said is not None:
                    assert not PYTHON.search(said), (place, value, said)
                    assert "commands.jsonl, line 1" in said, (place, value, said)


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("source",), None, "source: null: expected a section with the keys name, kind"),
        (("source",), ..., "source: missing; expected a section with the keys name, kind"),
        (("source", "size_wh"), {"a": 1}, 'source.size_wh: {"a": 1}: expected sides of 1 to 65536'),
        (
            ("source", "fingerprint"),
            [],
            "source.fingerprint: []: expected a section with the keys sha",
        ),
        (("source", "fingerprint", "files"), 5, "source.fingerprint.files: 5: expected at most"),
        (
            ("source", "fingerprint", "bytes"),
            "x",
            'bytes: "x": expected a whole number of at least',
        ),
        (("source", "repeated"), 1, "source.repeated: 1: expected true or false"),
        (("source", "colour"), 1, "source.colour: unknown key; expected name, kind"),
        (("settings",), [1], "settings: [1]: expected an object"),
        (("prompts",), None, "prompts: null: expected a list of objects"),
        (
            ("prompts", 0, "points_xy_px", "values"),
            ["a", 2],
            "prompts.0: command Prompt: points_xy",
        ),
        (("prompts", 0, "points_xy_px", "shape"), [1], "values: [5.0, 6.0]: expected 1 numbers"),
        (
            ("prompts", 0, "points_xy_px", "shape"),
            [1_000_000_000],
            "values: [5.0, 6.0]: expected 1000000000 numbers, as the shape [1000000000]",
        ),
        (
            ("files", "effect.replace.picture"),
            1,
            "files.effect.replace.picture: 1: expected a section with the keys sha256",
        ),
        (("complete",), "yes", 'complete: "yes": expected true or false'),
    ],
)
def test_what_is_said(place: tuple[Any, ...], value: Any, said: str, recording: Path) -> None:
    path = recording / "recording.json"
    path.write_text(json.dumps(put(json.loads(path.read_text()), place, value)))
    assert said in str(said_of(recording))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (
            {"step": None},
            "commands.jsonl, line 1: step: null: expected a whole number of at least 0",
        ),
        ({}, "commands.jsonl, line 1: step: missing; expected a whole number"),
        ({"step": 0, "command": []}, "a command: expected an object with a type, got []"),
        (effect(name="nosuch"), 'command SetEffect: name: "nosuch": expected one of highlight, '),
        (effect(name="\0"), 'command SetEffect: name: "\\u0000": expected one of highlight, '),
        (effect(name="none"), 'command SetEffect: name: "none": expected one of highlight, '),
        (effect(name={"a": 1}), 'SetEffect: name: {"a": 1}: expected text, or null'),
        (effect(name="blur", object_id=9999), "object_id: 9999: expected a whole number 1..254"),
        (effect(name=None, object_id=0), "object_id: 0: expected a whole number 1..254"),
    ],
)
def test_what_is_said_of_rows(row: dict[str, Any], said: str, recording: Path) -> None:
    (recording / "commands.jsonl").write_text(json.dumps(row) + "\n")
    assert said in str(said_of(recording))


@pytest.mark.parametrize("said", [50, 10**15, 0])
def test_rows_that_were_lost_are_said(
    said: int, recording: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A run that ended well says how many steps it had: fewer, or more, were replayed silently."""
    path = recording / "recording.json"
    header = json.loads(path.read_text())
    for steps in (None, 1, said):
        path.write_text(json.dumps(header | {"complete": True, "steps": steps}))
        assert said_of(recording) is None
    assert caplog.messages == [
        f"replay: the run had {said} steps, but steps.jsonl has 1: these can be replayed"
    ]


def test_a_lost_file_of_steps_is_said(recording: Path) -> None:
    """It was "no frame was processed", of a run that had some."""
    path = recording / "recording.json"
    header = json.loads(path.read_text())
    path.write_text(json.dumps(header | {"complete": True, "steps": 5}))
    (recording / "steps.jsonl").unlink()
    assert "steps.jsonl holds none of its 5 steps" in str(said_of(recording))


def test_of_a_list_of_wrong_values_the_first_is_named(recording: Path) -> None:
    """A message for each of millions takes gigabytes."""
    path = recording / "recording.json"
    header = json.loads(path.read_text()) | {"prompts": [5] * 100_000}
    header["source"]["fingerprint"]["files"] = [["a", 5]] * 100_000
    path.write_text(json.dumps(header))
    said = str(said_of(recording))
    assert "prompts.0: 5: expected a mapping" in said
    assert "source.fingerprint.files: [" in said
    assert len(said) < 500
