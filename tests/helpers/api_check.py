"""Finds the uses of a compiled module in our sources with `ast`, and compares them with it.

The module is known by the name of a variable (`trt`, `cudart`), which our sources keep to. From
there types follow: from constructors, from the return types in the module's own docstrings, from
properties, and from annotations such as `engine: trt.ICudaEngine`. Every attribute of a value of
known type must exist, be settable where it is set, and take the arguments that it is given.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

RETURN = re.compile(r"\)\s*->\s*(.+?)\s*$", re.MULTILINE)
LIST = re.compile(r"^(?:list|List)\[(.+)\]$")
# C++ names that docstrings let through
RENAMED = {
    "nvonnxparser::IParserError": "ParserError",
    "nvinfer1::IRuntimeCache": "IRuntimeCache",
}


@dataclass(frozen=True)
class Type:
    """What is known of a value: its kind and the path of its class in the module."""

    kind: str  # "module", "class", "object", "method", "list" or "tuple"
    path: str = ""
    items: tuple[Type | None, ...] = ()


@dataclass
class Report:
    """What one file uses, and what is wrong with it."""

    uses: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)


class Api:
    """A module as `tests/helpers/api_dump.py` prints it."""

    def __init__(self, dump: Mapping[str, Any]) -> None:
        self.version = str(dump["version"])
        self._dump = dump

    def holder(self, path: str) -> Mapping[str, Any] | None:
        """Return the dump of a class, of the module for an empty path."""
        found: Any = self._dump
        for part in filter(None, path.split(".")):
            found = found["classes"].get(part)
            if found is None:
                return None
        return found

    def parse(self, text: str) -> Type | None:
        """Return the type that a docstring names, None for one that is not the module's."""
        text = RENAMED.get(text.strip(), text.strip())
        inside = LIST.match(text)
        if inside:
            return Type("list", items=(self.parse(inside[1]),))
        path = re.sub(r"^\w+\.tensorrt(_rtx)?\.", "", text)
        return Type("object", path) if path and self.holder(path) else None


@dataclass(frozen=True)
class Signature:
    """One overload: names and types of its parameters without self, and what it returns."""

    names: tuple[str, ...]
    types: tuple[str, ...]
    required: int
    returns: str


def signatures(name: str, doc: str) -> list[Signature]:
    """Read the overloads from a docstring; pybind11 and Cython write one line each."""
    found = []
    for match in re.finditer(rf"^(?:\d+\. )?{re.escape(name)}\((.*)\)(?: -> (.+))?$", doc, re.M):
        parts = split_arguments(match[1])
        if parts[:1] == ["*args"]:
            continue
        if parts and parts[0].partition(":")[0].strip() == "self":
            parts = parts[1:]
        names = tuple(re.split(r"[:=]", part)[0].split()[-1] for part in parts)
        types = tuple(part.partition(":")[2].partition("=")[0].strip() for part in parts)
        required = sum("=" not in part for part in parts)
        found.append(Signature(names, types, required, match[2] or ""))
    return found


def split_arguments(text: str) -> list[str]:
    """Split at commas outside of brackets."""
    parts, depth, start = [], 0, 0
    for i, letter in enumerate(text):
        depth += (letter in "[(<") - (letter in "])>" and text[i - 1] not in "-")
        if letter == "," and not depth:
            parts.append(text[start:i])
            start = i + 1
    return [part.strip() for part in [*parts, text[start:]] if part.strip()]


def annotation_type(api: Api, root: str, node: ast.expr | None) -> Type | None:
    """Return the type of an annotation such as `trt.Runtime` or `tuple[trt.Runtime, int]`."""
    if node is None:
        return None
    text = ast.unparse(node).strip("'\"")
    if text.startswith("tuple[") and f"{root}." in text:
        items = [ast.parse(part, mode="eval").body for part in split_arguments(text[6:-1])]
        return Type("tuple", items=tuple(annotation_type(api, root, item) for item in items))
    if text.startswith(f"list[{root}."):
        item = annotation_type(api, root, ast.parse(text[5:-1], mode="eval").body)
        return item and Type("list", items=(item,))
    if not text.startswith(f"{root}."):
        return None
    path = text.removeprefix(f"{root}.")
    return Type("object", path) if api.holder(path) else Type("unknown", path)


