"""Architecture tests: which package is used where, and how large files and functions may become.

They read the sources with `ast`; the last ones import the product with optional and POSIX-only
packages blocked, in a process of their own. The rules stand in docs/architecture.md.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

from tests.conftest import REPO_ROOT
from tests.helpers.bounds import RUN_TIMEOUT_S
from tests.helpers.source_tree import (
    PACKAGES,
    PRODUCT,
    all_imports,
    functions_of,
    imports_of,
    parse,
    relative,
    sources,
)

POSIX_ONLY = frozenset({"fcntl", "resource", "termios", "pwd", "grp", "tty", "pty"})
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
MAX_ARGUMENTS = 6
# Programs speak on stdout; everything else logs.
MAY_PRINT = (
    "bench/",
    "training/",
    "export/",
    "tools/",
    "simple_examples/",
)


def test_the_walker_sees_imports_wherever_they_stand(tmp_path: Path) -> None:
    """The rules are worth nothing if `imports_of` misses an import."""
    probe = tmp_path / "probe.py"
    probe.write_text(
        "import a.b\ntry:\n    import c\nexcept ImportError: pass\n"
        "def f():\n    from d.e import g\n"
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch\n",
        encoding="utf-8",
    )
    found = {(item.module, item.at_import_time) for item in imports_of(probe)}
    assert found == {("a.b", True), ("c", True), ("d.e", False), ("typing", True)}


def test_torch_stays_in_export_training_and_its_backend() -> None:
    """Beside them, programs of bench compare with transformers. Both import it in functions."""
    may = ("engines/torch_backend.py", "engines/torch_tensors.py", "bench/sam2.py")
    may += (
        "bench/sam2_library.py",
        "bench/sam2_ours.py",
        "bench/sam2_weights.py",
        "bench/gpu/torch_steps.py",
    )
    wrong = [
        str(i)
        for i in all_imports(*PRODUCT, "bench", "tools", "run_live.py")
        if i.top in ("torch", "torchvision", "transformers")
        and (i.path not in may or i.at_import_time)
    ]
    assert not wrong, "\n".join(wrong)


def test_onnxruntime_only_in_its_backend_and_inside_functions() -> None:
    """An optional runtime is imported where it is used, so that the rest works without it."""
    may = ("engines/onnxruntime/backend.py", "engines/onnxruntime/providers.py")
    uses = [i for i in all_imports(*PRODUCT, "run_live.py") if i.top == "onnxruntime"]
    assert uses, "no import of onnxruntime found: the rule checks nothing"
    wrong = [str(i) for i in uses if i.path not in may or i.at_import_time]
    assert not wrong, "\n".join(wrong)


def test_pyvirtualcam_only_in_its_sink_and_inside_functions() -> None:
    """GPL-2.0 and optional: only a run that asks for a virtual camera loads it."""
    uses = [i for i in all_imports(*PACKAGES, "run_live.py") if i.top == "pyvirtualcam"]
    assert [(i.path, i.at_import_time) for i in uses] == [("live/sinks/virtualcam.py", False)]


def test_pynput_only_in_the_hotkeys_and_inside_functions() -> None:
    """LGPL-3.0 and optional; and without a display it cannot even be imported."""
    uses = [i for i in all_imports(*PACKAGES, "run_live.py") if i.top in ("pynput", "Xlib")]
    assert [(i.path, i.at_import_time) for i in uses] == [("live/remote/hotkeys.py", False)]


def test_pi_heif_only_where_heic_is_read_and_inside_functions() -> None:
    """LGPL-3.0 and optional: only a HEIC or HEIF picture loads it."""
    uses = [i for i in all_imports(*PACKAGES, "run_live.py") if i.top in ("pi_heif", "pillow_heif")]
    assert [(i.path, i.at_import_time) for i in uses] == [("live/sources/pictures/file.py", False)]


def test_pygame_only_in_its_window_and_inside_functions() -> None:
    """Runs without a window load no SDL; and no other file depends on the toolkit."""
    uses = [i for i in all_imports(*PACKAGES, "run_live.py") if i.top == "pygame"]
    assert {(i.path, i.at_import_time) for i in uses} == {("live/window/desktop/sdl.py", False)}


def test_cameras_are_opened_in_one_file() -> None:
    """cv2.VideoCapture serves cameras only; files and URLs are read with PyAV."""
    users = {
        relative(path)
        for path in sources(*PRODUCT, "bench", "run_live.py")
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Attribute) and node.attr == "VideoCapture"
    }
    assert users == {"live/sources/camera.py"}


def test_no_posix_only_module_is_imported_at_module_level() -> None:
    """Windows has none of them: a module-level import would break the program there."""
    wrong = [
        str(i)
        for i in all_imports(*PACKAGES, "run_live.py")
        if i.top in POSIX_ONLY and i.at_import_time
    ]
    assert not wrong, "\n".join(wrong)


def test_every_package_says_what_belongs_there() -> None:
    missing = [
        relative(path)
        for path in sources(*PACKAGES)
        if path.name == "__init__.py" and not ast.get_docstring(parse(path))
    ]
    folders = {path.parent for path in sources(*PACKAGES)}
    missing += [f"{relative(f)}/__init__.py" for f in folders if not (f / "__init__.py").is_file()]
    assert not missing, "no docstring: " + ", ".join(missing)


def test_every_module_has_a_docstring() -> None:
    missing = [
        relative(path)
        for path in sources(*PACKAGES, "run_live.py")
        if not ast.get_docstring(parse(path))
    ]
    assert not missing, "no docstring: " + ", ".join(missing)


def test_files_stay_short() -> None:
    """Past 400 lines a file does more than one job."""
    long = [
        f"{relative(path)}: {count} lines"
        for path in sources(*PACKAGES, "tests", "run_live.py")
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > MAX_FILE_LINES
    ]
    assert not long, "\n".join(long)


def test_functions_stay_short() -> None:
    """Docstring included; at most 6 arguments beside self and cls."""
    wrong = []
    for path in sources(*PACKAGES, "run_live.py"):
        for function in functions_of(path):
            lines = (function.end_lineno or function.lineno) - function.lineno + 1
            named = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
            arguments = [a for a in named if a.arg not in ("self", "cls")]
            place = f"{relative(path)}:{function.lineno} {function.name}"
            if lines > MAX_FUNCTION_LINES:
                wrong.append(f"{place}: {lines} lines")
            # A network's forward takes what the engine contract gives it.
            if len(arguments) > MAX_ARGUMENTS and function.name != "forward":
                wrong.append(f"{place}: {len(arguments)} arguments")
    assert not wrong, "\n".join(wrong)


def test_only_programs_print() -> None:
    wrong = [
        f"{relative(path)}:{node.lineno}"
        for path in sources(*PACKAGES, "run_live.py")
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
        and not relative(path).startswith(MAY_PRINT)
    ]
    assert not wrong, "print() in a library module: " + ", ".join(wrong)


BLOCKED = (
    "torch",
    "onnxruntime",
    "tensorrt",
    "cuda",
    "pyvirtualcam",
    "pynput",
    "pi_heif",
    "fcntl",
    "resource",
    "termios",
    "pwd",
    "grp",
)

IMPORT_EVERYTHING = """
import importlib, pkgutil, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ImportError(f"{name} is blocked by the test")

for name in BLOCKED:
    # The interpreter itself may have imported pwd on its way up.
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Blocker())
import run_live
rooms = ("live", "guides", "memory", "kalman", "engines", "system")
names = [f"samcam.{room}" for room in rooms]
for package in list(names):
    module = importlib.import_module(package)
    names += [m.name for m in pkgutil.walk_packages(module.__path__, package + ".")]
for name in names:
    importlib.import_module(name)
print(len(names))
"""


def test_the_product_imports_without_optional_and_posix_packages() -> None:
    """Every module of the product imports where torch, onnxruntime, fcntl and so on are absent."""
    script = f"BLOCKED = {BLOCKED!r}\n{IMPORT_EVERYTHING}"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=REPO_ROOT,
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= len(sources(*PRODUCT)) - 2  # all but samcam itself


def test_the_blocker_blocks() -> None:
    """The test above can fail: a module that imports fcntl does not import."""
    script = f"BLOCKED = {BLOCKED!r}\n{IMPORT_EVERYTHING}\nimport fcntl"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=REPO_ROOT,
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
        check=False,
    )
    assert done.returncode != 0
    assert "fcntl is blocked by the test" in done.stderr
