"""The sources of the package and of the programs beside it, and what each file imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import REPO_ROOT

HOUSE = ("samcam", "live", "export", "engines", "guides", "memory", "kalman", "system")
PROGRAMS = ("bench", "training", "tools", "simple_examples")
PRODUCT = ("samcam", "live", "engines", "guides", "memory", "kalman", "system")
PACKAGES = (*HOUSE, *PROGRAMS)


@dataclass(frozen=True, slots=True)
class Import:
    """One import statement: what, where, and whether it runs when the module is imported."""

    module: str
    path: str
    line: int
    at_import_time: bool
    names: tuple[str, ...] = ()

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]

    def __str__(self) -> str:
        return f"{self.path}:{self.line} imports {self.module}"


def sources(*packages: str) -> list[Path]:
    """All Python files of these packages, and run_live.py when it is asked for by name."""
    files: list[Path] = []
    for package in packages:
        path = REPO_ROOT / package
        files += [path] if path.is_file() else sorted(path.rglob("*.py"))
    return files


def relative(path: Path) -> str:
    return path.relative_to(REPO_ROOT).as_posix() if path.is_relative_to(REPO_ROOT) else path.name


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def is_type_checking(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def imports_of(path: Path) -> list[Import]:
    """Every import of one file, those in functions included, `if TYPE_CHECKING` left out."""
    found: list[Import] = []

    def walk(node: ast.AST, deferred: bool) -> None:
        if isinstance(node, ast.stmt) and is_type_checking(node):
            return
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{relative(path)}:{node.lineno}: relative import"
            names = [node.module or ""]
        else:
            names = []
        line = getattr(node, "lineno", 0)
        taken = tuple(a.name for a in node.names) if isinstance(node, ast.ImportFrom) else ()
        found.extend(Import(name, relative(path), line, not deferred, taken) for name in names)
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            walk(child, deferred or inside)

    walk(parse(path), deferred=False)
    return found


def all_imports(*packages: str) -> list[Import]:
    return [item for path in sources(*packages) for item in imports_of(path)]


def functions_of(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
