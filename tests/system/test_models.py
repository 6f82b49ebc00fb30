"""Models of data from outside: what is taken, and what is said about the rest."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal, TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray

from samcam.system.models import (
    CheckedAs,
    ModelError,
    Section,
    Setting,
    describe,
    leaves,
    read_model,
    schema_of,
)

F32: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Part(Section):
    """One of each kind of value."""

    whole: Annotated[int, Setting("A number.", "px", 1, 9)] = 1
    number: Annotated[float | None, Setting("Another.", low=0)] = None
    text: str | None = ""
    pair: Annotated[tuple[int, int], Setting("Two.", low=3, high=4)] = (3, 4)
    texts: tuple[str, ...] = ()
    choice: Literal[0, 90] = 0
    word: Annotated[str, Setting("A word.", choices=("auto", "true", "false"))] = "auto"
    either: Annotated[float | str, Setting("Both.", "ms", 0, 10, ("auto",))] = 0.0
    by_id: Annotated[Mapping[int, str] | None, Setting("Ids.", "", 1, 254, ("a", "b"))] = None
    keys: Mapping[str, str] = field(default_factory=dict)
    truth: bool = False

    def __post_init__(self) -> None:
        if self.whole == 2 and self.truth:
            raise ValueError("whole: 2: expected another with truth")


@dataclass(frozen=True, slots=True)
class Model(Section):
    """A section, one that may be null, and many."""

    name: str
    part: Part = Part()
    other: Part | None = None
    many: tuple[Part, ...] = ()


def problems_of(data: object) -> list[str]:
    with pytest.raises(ModelError) as caught:
        read_model(Model, data)
    lines = str(caught.value).splitlines()
    assert lines == [problem.text for problem in caught.value.problems]
    return lines


def test_values_of_each_kind_are_taken() -> None:
    part = {
        "whole": 9,
        "number": 3,
        "text": "\udcff",
        "pair": [3, 4],
        "texts": ["x"],
        "choice": 90,
        "word": True,
        "either": "auto",
        "by_id": {"9": "a", 3: "b"},
        "keys": {"k": "v"},
        "truth": True,
    }
    read = read_model(Model, {"name": "n", "part": part, "other": None, "many": [{}]})
    expected = Part(
        9, 3.0, "\udcff", (3, 4), ("x",), 90, "true", "auto", {9: "a", 3: "b"}, {"k": "v"}, True
    )
    assert read == Model("n", expected, None, (Part(),))
    assert isinstance(read.part.number, float)


def test_all_problems_at_once_each_with_key_value_and_what_was_expected() -> None:
    part = {
        "whole": True,
        "number": -1,
        "text": 3,
        "pair": [1, 2],
        "texts": ["x", 3],
        "choice": False,
        "word": "on",
        "either": "soon",
        "by_id": {"999": "a"},
        "keys": {"k": 4},
        "truth": "yes",
        "no": 3,
    }
    names = ", ".join(Part.__dataclass_fields__)
    found = problems_of({"part": part, "other": {"whole": 1.5}, "many": [{"pair": [3]}, 3]})
    assert sorted(found) == sorted(
        [
            "name: missing; expected text",
            "part.whole: true: expected a whole number 1..9 (px)",
            "part.number: -1: expected a number of at least 0, or null",
            "part.text: 3: expected text, or null",
            "part.pair: [1, 2]: expected a list of 2 whole numbers 3..4",
            'part.texts: ["x", 3]: expected a list of texts',
            "part.choice: false: expected one of 0 | 90",
            'part.word: "on": expected one of auto | true | false',
            'part.either: "soon": expected auto or a number 0..10 (ms)',
            'part.by_id: {"999": "a"}: expected {NUMBER: WORD} with numbers 1..254 and a | b, '
            "or null",
            'part.keys: {"k": 4}: expected a mapping of texts to texts',
            'part.truth: "yes": expected true or false',
            f"part.no: unknown key; expected {names}",
            "other.whole: 1.5: expected a whole number 1..9 (px)",
            "many.0.pair: [3]: expected a list of 2 whole numbers 3..4",
            f"many.1: 3: expected a section with the keys {names}",
        ]
    )


@pytest.mark.parametrize("number", [float("inf"), float("nan"), 10**400, "1", None])
def test_numbers_are_finite_numbers(number: object) -> None:
    (line,) = problems_of({"name": "n", "part": {"either": number}})
    assert line.startswith("part.either: ")


def test_what_no_key_says_alone_and_data_of_another_form() -> None:
    rule = problems_of({"name": "n", "part": {"whole": 2, "truth": True}})
    assert rule == ["part.whole: 2: expected another with truth"]
    assert problems_of([]) == ["[]: expected a section with the keys name, part, other, many"]


@dataclass(frozen=True, slots=True)
class Listed(Section):
    """What files have: names, limits, keys that must be there, numbers for an array."""

    __needed__: ClassVar = ("version",)

    version: Literal[1] = 1
    name: Annotated[str, Setting(limits={"pattern": "^[a-z]+$"}, expected="small letters")] = "a"
    size: Annotated[int, Setting(low=32, limits={"multiple_of": 32})] = 32
    half: Annotated[
        int, Setting(rule=lambda v, seen: "" if v * 2 == seen.get("size", v * 2) else "size / 2")
    ] = 16
    parts: Mapping[Annotated[str, CheckedAs(Literal["left", "right"])], Mapping[str, Part]] = field(
        default_factory=dict
    )
    floats: Annotated[F32 | None, CheckedAs(tuple[float, ...])] = None


@dataclass(frozen=True, slots=True)
class Two(Section):
    """Two keys, both needed."""

    x: int
    y: int


@dataclass(frozen=True, slots=True)
class Needing(Section):
    """A section and a list that must be there."""

    a: Two
    many: Annotated[tuple[Two, ...], Setting(limits={"min_length": 1})]


def test_what_files_have_is_checked() -> None:
    """Keys that are needed, patterns, one key against another, and the keys of mappings."""
    parts = {"lefft": {}, "right": {"x": {"whole": 0}, "y": 5}}
    data = {"name": "A", "size": 33, "half": 5, "parts": parts, "floats": ["x"], "sizes": 1}
    with pytest.raises(ModelError) as caught:
        read_model(Listed, data)
    names = ", ".join(Part.__dataclass_fields__)
    assert str(caught.value).splitlines() == [
        "version: missing; expected one of 1",
        'name: "A": expected small letters',
        "size: 33: expected a whole number of at least 32",
        "parts.lefft: unknown key; expected left",
        "parts.right.x.whole: 0: expected a whole number 1..9 (px)",
        f"parts.right.y: 5: expected a section with the keys {names}",
        'floats: ["x"]: expected a list of numbers',
        "sizes: unknown key; expected size",
    ]
    with pytest.raises(ModelError, match=r"^half: 5: expected size / 2$"):
        read_model(Listed, {"version": 1, "size": 64, "half": 5})
    for version in (True, 2, "1"):
        with pytest.raises(ModelError, match=r"^version: "):
            read_model(Listed, {"version": version})
    assert schema_of(Listed)["required"] == ["version"]
    assert read_model(Listed, {"version": 1, "floats": [1, 2.5]}).floats == (1.0, 2.5)
    assert Listed() == read_model(Listed, {"version": 1})


def test_keys_that_lack_and_parts_that_are_wrong_are_said_once() -> None:
    """A list was said to be empty where a part of it was wrong."""
    name = "name: missing; expected text"
    assert problems_of({"many": [{"whole": 0}]})[:1] == [name]
    with pytest.raises(ModelError, match=r"^a: missing; expected the keys x, y$"):
        read_model(Needing, {"a": {}, "many": [{"x": 1, "y": 2}]})
    with pytest.raises(ModelError, match=r"^missing; expected the keys a, many$"):
        read_model(Needing, {})
    with pytest.raises(ModelError, match=r'^many.0.x: "1": expected a whole number$'):
        read_model(Needing, {"a": {"x": 1.0, "y": 2}, "many": [{"x": "1", "y": 2}]})
    with pytest.raises(ModelError, match=r"^many: \[\]: expected a list of one or more objects$"):
        read_model(Needing, {"a": {"x": 1, "y": 2}, "many": []})


def test_of_many_problems_the_first_are_said() -> None:
    data = {"name": "n", "many": [{"x" * 1000: 1}] * 20_000}
    with pytest.raises(ModelError) as caught:
        read_model(Model, data)
    assert len(caught.value.problems) == 100
    assert len(str(caught.value)) < 100 * 400


def test_every_value_is_described() -> None:
    found = {key: describe(schema) for key, schema in leaves(Part)}
    assert list(found) == list(Part.__dataclass_fields__)
    assert found["whole"] == "a whole number 1..9 (px)"
    assert schema_of(Part)["properties"]["whole"]["description"] == "A number."


def test_who_only_uses_a_model_does_not_wait_for_pydantic() -> None:
    code = (
        "import sys, dataclasses\n"
        "from typing import Annotated\n"
        "from samcam.system.models import Section, Setting\n"
        "@dataclasses.dataclass(frozen=True)\n"
        "class One(Section):\n"
        "    x: Annotated[int, Setting('X.', low=1)] = 1\n"
        "One(3)\n"
        "assert 'pydantic' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
