"""Untrusted YAML: bounded in size, depth, length of numbers and expansion of aliases.

A few lines of YAML can expand to millions of values (`&a`, `*a` and `<<` again and again), or to
values that contain themselves; all of that is counted before anything is built.
"""

from __future__ import annotations

import re
from typing import Any, Final

import yaml

MAX_BYTES: Final = 1 << 20
_MAX_VALUES: Final = 20_000  # aliases expanded; a whole config.yaml has some hundred
_MAX_EVENTS: Final = 2 * _MAX_VALUES  # lists have two, a begin and an end
_MAX_DEPTH: Final = 32
_MAX_NUMBER: Final = 64  # characters
_SHOWN_PARTS: Final = 8
_LONGEST_SHOWN: Final = 80
_MERGE: Final = "tag:yaml.org,2002:merge"
_NUMBERS: Final = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_Base: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml where there is one


class YamlError(ValueError):
    """A one-line message; `line` counts from 1, None where it is unknown."""

    def __init__(self, what: str, line: int | None = None) -> None:
        super().__init__(what.partition("\n")[0])
        self.line = line


def parse_yaml(text: str) -> Any:
    """Parse one YAML document.

    Raises:
        YamlError: It is not YAML, exceeds a bound, or has a key twice.
    """
    if len(text) > MAX_BYTES:
        raise YamlError(f"larger than {MAX_BYTES} bytes")
    try:
        _check_events(text)
        return _construct(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = error.problem or error.context or "not YAML"
        if what.startswith("but "):
            what = f"{error.context}, {what}"
        raise YamlError(what, None if mark is None else mark.line + 1) from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # such as a date that is none
        raise YamlError(str(error)) from error
    except (TypeError, AttributeError, LookupError) as error:  # `!!int ""`, `!!timestamp x`
        raise YamlError("a tag that does not fit its value") from error


def _construct(text: str) -> Any:
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _check_tree(node)
        return loader.construct_document(node)
    finally:
        loader.dispose()


class _Loader(_Base):  # type: ignore[misc]  # one of two classes with the same methods
    """Refuses a key that stands twice, where YAML would keep the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                raise _problem(f"the key {key.value[:60]} stands twice", key)
            seen.add(key.value)
        made: dict[Any, Any] = super().construct_mapping(node, deep)
        return made


# YAML 1.1 reads 1e-3 as text.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


# A set has no order, which a list of settings needs.
_Loader.add_constructor(
    "tag:yaml.org,2002:set", yaml.constructor.SafeConstructor.construct_undefined
)


def _problem(text: str, node: Any) -> yaml.MarkedYAMLError:
    """Return an error at the place of a node or an event."""
    return yaml.constructor.ConstructorError(None, None, text, node.start_mark)


def _check_events(text: str) -> None:
    """Count values and levels while reading: building a tree could exhaust the stack.

    Raises:
        yaml.YAMLError: There are too many, or it is not YAML.
    """
    depth = 0
    for count, event in enumerate(yaml.parse(text, _Loader)):
        if count > _MAX_EVENTS:
            raise _problem(f"more than {_MAX_VALUES} values", event)
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _MAX_DEPTH:
                raise _problem(f"nested deeper than {_MAX_DEPTH} levels", event)
        depth -= isinstance(event, yaml.CollectionEndEvent)


def _check_tree(root: yaml.Node) -> None:
    """Count the values with aliases expanded; bottom up, each node once.

    Raises:
        yaml.MarkedYAMLError: It exceeds a bound, or contains itself.
    """
    heights: dict[int, int] = {}  # of finished nodes; 0 while inside one
    sizes: dict[int, int] = {}
    waiting: list[tuple[yaml.Node, bool]] = [(root, False)]
    while waiting:
        node, done = waiting.pop()
        parts = _parts(node)
        if done:
            heights[id(node)] = 1 + max((heights[id(part)] for part in parts), default=0)
            sizes[id(node)] = 1 + sum(sizes[id(part)] for part in parts)
            if sizes[id(node)] > _MAX_VALUES:
                raise _problem(f"stands for more than {_MAX_VALUES} values", node)
            if heights[id(node)] > _MAX_DEPTH + 1:
                raise _problem(f"nested deeper than {_MAX_DEPTH} levels", node)
        elif heights.get(id(node)) == 0:
            raise _problem("a value that contains itself", node)
        elif id(node) not in heights:
            _check_number(node)
            heights[id(node)] = 0
            waiting.append((node, True))
            waiting += [(part, False) for part in parts]


def _parts(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _check_number(node: yaml.Node) -> None:
    if not isinstance(node, yaml.ScalarNode) or node.tag not in _NUMBERS:
        return
    if len(node.value) > _MAX_NUMBER:
        raise _problem(f"a number of {len(node.value)} characters", node)
    base = 60 if ":" in node.value else 8 if re.fullmatch("[-+]?0[0-9_]+", node.value) else 10
    if base != 10:  # YAML 1.1 has 1:30 as 90 and 010 as 8
        raise _problem(
            f"{node.value}: a number in base {base}; expected base 10, or quotes around a text",
            node,
        )


def key_lines(text: str) -> dict[str, int]:
    """Return the line of each dotted key of a text that `parse_yaml` took, counted from 1."""
    found: dict[str, int] = {}

    def walk(node: yaml.Node | None, prefix: str) -> None:
        pairs = node.value if isinstance(node, yaml.MappingNode) else ()
        for key, value in sorted(pairs, key=lambda pair: pair[0].tag != _MERGE):
            if key.tag == _MERGE:  # of several the first wins; what stands beside it wins over all
                for part in reversed(value.value) if value.id == "sequence" else [value]:
                    walk(part, prefix)
            elif isinstance(key, yaml.ScalarNode):
                found[f"{prefix}{key.value}"] = key.start_mark.line + 1
                walk(value, f"{prefix}{key.value}.")

    walk(yaml.compose(text, _Loader), "")
    return found


def _cut(value: object, levels: int = 3) -> object:
    """Return the beginning of a value, as much as fits into a message."""
    if isinstance(value, dict):
        parts = list(value.items())[:_SHOWN_PARTS] if levels else []
        return {key: _cut(part, levels - 1) for key, part in parts}
    if isinstance(value, list | tuple):
        return [_cut(part, levels - 1) for part in list(value)[:_SHOWN_PARTS]] if levels else []
    return value


def shown_yaml(value: object) -> str:
    """Return a value as YAML would write it, cut to one short line."""
    text = yaml.safe_dump(_cut(value), default_flow_style=True, allow_unicode=True, width=10_000)
    text = text.removesuffix("...\n").strip().replace("\n", " ")
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 3]}..."