def returns_of(api: Api, root: str, trees: Sequence[ast.Module]) -> dict[str, Type]:
    """Return what our own functions return, for those that return the module's objects."""
    found = {}
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                kind = annotation_type(api, root, node.returns)
                if kind is not None:
                    found[node.name] = kind
    return found


class Checker:
    """Walks one file."""

    def __init__(
        self, api: Api, root: str, returns: Mapping[str, Type], aliases: Sequence[str] = ()
    ) -> None:
        self.api = api
        self.root = root
        self.report = Report()
        self._returns = returns
        self._roots = {root, f"_{root}", *aliases}
        self._own: dict[str, Type | None] = {}
        self._env: dict[str, Type | None] = {}

    def run(self, tree: ast.Module) -> Report:
        """Check a file; twice, for attributes of self that are set after they are used."""
        for _ in range(2):
            self.report = Report()
            self._block(tree.body)
        return self.report

    def _problem(self, node: ast.AST, text: str) -> None:
        self.report.problems.append(f"line {getattr(node, 'lineno', 0)}: {text}")

    # --- statements

    def _block(self, body: Sequence[ast.stmt]) -> None:
        for statement in body:
            self._statement(statement)

    def _statement(self, node: ast.stmt) -> None:
        if isinstance(node, ast.FunctionDef):
            self._function(node)
        elif isinstance(node, ast.ClassDef):
            self._class(node)
        elif isinstance(node, ast.Assign):
            value = self._infer(node.value)
            for target in node.targets:
                self._bind(target, value)
        elif isinstance(node, ast.AnnAssign):
            value = self._infer(node.value) if node.value else None
            kind = annotation_type(self.api, self.root, node.annotation)
            self._bind(node.target, kind or value)
        elif isinstance(node, ast.For):
            self._bind(node.target, element(self._infer(node.iter)))
            self._block([*node.body, *node.orelse])
        else:
            for child in ast.iter_child_nodes(node):
                if isinstance(child, ast.stmt):
                    self._statement(child)
                elif isinstance(child, ast.expr):
                    self._infer(child)
                elif isinstance(child, ast.withitem):
                    self._infer(child.context_expr)
                elif isinstance(child, ast.ExceptHandler):
                    self._block(child.body)

    def _function(self, node: ast.FunctionDef) -> None:
        outer = dict(self._env)
        for argument in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]:
            kind = annotation_type(self.api, self.root, argument.annotation)
            if kind is not None and kind.kind == "unknown":
                self._problem(node, f"annotation {self.root}.{kind.path}: no such class")
                kind = None
            self._env[argument.arg] = kind
        self._block(node.body)
        self._env = outer

    def _class(self, node: ast.ClassDef) -> None:
        outer, self._own = self._own, dict(self._own)
        for base in node.bases:
            kind = self._infer(base)
            if kind is not None and kind.kind == "class":
                self._check_overrides(node, kind.path)
        self._block(node.body)
        self._own = outer

    def _check_overrides(self, node: ast.ClassDef, path: str) -> None:
        """A subclass must define each method of its base, with as many parameters."""
        holder = self.api.holder(path) or {"members": {}}
        defined = {f.name: f for f in node.body if isinstance(f, ast.FunctionDef)}
        for name, member in holder["members"].items():
            if member["kind"] != "method" or name.startswith("_"):
                continue
            function = defined.get(name)
            wanted = signatures(name, member["doc"])
            if function is None:
                self._problem(node, f"{node.name}: {path}.{name} is not defined")
            elif wanted and len(function.args.args) - 1 != len(wanted[0].names):
                self._problem(node, f"{node.name}.{name}: expected {wanted[0].names}")
            self.report.uses.add(f"{path}.{name}")

    def _bind(self, target: ast.expr, value: Type | None) -> None:
        if isinstance(target, ast.Name):
            self._env[target.id] = value
        elif isinstance(target, ast.Tuple):
            items = value.items if value is not None and value.kind == "tuple" else ()
            for i, item in enumerate(target.elts):
                self._bind(item, items[i] if i < len(items) else None)
        elif isinstance(target, ast.Attribute):
            if isinstance(target.value, ast.Name) and target.value.id == "self":
                if value is not None or target.attr not in self._own:  # None: it is let go
                    self._own[target.attr] = value
                return
            owner = self._infer(target.value)
            if owner is not None and owner.kind == "object":
                self._member(owner, target.attr, target, store=True)
        else:
            self._infer(target)

    # --- expressions

    def _infer(self, node: ast.expr) -> Type | None:
        if isinstance(node, ast.Name):
            if node.id in self._roots:
                return Type("module")
            return self._env.get(node.id)
        if isinstance(node, ast.Attribute):
            return self._attribute(node)
        if isinstance(node, ast.Call):
            return self._call(node)
        if isinstance(node, ast.Subscript):
            self._infer(node.slice)
            return element(self._infer(node.value))
        if isinstance(node, ast.ListComp | ast.GeneratorExp | ast.SetComp | ast.DictComp):
            outer = dict(self._env)
            for part in node.generators:
                self._bind(part.target, element(self._infer(part.iter)))
                for condition in part.ifs:
                    self._infer(condition)
            parts = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
            kinds = [self._infer(part) for part in parts]
            self._env = outer
            return Type("list", items=(kinds[0],))
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self._infer(child)
            elif isinstance(child, ast.keyword):
                self._infer(child.value)
        return None

    def _attribute(self, node: ast.Attribute) -> Type | None:
        if node.attr in self._roots:
            return Type("module")
        if isinstance(node.value, ast.Name) and node.value.id == "self":
            return self._own.get(node.attr)
        owner = self._infer(node.value)
        return self._member(owner, node.attr, node) if owner is not None else None

    def _member(self, owner: Type, name: str, node: ast.AST, store: bool = False) -> Type | None:
        if owner.kind not in ("module", "class", "object"):
            return None
        if name == "__version__":
            return None
        holder = self.api.holder(owner.path)
        where = f"{owner.path}.{name}".lstrip(".")
        self.report.uses.add(where)
        member = holder["members"].get(name) if holder else None
        if member is None:
            self._problem(node, f"{where}: not in version {self.api.version}")
            return None
        if store and not member.get("settable", False):
            self._problem(node, f"{where}: cannot be set")
        if member["kind"] == "class":
            return Type("class", where)
        if member["kind"] in ("method", "function"):
            return Type("method", where, (owner,))
        if member["kind"] == "value":
            return self.api.parse(member["type"])
        returned = RETURN.search(member.get("doc") or "")
        return self.api.parse(returned[1]) if returned else None

    def _call(self, node: ast.Call) -> Type | None:
        given = [self._infer(argument) for argument in node.args]
        named = {k.arg: self._infer(k.value) for k in node.keywords}
        if isinstance(node.func, ast.Name):
            if node.func.id in ("getattr", "hasattr") and given[:1] == [Type("module")]:
                self._problem(node, f"{node.func.id}: hides a name from this check")
            known = self._returns.get(node.func.id)
            if known is not None:
                return known
        if isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) == "self":
            return self._returns.get(node.func.attr)
        called = self._infer(node.func)
        if called is None or called.kind not in ("class", "method"):
            return None
        path = f"{called.path}.__init__" if called.kind == "class" else called.path
        holder, _, name = path.rpartition(".")
        member = (self.api.holder(holder) or {"members": {}})["members"].get(name, {})
        overloads = signatures(name, member.get("doc") or "")
        starred = any(isinstance(argument, ast.Starred) for argument in node.args)
        unbound = called.items[:1] and called.items[0].kind == "class"  # Base.__init__(self)
        if unbound:
            given = given[1:]
        if not overloads or starred:
            return Type("object", called.path) if called.kind == "class" else None
        for overload in overloads:
            if self._fits(overload, given, named):
                if called.kind == "class":
                    return Type("object", called.path)
                return self.api.parse(overload.returns)
        self._problem(node, f"{path}: does not take what it is given; it takes {overloads}")
        return None

    def _fits(
        self,
        overload: Signature,
        given: Sequence[Type | None],
        named: Mapping[str | None, Type | None],
    ) -> bool:
        if len(given) > len(overload.names) or not set(named) <= set(overload.names):
            return False
        if len(given) + len(named) < overload.required:
            return False
        values = dict(zip(overload.names, given, strict=False)) | named
        for name, wanted in zip(overload.names, overload.types, strict=True):
            kind, value = self.api.parse(wanted), values.get(name)
            if kind is None or value is None or value.kind != "object":
                continue
            holder = self.api.holder(value.path) or {"bases": []}
            if kind.path != value.path and kind.path not in holder["bases"]:
                return False
        return True


def element(kind: Type | None) -> Type | None:
    """Return the type of what is inside."""
    if kind is None or kind.kind != "list":
        return None
    return kind.items[0]
