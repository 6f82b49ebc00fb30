"""The project's own promises: README's commands work, links resolve, pins agree."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import run_live
from samcam.live.profiles import save_profile
from samcam.live.remote.command_text import parse_command
from samcam.system.version import VERSION
from tests.conftest import REPO_ROOT, RunCli, require_tool, skip_or_fail
from tests.helpers.bounds import RUN_TIMEOUT_S
from tests.helpers.recordings import one_step
from tools import module_table

MAX_TRACKED_BYTES = 1_000_000
MAY_BE_LARGE = ("engines/nano/", "training/checkpoint/")
MAX_MODEL_BYTES = 25 * 1024 * 1024
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([A-Za-z0-9.]+)(; .+)?$")  # where it is for, behind
# Builds for other hardware share its folder, in versions of their own: the last one is the pin.
RANGE = re.compile(r"^(onnxruntime)>=[0-9.]+,<=([0-9.]+)$")
FENCE = re.compile(r"^```[a-z]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def pyproject() -> dict[str, Any]:
    return tomllib.loads((REPO_ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def read(name: str) -> str:
    return (REPO_ROOT / name).read_text(encoding="utf-8")


def tracked_files() -> list[str]:
    """Names of the files that git tracks."""
    git = require_tool("git", "git")
    done = subprocess.run(
        [git, "ls-files", "-z"],
        cwd=REPO_ROOT,
        capture_output=True,
        timeout=RUN_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        skip_or_fail(f"not a git checkout: {done.stderr.decode().strip()}")
    names = [name for name in done.stdout.decode().split("\0") if name]
    return [name for name in names if (REPO_ROOT / name).is_file()]


def documents() -> list[Path]:
    """Every page for people."""
    return [*sorted(REPO_ROOT.glob("*.md")), *sorted((REPO_ROOT / "docs").rglob("*.md"))]


def command_lines(*pages: str) -> list[str]:
    """Commands in the fenced blocks of these pages, continued lines joined, comments cut."""
    text = "\n".join(block for page in pages for block in FENCE.findall(read(page)))
    lines = text.replace("\\\n", " ").splitlines()
    return [" ".join(shlex.split(line, comments=True, posix=False)) for line in lines if line]


def pins(requirements: list[str]) -> dict[str, str]:
    """Name -> version; an assertion fails on anything that is not pinned."""
    found = {}
    for requirement in requirements:
        match = PIN.match(requirement) or RANGE.match(requirement)
        assert match, f"{requirement}: expected NAME==VERSION, or NAME==VERSION; MARKER"
        found[match[1].lower().replace("_", "-")] = match[2]
    return found


def all_pins() -> dict[str, set[str]]:
    """Name -> versions; more than one only in extras that exclude each other."""
    project = pyproject()["project"]
    found = {name: {version} for name, version in pins(project["dependencies"]).items()}
    for extra in project["optional-dependencies"].values():
        for name, version in pins(extra).items():
            found.setdefault(name, set()).add(version)
    return found


def test_quick_start_is_two_commands() -> None:
    section = read("README.md").split("## Quick start", 1)[1]
    first = FENCE.search(section)
    assert first
    commands = [line.split("#")[0].strip() for line in first[1].splitlines() if line.strip()]
    assert commands == ["make demo", "make test"]


def test_make_commands_in_the_docs_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE))
    text = "\n".join(page.read_text(encoding="utf-8") for page in documents())
    named = set(re.findall(r"(?:`|^|&& )make ([a-z][a-z-]*)", text, re.MULTILINE))
    assert {"demo", "test", "test-fast", "check", "bench"} <= named
    assert named <= targets, f"not in the Makefile: {sorted(named - targets)}"


def test_make_help_keeps_its_columns() -> None:
    """A long name pushed its text out of the column."""
    make = require_tool("make", "make")
    done = subprocess.run(
        [make, "--no-print-directory", "help"],  # the suite itself is started by make
        cwd=REPO_ROOT,
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
    )
    found = [re.match(r"  make [a-z-]+ +", line) for line in done.stdout.splitlines()]
    assert len(found) > 10
    assert len({None if match is None else match.end() for match in found}) == 1


def test_command_lines_in_the_pages_are_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every `run_live.py` or `samcam` line passes the checks that come before source and model."""
    monkeypatch.chdir(tmp_path)
    for name in ("XDG_DATA_HOME", "LOCALAPPDATA", "HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    options = {"source": "0", "model": "nano", "preset": "default", "effect": "blur"}
    picture = np.zeros((8, 8, 3), np.uint8)
    save_profile("guitar", options, picture, {1: np.ones((8, 8), np.bool_)})
    one_step(tmp_path / "talk")  # what the lines with --replay read
    found = 0
    for line in command_lines(*(page.relative_to(REPO_ROOT).as_posix() for page in documents())):
        words = shlex.split(line)
        names = [Path(word).name for word in words]
        start = next((i for i, n in enumerate(names) if n in ("run_live.py", "samcam")), None)
        if start is not None and words[0] not in ("from", "import"):
            if words[start + 1 : start + 2] == ["ctl"]:
                assert parse_command(" ".join(words[start + 2 :])) is not None
                continue
            code = run_live.main([*words[start + 1 :], "--check-config"])
            assert code == 0, f"{line}\n{capsys.readouterr().err}"
            found += 1
    assert found >= 30


def test_programs_in_the_docs_exist() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in documents())
    named = set(
        re.findall(r"python -m (?:samcam\.)?((?:bench|export|training|tools)[a-z0-9_.]*)", text)
    )
    assert {"bench.demo", "bench.accuracy"} <= named
    for module in named:
        path = REPO_ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), module


