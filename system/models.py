"""Data that people and files bring, as dataclasses: pydantic checks it, errors are one line each.

A model is an ordinary frozen dataclass under `Section`, its fields `Annotated[TYPE, Setting(...)]`
or plain. Who only uses one does not wait for pydantic, which is loaded by the first check.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Final, Literal, TypeVar, cast

from samcam.system.files import shown_value

T = TypeVar("T")
Schema = dict[str, Any]
_LONGEST_KEY: Final = 40  # characters of an unknown one that are shown
_WORDS: Final = {
    "boolean": ("true or false", "truth values"),
    "integer": ("a whole number", "whole numbers"),
    "number": ("a number", "numbers"),
    "string": ("text", "texts"),
}


class Section:
    """Base of the models: nothing unknown, no conversions but lists to tuples, numbers finite."""

    __slots__ = ()
    __pydantic_config__: ClassVar = {"extra": "forbid", "strict": True, "allow_inf_nan": False}

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Take mappings for a model and lists for a tuple, as YAML and JSON have them."""
        schema = handler(source)
        _ease(handler.resolve_ref_schema(schema))
        return schema


@dataclass(frozen=True, slots=True)
class Setting:
    """What one field means.

    Attributes:
        doc: One plain sentence.
        unit: Unit of a number, "" where it has none.
        low, high: Inclusive range of a number, of each number of a list, of a mapping's keys.
        expected: What it may hold, in words, where its type does not say it.
    """

    doc: str = ""
    unit: str = ""
    low: float | None = None
    high: float | None = None
    expected: str = ""

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        """Add the range, for pydantic."""
        return self._bounded(handler(source))

    def __get_pydantic_json_schema__(self, schema: Any, handler: Callable[[Any], Any]) -> Any:
        """Add the meaning, for `schema_of`."""
        made = handler(schema)
        for part in made.get("anyOf", [made]):
            if part.get("type") == "object":  # JSON Schema has no range of keys
                part["keys"] = [self.low, self.high]
        words = {"description": self.doc, "unit": self.unit, "expected": self.expected}
        return made | {name: text for name, text in words.items() if text}

    def _bounded(self, schema: Schema) -> Schema:
        if schema["type"] in ("int", "float"):
            limits = {"ge": self.low, "le": self.high}
            return schema | {name: limit for name, limit in limits.items() if limit is not None}
        schema = dict(schema)
        for name in ("schema", "keys_schema"):
            if name in schema:
                schema[name] = self._bounded(schema[name])
        for name in ("items_schema", "choices"):
            if isinstance(schema.get(name), list):
                schema[name] = [self._bounded(part) for part in schema[name]]
        return schema


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        kind: A wrong `value`, a `missing` or `unknown` key, or a `rule` between keys.
        key: Dotted path; of a rule the section's, "" of the outermost one.
        value: As given; None where it is missing.
        expected: In words; the known keys beside an unknown one; of a rule the whole text.
    """

    kind: Literal["value", "missing", "unknown", "rule"]
    key: str
    value: object
    expected: str

    def __str__(self) -> str:
        """Say it in one line."""
        if self.kind == "rule":
            return f"{self.key}.{self.expected}".removeprefix(".")
        what = {"missing": "missing;", "unknown": "unknown key;"}.get(self.kind)
        what = what or f"{shown_value(self.value)}:"
        return f"{self.key}: {what} expected {self.expected}".removeprefix(": ")


class ModelError(ValueError):
    """Data that does not fit its model; `problems` has all that is wrong."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


def read_model(cls: type[T], data: object) -> T:
    """Return data as a model.

    Args:
        cls: A dataclass under `Section`.
        data: As YAML or JSON gave it.

    Raises:
        ModelError: It does not fit; all problems at once.
    """
    from pydantic import ValidationError

    model: Any = cls
    try:
        return cast(T, _adapter(model).validate_python(data))
    except ValidationError as error:
        found: dict[str, Problem] = {}
        for one in error.errors(include_url=False):
            problem = _problem(one, schema_of(model), data)
            found.setdefault(str(problem), problem)
        raise ModelError(tuple(found.values())) from None


@cache
def schema_of(cls: type) -> Schema:
    """Return the JSON Schema of a model; do not change it."""
    schema: Schema = _adapter(cls).json_schema()
    return schema


def leaves(cls: type) -> Iterator[tuple[str, Schema]]:
    """Give the dotted path and the schema of each value of a model made of models."""
    whole = schema_of(cls)

    def walk(schema: Schema, prefix: str) -> Iterator[tuple[str, Schema]]:
        for name, part in schema["properties"].items():
            inner = _resolved(part, whole)
            if "properties" in inner:
                yield from walk(inner, f"{prefix}{name}.")
            else:
                yield f"{prefix}{name}", part

    return walk(_resolved(whole, whole), "")


def describe(schema: Schema, whole: Schema | None = None) -> str:
    """Say what a value may be, such as "a number 0..1 (s)" or "one of a | b, or null".

    Args:
        schema: Of the value.
        whole: Of the model, where parts of it are elsewhere.
    """
    whole = whole or {}
    parts = [_resolved(part, whole) for part in schema.get("anyOf", [schema])]
    texts = [_form(part, whole) for part in parts if part.get("type") != "null"]
    if len(texts) > 1:  # a word that may stand instead of a number
        texts = [text.removeprefix("one of ") for text in reversed(texts)]
    text = schema.get("expected") or " or ".join(texts)
    text += f" ({schema['unit']})" if "unit" in schema else ""
    return f"{text}, or null" if len(parts) > len(texts) else text


