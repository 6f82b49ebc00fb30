"""Which room may use which, and only through its contents page.

docs/architecture.md draws it; the files are read with `ast`, nothing is imported.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPO_ROOT
from tests.helpers.source_tree import (
    HOUSE,
    PACKAGES,
    PRODUCT,
    PROGRAMS,
    Import,
    all_imports,
    imports_of,
    relative,
    sources,
)

MAX_ROOM_FILES = 15

# The floors, from the top down: a room uses only rooms on floors below its own.
# A file that stands loose in live/ is a room of its own.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("samcam",),
    ("live.cli",),
    ("live.recording",),
    ("live.loop",),
    ("live.remote",),
    ("live.config",),
    ("live.sinks",),
    (
        "live.feed",
        "live.window",
    ),
    ("live.profiles",),
    (
        "export",
        "live.effects",
        "live.metrics",
        "live.prompts",
    ),
    (
        "live.control",
        "live.motion",
        "live.sources",
        "live.tracker",
        "live.writer_thread",
    ),
    (
        "engines",
        "live.commands",
        "live.errors",
        "live.rle",
        "live.slots",
        "live.watchdog",
    ),
    (
        "guides",
        "kalman",
        "live.frames",
        "live.own_thread",
    ),
    (
        "live.masks",
        "live.prompt_checks",
        "memory",
    ),
    ("system",),
)
# Beside the package: programs that use it, and what they may take.
ALLOWED: dict[str, frozenset[str]] = {
    "tools": frozenset({"samcam"}),
    "training": frozenset({"training", "samcam.system"}),
    "bench": frozenset({"bench", "samcam"}),
    "simple_examples": frozenset({"samcam"}),
}


def dotted(path: Path) -> str:
    """The name of a file inside of the package, without `samcam.`."""
    return ".".join(path.relative_to(REPO_ROOT).with_suffix("").parts).removesuffix(".__init__")


def room_of(name: str) -> str:
    """The room of a module named without `samcam.`; a room in a room belongs to the outer one."""
    parts = name.split(".")
    return ".".join(parts[:2]) if parts[0] == "live" else parts[0]


def targets(item: Import) -> list[str]:
    """The modules of the package that one import reaches, without `samcam.`."""
    if item.module.partition(".")[0] != "samcam":
        return []
    inside = item.module.removeprefix("samcam").removeprefix(".")
    if not inside:
        return ["samcam"]
    path = REPO_ROOT.joinpath(*inside.split("."))
    files = [n for n in item.names if (path / f"{n}.py").is_file() or (path / n).is_dir()]
    return [f"{inside}.{name}" for name in files] or [inside]


def package_imports() -> Iterator[tuple[str, str, Import]]:
    """Every import inside of the package: the module, what it imports, the statement."""
    for path in sources(*HOUSE):
        for item in imports_of(path):
            for target in targets(item):
                yield dotted(path), target, item


def test_the_rooms_are_the_floors() -> None:
    """Every room stands on one floor, and every room on a floor is there."""
    rooms = {room_of(dotted(path)) for path in sources(*HOUSE)} - {"live"}
    assert sorted(rooms) == sorted(room for floor in FLOORS for room in floor)


def test_no_import_runs_up() -> None:
    """A room uses only rooms on floors below its own: not even its neighbours."""
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    wrong = [
        f"{item}: {room_of(target)} is not below {room_of(module)}"
        for module, target, item in package_imports()
        if room_of(target) != room_of(module)
        and room_of(target) != "live"
        and floor[room_of(target)] <= floor[room_of(module)]
    ]
    assert not wrong, "\n".join(wrong)


def test_engines_use_only_what_they_write_with() -> None:
    """Model folders are read and run without anything of the live loop, the memory or the gate."""
    wrong = [
        str(item)
        for module, target, item in package_imports()
        if room_of(module) == "engines" and room_of(target) not in ("engines", "system")
    ]
    assert not wrong, "\n".join(wrong)


def test_the_package_uses_no_program_beside_it() -> None:
    """A wheel has none of them; the exporter alone asks for `training`, where there is one."""
    programs = {"bench", "tools", "tests", "run_live"}
    wrong = [str(item) for item in all_imports(*HOUSE) if item.top in programs]
    assert not wrong, "\n".join(wrong)
    uses = [item for item in all_imports(*HOUSE) if item.top == "training"]
    at_import_time = {item.path for item in uses if item.at_import_time}
    inside = {item.path for item in uses if not item.at_import_time}
    assert (at_import_time, inside) == ({"export/nano.py"}, {"export/calibration.py"})


def test_no_two_files_import_each_other() -> None:
    """Also not over a third one, and also not inside functions."""
    graph: dict[str, set[str]] = {}
    for module, target, _ in package_imports():
        graph.setdefault(module, set()).add(target)
    done: set[str] = set()

    def walk(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " -> ".join((*way, module))
        if module not in done:
            for target in sorted(graph.get(module, ())):
                walk(target, (*way, module))
            done.add(module)

    for module in sorted(graph):
        walk(module, ())


def is_contents_page(name: str) -> bool:
    """Whether a module named without `samcam.` is a room's page, or a loose file of live/."""
    path = REPO_ROOT.joinpath(*name.split("."))
    return path.is_dir() or (name.count(".") == 1 and name.startswith("live."))


def test_rooms_are_entered_by_their_contents_page() -> None:
    """What a page does not list is nobody's business outside of the room."""
    wrong = [
        f"{item}: expected samcam.{target.rpartition('.')[0]}"
        for path in sources(*HOUSE, "bench", "training", "run_live.py")
        for item in imports_of(path)
        for target in targets(item)
        if room_of(target) != room_of(dotted(path))
        and not is_contents_page(target)
        and target != "samcam"
        and (dotted(path), target) != ("run_live", "__main__")
    ]
    assert not wrong, "\n".join(wrong)


def test_nothing_of_the_package_is_imported_at_the_top() -> None:
    """`import live` beside `import samcam.live` would make every class twice."""
    wrong = [
        str(item)
        for item in all_imports(*PACKAGES, "tests", "run_live.py")
        if item.top in HOUSE and item.top != "samcam"
    ]
    assert not wrong, "\n".join(wrong)


def test_rooms_stay_small() -> None:
    """At most 15 files; `sources` and `window` have rooms of their own inside."""
    large = [
        f"{relative(folder)}: {count} files"
        for folder in {path.parent for path in sources(*PRODUCT)}
        if (count := len(list(folder.glob("*.py")))) > MAX_ROOM_FILES
    ]
    assert not large, "\n".join(large)


@pytest.mark.parametrize("package", PROGRAMS)
def test_programs_beside_the_package(package: str) -> None:
    """bench uses all of it, training what reads files and speaks, tools what it describes."""
    ours = {*PACKAGES, "run_live", "tests"}
    wrong = [
        str(i)
        for i in all_imports(package)
        if i.top in ours
        and not any(i.module == a or i.module.startswith(f"{a}.") for a in ALLOWED[package])
    ]
    assert not wrong, "\n".join(wrong)