def slugs(page: Path) -> set[str]:
    """GitHub's anchors of a page's headings."""
    headings = HEADING.findall(page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", h.strip().lower()).replace(" ", "-") for h in headings}


def test_internal_links_resolve() -> None:
    broken, seen = [], 0
    for page in documents():
        # Subscripts in code, as in `Slot[T](mode)`, are no links.
        text = re.sub(r"`[^`\n]*`", "", FENCE.sub("", page.read_text(encoding="utf-8")))
        for target in LINK.findall(text):
            if "://" in target:
                continue
            seen += 1
            name, _, anchor = target.partition("#")
            path = (page.parent / name).resolve() if name else page
            where = f"{page.relative_to(REPO_ROOT)}: {target}"
            if not path.exists() or (anchor and anchor not in slugs(path)):
                broken.append(where)
    assert seen
    assert not broken, "\n".join(broken)


def test_the_module_table_is_the_generated_one() -> None:
    page = read("docs/architecture.md")
    assert page.count(module_table.START) == 1
    written = page.split(module_table.START, 1)[1].split(module_table.END, 1)[0]
    assert written == f"\n{module_table.table()}\n", "run: python -m tools.module_table"


def test_the_drawing_of_a_frames_way_names_what_the_code_has() -> None:
    drawing = FENCE.findall(read("docs/architecture.md"))[0]
    files = re.findall(r"live/\w+/\w+\.py", drawing)
    assert len(files) == 5
    code = "\n".join(map(read, files))
    named = set(re.findall(r"(\w+)\(", drawing))
    assert {"run_capture", "step", "encode_picture", "decode", "compose"} <= named
    missing = [name for name in sorted(named) if not re.search(rf"\b{name}\(", code)]
    assert not missing, f"not in {files}: {missing}"


def test_lines_of_the_pages_are_short() -> None:
    """At most 120 columns, but for tables, code and the figures that programs write."""
    long = []
    for page in documents():
        text = re.sub(r"<!-- bench.*?<!-- /bench -->", "", page.read_text("utf-8"), flags=re.DOTALL)
        lines = FENCE.sub("", text).splitlines()
        long += [
            f"{page.relative_to(REPO_ROOT)}: {line[:60]}"
            for line in lines
            if len(line) > 120 and not line.lstrip().startswith("|")
        ]
    assert not long, "\n".join(long)


def test_every_page_is_in_the_index() -> None:
    index = read("docs/README.md")
    pages = [p.relative_to(REPO_ROOT / "docs").as_posix() for p in documents() if "docs" in p.parts]
    missing = [page for page in pages if page != "README.md" and f"({page})" not in index]
    assert not missing, f"docs/README.md does not name {missing}"


def test_every_dependency_is_pinned() -> None:
    assert all_pins()
    pins(pyproject()["build-system"]["requires"])


def test_constraints_agree_with_the_pins() -> None:
    lines = [line for line in read("constraints.txt").splitlines() if not line.startswith("#")]
    constrained = pins(lines)
    for name, versions in all_pins().items():
        wanted = versions if len(versions) == 1 else {None}  # no constraint fits them all
        assert {constrained.get(name)} == wanted, f"{name}: run 'make constraints'"


def test_only_the_extras_of_two_cudas_pin_differently() -> None:
    assert {name for name, versions in all_pins().items() if len(versions) > 1} == {"cuda-python"}
    extras = pyproject()["project"]["optional-dependencies"]
    by_extra = {name: pins(extra).get("cuda-python") for name, extra in extras.items()}
    found = {name: version for name, version in by_extra.items() if version}
    assert found.pop("tensorrt-cu12").startswith("12.")
    assert {version.partition(".")[0] for version in found.values()} == {"13"}
    assert set(found) == {"tensorrt", "tensorrt-rtx"}


def test_the_base_install_is_small() -> None:
    base = pins(pyproject()["project"]["dependencies"])
    for heavy in ("torch", "tensorrt", "onnx", "transformers", "pyvirtualcam", "pynput"):
        assert heavy not in base


def test_third_party_names_every_dependency() -> None:
    text = read("THIRD_PARTY.md").lower()
    missing = [name for name in all_pins() if f"| {name} |" not in text]
    assert not missing, f"THIRD_PARTY.md does not name {missing}"


def test_one_version(run_cli: RunCli) -> None:
    version = pyproject()["project"]["version"]
    newest = re.search(r"^## \[(\d[^\]]*)\] - \d{4}-\d{2}-\d{2}$", read("CHANGELOG.md"), re.M)
    assert newest
    assert newest[1] == version == VERSION
    assert run_cli("--version").stdout.strip() == f"samcam {version}"


def test_no_large_file_is_tracked() -> None:
    large = []
    for name in tracked_files():
        size = (REPO_ROOT / name).stat().st_size
        if size > MAX_TRACKED_BYTES and not name.startswith(MAY_BE_LARGE):
            large.append(f"{name}: {size} bytes")
    assert not large, "\n".join(large)


@pytest.mark.parametrize("folder", MAY_BE_LARGE)
def test_the_embedded_model_stays_small(folder: str) -> None:
    """At most 25 MiB as engines, and as much as checkpoint."""
    sizes = [p.stat().st_size for p in (REPO_ROOT / folder).rglob("*") if p.is_file()]
    assert 0 < sum(sizes) <= MAX_MODEL_BYTES


def test_no_path_of_a_developers_machine() -> None:
    """A path such as a home folder works on one machine only."""
    personal = re.compile(r"(?<![\w.~])/(?:home|root|Users|work)/\w")
    text_files = (".py", ".md", ".toml", ".yaml", ".yml", ".txt", ".json", ".cfg")
    found = []
    for name in tracked_files():
        if not (name.endswith(text_files) or name in ("Makefile", ".ci/run")):
            continue
        for number, line in enumerate(read(name).splitlines(), 1):
            if personal.search(line):
                found.append(f"{name}:{number}: {line.strip()[:80]}")
    assert not found, "\n".join(found)


def test_bounds_of_waiting_stand_in_one_place() -> None:
    """A number of seconds beside a test measures sooner or later: a busy machine fails it."""
    literal = re.compile(
        r"\b(timeout|timeout_s)=[1-9]\d"
        r"|\.(wait|join|communicate)\((timeout=)?[1-9]\d*(\.\d*)?\)"
        r"|^\w*(TIMEOUT|WAIT|END|STOP)_S(: Final)? = \d",
        re.MULTILINE,
    )
    found = []
    for path in sorted((REPO_ROOT / "tests").rglob("*.py")):
        if path.name == "bounds.py":
            continue
        text = path.read_text(encoding="utf-8")
        numbers = [match[0] for match in literal.finditer(text)] + bounds_given_in_place(text)
        found += [f"{path.relative_to(REPO_ROOT)}: {number}" for number in numbers]
    assert not found, "take one of tests/helpers/bounds.py:\n" + "\n".join(found)


def bounds_given_in_place(text: str) -> list[str]:
    """Return the calls of `wait_until` with a number for their bound."""
    return [
        ast.unparse(call)
        for call in ast.walk(ast.parse(text))
        if isinstance(call, ast.Call)
        and ast.unparse(call.func) == "wait_until"
        and any(isinstance(given, ast.Constant) for given in call.args[2:])
    ]
