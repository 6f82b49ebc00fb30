"""Models of data from users and files: dataclasses that pydantic checks, one line per error.

A model is an ordinary frozen dataclass under `Section`, its fields `Annotated[TYPE, Setting(...)]`
or plain. Only the first check loads pydantic, so defining and using models stays cheap.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from itertools import islice
from typing import Any, ClassVar, Final, TypeVar, cast

from samcam.system.files import shown_value

T = TypeVar("T")
Schema = dict[str, Any]
_MOST: Final = 100  # problems; nobody reads more
_NEAR: Final = 0.8  # of 1, as difflib counts
_LONGEST_KEY: Final = 40  # characters of an unknown one that are shown
_WORDS: Final = {
    "boolean": ("true or false", "truth values"),
    "integer": ("a whole number", "whole numbers"),
    "number": ("a number", "numbers"),
    "string": ("text", "texts"),
}


class Section:
    """Base of the models: no unknown keys, no conversions but lists to tuples, numbers finite.

    `__needed__` are keys that data must have although the class has a default.
    """

    __slots__ = ()
    __needed__: ClassVar[Collection[str]] = ()
    __pydantic_config__: ClassVar = {"extra": "forbid", "strict": True, "allow_inf_nan": False}

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Loosen what strict mode refuses although YAML and JSON write it so.

        Here and not in the annotations: no config loosens tuples and sections alone, and models
        are written without pydantic.
        """
        schema = handler(source)
        whole = handler.resolve_ref_schema(schema)
        for node in [*_nodes(whole)]:
            if node["type"] in ("dataclass", "tuple"):
                node["strict"] = False
            if node["type"] == "literal":  # for pydantic False is 0; YAML reads `true` as True
                _change_before(node, lambda v: str(v).lower() if isinstance(v, bool) else v)
            if node["type"] == "int":
                _change_before(node, _as_whole)
            if node["type"] == "dict" and node["keys_schema"]["type"] == "int":
                _change_before(node["keys_schema"], _as_number)
        for item in whole["schema"]["fields"]:
            if item["name"] in cls.__needed__:
                item["schema"] = item["schema"]["schema"]
            kinds = {node["type"] for node in _nodes(item)}
            parts = {"tuple", "dict"} <= kinds and "union" not in kinds  # each with an error
            if not kinds & {"dataclass", "definition-ref"} and not parts:
                _one_error(item["schema"])  # about the field, not a number of its list
        return schema


@dataclass(frozen=True, slots=True)
class Setting:
    """What one field means.

    Attributes:
        doc: One plain sentence.
        unit: Unit of a number, "" where it has none.
        low, high: Inclusive range of a number, of each number of a list, of a mapping's keys.
        choices: Allowed words or numbers; empty: any. Of a `float | str`: the words.
        expected: What it may hold, in words, where its type does not say it.
        limits: Further ones of pydantic's, such as pattern, multiple_of, max_length.
        rule: Called with the value and the fields before it; returns what was expected, in words,
            or "" where the value is right.
    """

    doc: str = ""
    unit: str = ""
    low: float | None = None
    high: float | None = None
    choices: tuple[str | int, ...] = ()
    expected: str = ""
    limits: Mapping[str, Any] = field(default_factory=dict, hash=False)
    rule: Callable[[Any, Mapping[str, Any]], str] | None = None

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        """Add range, choices and rule, for pydantic.

        Its own `Field(ge=...)` reaches neither the items of a list nor the keys of a mapping.
        """
        schema = handler(source)
        ends = {"ge": self.low, "le": self.high}
        for node in [*_nodes(schema)]:
            if node["type"] in ("int", "float"):
                node.update({name: end for name, end in ends.items() if end is not None})
            if self.choices and node["type"] == type(self.choices[0]).__name__:
                _become(node, type="literal", expected=list(self.choices))
        (schema["schema"] if schema["type"] == "nullable" else schema).update(self.limits)
        if self.rule is not None:
            function = {"type": "with-info", "function": self._check}
            _become(schema, type="function-after", schema=dict(schema), function=function)
        return schema

    def _check(self, value: Any, info: Any) -> Any:
        if self.rule is not None and (expected := self.rule(value, info.data)):
            raise ValueError(expected)
        return value

    def __get_pydantic_json_schema__(self, schema: Any, handler: Callable[[Any], Any]) -> Any:
        """Add the meaning, for `schema_of`."""
        made = handler(schema)
        for part in made.get("anyOf", [made]):
            if part.get("type") == "object" and self.low is not None and self.high is not None:
                part["propertyNames"] = _keys_schema(int(self.low), int(self.high))
            if {"true", "false"} <= {*part.get("enum", ())}:  # see Section
                part["enum"] += [True, False]
                part.pop("type", None)
        words = {"description": self.doc, "unit": self.unit, "expected": self.expected}
        return made | {name: text for name, text in words.items() if text}


