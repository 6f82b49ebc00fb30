"""Data that people and files bring, as dataclasses: pydantic checks it, errors are one line each.

A model is an ordinary frozen dataclass under `Section`, its fields `Annotated[TYPE, Setting(...)]`
or plain. Who only uses one does not wait for pydantic, which is loaded by the first check.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from itertools import islice
from typing import Any, ClassVar, Final, Literal, TypeVar, cast

from samcam.system.files import shown_value

T = TypeVar("T")
Schema = dict[str, Any]
_MOST: Final = 100  # problems that anybody reads
_NEAR: Final = 0.8  # of 1, as difflib counts
_LONGEST_KEY: Final = 40  # characters of an unknown one that are shown
_WORDS: Final = {
    "boolean": ("true or false", "truth values"),
    "integer": ("a whole number", "whole numbers"),
    "number": ("a number", "numbers"),
    "string": ("text", "texts"),
}


class Section:
    """Base of the models: nothing unknown, no conversions but lists to tuples, numbers finite.

    `__needed__` are keys that data has to have although the class has a default.
    """

    __slots__ = ()
    __needed__: ClassVar[Collection[str]] = ()
    __pydantic_config__: ClassVar = {"extra": "forbid", "strict": True, "allow_inf_nan": False}

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Take mappings for a model and lists for a tuple, as YAML and JSON have them."""
        schema = handler(source)
        whole = handler.resolve_ref_schema(schema)
        for item in whole["schema"]["fields"]:
            if item["name"] in cls.__needed__:
                item["schema"] = item["schema"]["schema"]
        _ease(whole)
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
        rule: What a value must be beside the fields before it, in words; "" where it is that.
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
        """Add range, choices and rule, for pydantic."""
        schema = self._narrowed(handler(source), self.limits)
        return schema if self.rule is None else self._ruled(schema, self.rule)

    def __get_pydantic_json_schema__(self, schema: Any, handler: Callable[[Any], Any]) -> Any:
        """Add the meaning, for `schema_of`."""
        made = handler(schema)
        for part in made.get("anyOf", [made]):
            if part.get("type") == "object" and self.low is not None:  # JSON Schema has none
                part["keys"] = [self.low, self.high]
        words = {"description": self.doc, "unit": self.unit, "expected": self.expected}
        return made | {name: text for name, text in words.items() if text}

    def _ruled(self, schema: Schema, rule: Callable[[Any, Mapping[str, Any]], str]) -> Schema:
        from pydantic_core.core_schema import with_info_after_validator_function

        def check(value: Any, info: Any) -> Any:
            expected = rule(value, info.data)
            if expected:
                raise ValueError(expected)
            return value

        return dict(with_info_after_validator_function(check, schema))

    def _narrowed(self, schema: Schema, limits: Mapping[str, Any]) -> Schema:
        kind = {"int": int, "str": str}.get(schema["type"])
        if kind and self.choices and isinstance(self.choices[0], kind):
            return {"type": "literal", "expected": list(self.choices)}
        schema = dict(schema)
        if schema["type"] in ("int", "float"):
            ends = {"ge": self.low, "le": self.high}
            schema.update({name: end for name, end in ends.items() if end is not None})
        if schema["type"] not in ("nullable", "function-before"):
            schema.update(limits)  # of the value, not of its parts
            limits = {}
        for name in ("schema", "keys_schema", "values_schema"):
            if name in schema:
                schema[name] = self._narrowed(schema[name], limits)
        for name in ("items_schema", "choices"):
            if isinstance(schema.get(name), list):
                schema[name] = [self._narrowed(part, limits) for part in schema[name]]
        return schema


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

    @property
    def line(self) -> str:
        """All of them in one line."""
        return "; ".join(map(str, self.problems))


def read_model(cls: type[T], data: object) -> T:
    """Return data as a model.

    Args:
        cls: A dataclass under `Section`.
        data: As YAML or JSON gave it.

    Raises:
        ModelError: It does not fit; all problems at once, of a hundred the first.
    """
    from pydantic import ValidationError

    model: Any = cls
    try:
        return cast(T, _adapter(model).validate_python(data))
    except ValidationError as error:
        found: dict[str, Problem] = {}
        for one in islice(error.errors(include_url=False), _MOST):
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
    kinds = [part for part in parts if part.get("type") != "null"]
    text = schema.get("expected") or ""
    if not text:
        texts = [_form(part, whole) for part in kinds]
        if len(texts) > 1:  # a word that may stand instead of a number
            texts = [one.removeprefix("one of ") for one in reversed(texts)]
        text = " or ".join(texts)
    text += f" ({schema['unit']})" if "unit" in schema else ""
    return f"{text}, or null" if len(parts) > len(kinds) else text


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
        values = schema.get("additionalProperties")
        values = _resolved(values, whole) if isinstance(values, dict) else {}
        low, high = schema.get("keys", [None, None])
        if low is not None:
            words = describe(values, whole).removeprefix("one of ")
            return f"{{NUMBER: WORD}} with numbers {low:.10g}..{high:.10g} and {words}"
        if not values and "properties" not in schema:
            return "a mapping"
        if "properties" in schema:
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
    schema = parent = _resolved(whole, whole)
    given, rest = cast(Any, data), list(error["loc"])
    while rest and (rest != ["[key]"] or _holds(given, "[key]")):
        inner = _inner(schema, rest[0], whole)
        if inner is None:
            break
        name = rest.pop(0)
        parent, schema = schema, inner
        given = given[name] if _holds(given, name) else None
        path.append(str(name)[:_LONGEST_KEY])
    key, known = ".".join(path), _resolved(schema, whole).get("properties", {})
    if error["type"] == "value_error":
        return Problem("rule" if known else "value", key, given, str(error["ctx"]["error"]))
    if rest == ["[key]"]:  # of a mapping, that has only some
        return _unknown(key, given, _resolved(parent, whole)["propertyNames"]["enum"])
    if known and rest and error["type"].startswith(("extra", "unexpected")):
        return _unknown(".".join([*path, str(rest[0])[:_LONGEST_KEY]]), error["input"], known)
    missing = error["type"] == "missing" and not rest
    return Problem("missing" if missing else "value", key, given, describe(schema, whole))


def _unknown(key: str, value: object, known: Collection[str]) -> Problem:
    """Return the problem of a key that is none of these; the one that is nearly it, or all."""
    near = get_close_matches(key.rpartition(".")[2], known, n=1, cutoff=_NEAR)
    return Problem("unknown", key, value, ", ".join(near or known))


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
        many = isinstance(part, dict) and _resolved(part, whole).get("type") == "object"
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