def _form(schema: Schema, whole: Schema) -> str:
    """Say what one kind of value is, its range with it."""
    kind = schema.get("type", "")
    if "enum" in schema or "const" in schema:
        return "one of " + " | ".join(map(str, schema.get("enum", [schema.get("const")])))
    if kind == "array":
        item = _resolved((schema.get("prefixItems") or [schema.get("items", {})])[0], whole)
        what = _WORDS.get(item.get("type", ""), ("", "objects"))[1]
        exact = schema.get("minItems") if schema.get("minItems") == schema.get("maxItems") else ""
        return " ".join(f"a list of {exact or ''} {what}{_range(item)}".split())
    if kind == "object":
        values = _resolved(schema.get("additionalProperties") or {}, whole)
        low, high = schema.get("keys", [None, None])
        if low is not None:
            words = describe(values, whole).removeprefix("one of ")
            return f"{{NUMBER: WORD}} with numbers {low:.10g}..{high:.10g} and {words}"
        if "properties" in schema or not values:
            return f"a section with the keys {', '.join(schema.get('properties', {}))}"
        return f"a mapping of texts to {_WORDS.get(values.get('type', ''), ('', 'objects'))[1]}"
    return _WORDS[kind][0] + _range(schema)


def _range(schema: Schema) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f" {low:.10g}..{high:.10g}"
    if low is not None:
        return f" of at least {low:.10g}"
    return "" if high is None else f" of at most {high:.10g}"


def _problem(error: Mapping[str, Any], whole: Schema, data: object) -> Problem:
    """Turn one of pydantic's errors into ours: the key whose value is wrong, not a part of it."""
    path: list[str] = []
    schema, given = _resolved(whole, whole), cast(Any, data)
    for name in error["loc"]:
        inner = _inner(schema, name, whole)
        if inner is None:
            break
        schema = inner
        given = given[name] if _holds(given, name) else None
        path.append(str(name))
    rest, key = error["loc"][len(path) :], ".".join(path)
    is_section = "properties" in _resolved(schema, whole)
    if error["type"] == "value_error":
        text = str(error["ctx"]["error"])
        return Problem("rule" if is_section else "value", key, given, text)
    if is_section and rest and error["type"].startswith(("extra", "unexpected")):
        unknown = ".".join([*path, str(rest[0])[:_LONGEST_KEY]])
        known = ", ".join(_resolved(schema, whole)["properties"])
        return Problem("unknown", unknown, error["input"], known)
    missing = error["type"] == "missing" and not rest
    return Problem("missing" if missing else "value", key, given, describe(schema, whole))


def _holds(data: object, name: Any) -> bool:
    if isinstance(data, Mapping):
        return name in data
    return isinstance(data, list | tuple) and isinstance(name, int) and name < len(data)


def _inner(schema: Schema, name: Any, whole: Schema) -> Schema | None:
    """Return the schema of a section's key, or of one section of many; None: it has no such."""
    schema = _resolved(schema, whole)
    found: Schema | None = schema.get("properties", {}).get(name)
    if found is None:
        part = schema.get("items" if schema.get("type") == "array" else "additionalProperties")
        many = isinstance(part, dict) and "properties" in _resolved(part, whole)
        found = part if many else None
    return found


def _resolved(schema: Schema, whole: Schema) -> Schema:
    """Follow a link to another part of the schema, also of a section that may be null."""
    parts = [part for part in schema.get("anyOf", ()) if part.get("type") != "null"]
    if len(parts) == 1 and "$ref" in parts[0]:
        schema = parts[0]
    if "$ref" in schema:
        return _resolved(whole["$defs"][schema["$ref"].rpartition("/")[2]], whole)
    return schema


@cache
def _adapter(cls: type) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(cls)


def _ease(node: Any) -> None:
    """Let sections be mappings, tuples lists, and whole numbers as keys texts, as in JSON."""
    if isinstance(node, list | tuple):
        for part in node:
            _ease(part)
    if not isinstance(node, dict):
        return
    for part in node.values():
        _ease(part)
    if node.get("type") in ("dataclass", "tuple"):
        node["strict"] = False
    if node.get("type") == "literal":  # YAML takes the word `true` for a truth value, False is 0
        _first(node, lambda value: str(value).lower() if isinstance(value, bool) else value)
    if node.get("type") == "dict" and node["keys_schema"]["type"] == "int":
        _first(node["keys_schema"], lambda key: int(key) if _is_decimal(key) else key)


def _is_decimal(key: object) -> bool:
    return isinstance(key, str) and key.isdecimal() and len(key) < 20


def _first(node: Schema, change: Callable[[Any], Any]) -> None:
    """Change a value before its check."""
    from pydantic_core.core_schema import no_info_before_validator_function

    made = no_info_before_validator_function(change, cast(Any, dict(node)))
    node.clear()
    node.update(made)