@dataclass(frozen=True, slots=True)
class CheckedAs:
    """Marks a field that a file has as another type, such as an array as numbers."""

    type: Any

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        """Give that type's, for pydantic."""
        return handler.generate_schema(self.type)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        text: All of it in one line.
        key: Dotted path; of a rule between keys the section's, "" of the outermost one.
        value: As given; None where it is missing.
        expected: In words; the known keys beside an unknown one.
    """

    text: str
    key: str
    value: object
    expected: str


class ModelError(ValueError):
    """Data that does not fit its model, a line for each of `problems`."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(problem.text for problem in problems))
        self.problems = problems

    @property
    def line(self) -> str:
        """All of them in one line."""
        return "; ".join(problem.text for problem in self.problems)


def read_model(cls: type[T], data: object) -> T:
    """Check data and return it as a model.

    Args:
        cls: A dataclass under `Section`.
        data: As parsed from YAML or JSON.

    Raises:
        ModelError: It does not fit; all problems at once, at most a hundred.
    """
    from pydantic import ValidationError

    try:
        return cast(T, _adapter(cast(Any, cls)).validate_python(data))
    except ValidationError as error:
        schema = _without_links(cast(Any, cls))
        problems = islice(_problems(error.errors(include_url=False), schema), _MOST)
        raise ModelError(tuple(problems)) from None


@cache
def schema_of(cls: type) -> Schema:
    """Return the JSON Schema of a model; do not change it."""
    schema: Schema = _adapter(cls).json_schema()
    return schema


def leaves(cls: type) -> Iterator[tuple[str, Schema]]:
    """Give the dotted path and the schema of each value of a model made of models."""

    def walk(schema: Schema, prefix: str) -> Iterator[tuple[str, Schema]]:
        for name, part in schema["properties"].items():
            if "properties" in part:
                yield from walk(part, f"{prefix}{name}.")
            else:
                yield f"{prefix}{name}", part

    return walk(_without_links(cls), "")


def describe(schema: Schema) -> str:
    """Say what a value may be, such as "a number 0..1 (s)" or "one of a | b, or null"."""
    parts = schema.get("anyOf", [schema])
    kinds = [part for part in parts if part.get("type") != "null"]
    text = schema.get("expected") or _form(kinds[0])
    if len(kinds) > 1 and "expected" not in schema:  # a word that may stand instead of a number
        text = f"{_form(kinds[1]).removeprefix('one of ')} or {text}"
    text += f" ({schema['unit']})" if "unit" in schema else ""
    return f"{text}, or null" if len(parts) > len(kinds) else text


def _form(schema: Schema) -> str:
    """Say what one kind of value is, its range with it."""
    if "enum" in schema or "const" in schema:
        words = schema.get("enum", [schema.get("const")])
        return "one of " + " | ".join(str(word) for word in words if not isinstance(word, bool))
    if "properties" in schema:
        return f"a section with the keys {', '.join(schema['properties'])}"
    if schema["type"] == "array":
        item = (schema.get("prefixItems") or [schema["items"]])[0]
        least = schema.get("minItems", 0)
        exact = f"{least} " if "prefixItems" in schema else "one or more " if least else ""
        return f"a list of {exact}{_many(item)}{_range(item)}"
    if schema["type"] == "object":
        values = _part(schema, "")
        if numbers := _range(schema.get("propertyNames", {})):
            words = describe(values).removeprefix("one of ")
            return f"{{NUMBER: WORD}} with numbers{numbers} and {words}"
        return f"a mapping of texts to {_many(values)}" if values else "a mapping"
    return _WORDS[schema["type"]][0] + _range(schema)


def _many(schema: Schema) -> str:
    return _WORDS.get(schema.get("type", ""), ("", "objects"))[1]


def _range(schema: Schema) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f" {low:.10g}..{high:.10g}"
    if low is not None:
        return f" of at least {low:.10g}"
    return "" if high is None else f" of at most {high:.10g}"


def _problems(errors: Sequence[Mapping[str, Any]], schema: Schema) -> Iterator[Problem]:
    """Give pydantic's errors as ours: none of a list whose parts are wrong, which it counts as too
    few then, and one for all keys that a section lacks.
    """
    inside = {error["loc"][:end] for error in errors for end in range(len(error["loc"]))}
    missing: dict[tuple[Any, ...], list[str]] = {}
    for error in errors:
        if error["type"] == "missing":
            missing.setdefault(error["loc"][:-1], []).append(error["loc"][-1])
    for error in errors:
        *outer, name = error["loc"] or [""]
        names = missing.get(tuple(outer), []) if error["type"] == "missing" else []
        if len(names) > 1 and name == names[0]:
            key, expected = ".".join(map(str, outer)), f"the keys {', '.join(names)}"
            text = f"{key}: missing; expected {expected}".removeprefix(": ")
            yield Problem(text, key, None, expected)
        elif len(names) < 2 and error["loc"] not in inside:
            yield _problem(error, schema)


def _problem(error: Mapping[str, Any], schema: Schema) -> Problem:
    """Return one of pydantic's errors as ours."""
    kind, loc, value = error["type"], error["loc"], error["input"]
    if kind == "literal_error" and loc[-1:] == ("[key]",):  # of a mapping that has only some
        kind, loc = "unexpected", loc[:-1]
    parent = schema
    for name in loc:
        parent, schema = schema, _part(schema, name)
    key = ".".join(str(name)[:_LONGEST_KEY] for name in loc)
    if kind == "value_error":
        text = str(error["ctx"]["error"])
        if "properties" in schema:  # a rule between its keys, which names one of them
            return Problem(f"{key}.{text}".removeprefix("."), key, value, text)
        return _of_value(key, value, text)
    if kind.startswith("unexpected"):
        known = parent.get("properties") or parent["propertyNames"]["enum"]
        near = get_close_matches(str(loc[-1])[:_LONGEST_KEY], known, n=1, cutoff=_NEAR)
        names = ", ".join(near or known)
        return Problem(f"{key}: unknown key; expected {names}", key, value, names)
    expected = describe(schema)
    if kind == "missing":
        return Problem(f"{key}: missing; expected {expected}", key, None, expected)
    return _of_value(key, value, expected)


def _of_value(key: str, value: object, expected: str) -> Problem:
    text = f"{key}: {shown_value(value)}: expected {expected}".removeprefix(": ")
    return Problem(text, key, value, expected)


def _part(schema: Schema, name: str | int) -> Schema:
    """Return the schema of a section's key, or of the parts of a list or a mapping."""
    found = schema.get("properties", {}).get(name) or schema.get("items")
    found = found or schema.get("additionalProperties")
    return found if isinstance(found, dict) else {}


@cache
def _adapter(cls: type) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(cls)


@cache
def _without_links(cls: type) -> Schema:
    """Return the JSON Schema with each `$ref` replaced by what it leads to.

    What may be null has, beside `anyOf`, the keys of what else it is.
    """
    whole = schema_of(cls)

    def inline(node: Any) -> Any:
        if isinstance(node, list):
            return [inline(part) for part in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            node = whole["$defs"][node["$ref"].rpartition("/")[2]] | node
        node = {name: inline(part) for name, part in node.items() if name[0] != "$"}
        parts = [part for part in node.get("anyOf", ()) if part.get("type") != "null"]
        return parts[0] | node if len(parts) == 1 else node

    return cast(Schema, inline(whole))


def _nodes(schema: Any) -> Iterator[Schema]:
    """Give a core schema and all that it is made of."""
    if isinstance(schema, list | tuple):
        for part in schema:
            yield from _nodes(part)
    elif isinstance(schema, dict):
        if "type" in schema:
            yield schema
        for name, part in schema.items():
            if name != "metadata":
                yield from _nodes(part)


def _become(node: Schema, **changed: Any) -> None:
    """Replace a node of a core schema, in place: others hold it."""
    node.clear()
    node.update(changed)


def _change_before(node: Schema, change: Callable[[Any], object]) -> None:
    function = {"type": "no-info", "function": change}
    _become(node, type="function-before", schema=dict(node), function=function)


def _one_error(node: Schema) -> None:
    while node["type"] in ("default", "function-after"):  # a rule says its own
        node = node["schema"]
    words = {"custom_error_type": "value", "custom_error_message": "wrong"}
    _become(node, type="custom-error", schema=dict(node), **words)


def _as_whole(value: object) -> object:
    """Return 20.0 as 20: JSON Schema has it as a whole number too."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1 << 53:  # exact
        return int(value)
    return value


def _as_number(key: object) -> object:
    """Return a key as JSON has it, a text, as a number."""
    if isinstance(key, str) and re.fullmatch("[1-9][0-9]{0,18}", key):
        return int(key)
    return str(key) if isinstance(key, float) else key


def _keys_schema(low: int, high: int) -> Schema:
    """Return the schema of keys that are numbers in this range; as texts, in JSON."""
    ends = [(tens, max(low, 10 * tens), min(high, 10 * tens + 9)) for tens in range(high // 10 + 1)]
    parts = [f"{tens or ''}[{a % 10}-{b % 10}]" for tens, a, b in ends if a <= b]
    return {"pattern": f"^({'|'.join(parts)})$", "minimum": low, "maximum": high}
