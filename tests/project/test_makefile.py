"""What `make` does before its work: the links of the installation follow the files of the rooms."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import REPO_ROOT, require_tool
from tests.helpers.bounds import RUN_TIMEOUT_S

ROOMS = ("samcam", "live", "export", "engines", "guides", "memory", "kalman", "system")
LINKS = "__editable__.samcam-0.1.0-py3-none-any"
# In the place of python3: notes how tools/setup_env.py is called and makes links as pip does.
SETUP = f"""#!/bin/sh
echo "$@" >> calls
mkdir -p build/{LINKS}
"""
MYPY = '#!/bin/sh\necho "$MYPYPATH" > mypy_path\n'


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose environment is set up, as far as `make` can tell."""
    for room in ROOMS:
        (tmp_path / room).mkdir()
        (tmp_path / room / "__init__.py").touch()
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "tools/setup_env.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(REPO_ROOT / name, tmp_path / name)
    programs = {"python3": SETUP, ".venv/bin/mypy": MYPY, ".venv/bin/ruff": "#!/bin/sh\n"}
    for name, text in programs.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    for name in (".base", ".test"):
        (tmp_path / ".venv" / name).touch()
    return tmp_path


def calls_of_check(checkout: Path) -> list[str]:
    """Run `make check`; returns how the set-up was called."""
    make = require_tool("make", "make")
    (checkout / "calls").write_text("", encoding="utf-8")
    command = [make, "--no-print-directory", "check", "PYTHON=./python3", "MAKEFLAGS="]
    done = subprocess.run(
        command, cwd=checkout, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False
    )
    assert done.returncode == 0, done.stderr
    return (checkout / "calls").read_text(encoding="utf-8").splitlines()


def test_the_links_alone_are_made_again(checkout: Path) -> None:
    """Where a file came or went, or the links are gone; the environment stays as it is."""
    again = ["tools/setup_env.py links"]
    assert calls_of_check(checkout) == again
    assert calls_of_check(checkout) == []
    more = checkout / "live" / "more.py"
    more.touch()
    assert calls_of_check(checkout) == again
    more.unlink()
    assert calls_of_check(checkout) == again
    assert calls_of_check(checkout) == []
    shutil.rmtree(checkout / "build")
    assert calls_of_check(checkout) == again


def calls_of_gpu(checkout: Path, *words: str, has_torch: bool, driver: bool = True) -> list[str]:
    """Run `make gpu`; returns how Python was called, the environment's with its path."""
    note = '#!/bin/sh\ntest "$1" = -c && exit {torch}\ncase "$*" in *driver) exit {driver};; esac\n'
    note = note.format(torch=int(not has_torch), driver=2 * int(not driver))
    note += 'case "$*" in *.py\\ gpu) set -- "$@" "$GPU_EXTRAS";; esac\n'
    for name in ("python3", ".venv/bin/python"):
        path = checkout / name
        path.write_text(f'{note}echo "{name}" "$@" >> calls\n', encoding="utf-8")
        path.chmod(0o755)
    (checkout / "calls").write_text("", encoding="utf-8")
    command = [require_tool("make", "make"), "--no-print-directory", "gpu", "PYTHON=./python3"]
    done = subprocess.run(
        [*command, "MAKEFLAGS=", *words],
        cwd=checkout,
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
        check=False,
    )
    assert (done.returncode == 0) == driver, done.stderr
    return (checkout / "calls").read_text(encoding="utf-8").splitlines()


def test_the_gpu_day_uses_a_torch_that_is_there(checkout: Path) -> None:
    """A machine without a network has a Python with torch, and nothing is set up on it."""
    run = "-m bench.gpu --part torch --out out/gpu"
    assert calls_of_gpu(checkout, "PART=torch", has_torch=True) == [f"python3 {run}"]
    setup = "python3 tools/setup_env.py gpu export"  # without TensorRT
    own = f".venv/bin/python {run}"
    assert calls_of_gpu(checkout, "PART=torch", has_torch=False) == [setup, own]
    assert calls_of_gpu(checkout, "PART=torch", has_torch=False) == [own], "set up once"
    words = ("GPU_OUT=here", "GPU_ARGS=--minutes 3")
    whole = ".venv/bin/python -m bench.gpu --part all --out here --minutes 3"
    assert calls_of_gpu(checkout, *words, has_torch=True) == [f"{setup},tensorrt", whole]
    assert calls_of_gpu(checkout, *words, has_torch=True) == [whole]
    words = (*words, "GPU_EXTRAS=export,tensorrt-rtx")
    assert calls_of_gpu(checkout, *words, has_torch=True) == [f"{setup},tensorrt-rtx", whole]
    assert calls_of_gpu(checkout, *words, has_torch=True) == [whole]


def test_without_a_driver_nothing_is_set_up(checkout: Path) -> None:
    """Not the gigabytes of the extras, and not the links of the environment that is there."""
    links = checkout / "build" / LINKS
    links.mkdir(parents=True)
    assert calls_of_gpu(checkout, has_torch=False, driver=False) == []
    assert links.is_dir()


def test_the_links_of_an_earlier_version_go(checkout: Path) -> None:
    """mypy took two folders for one whose name has a blank."""
    (checkout / "build" / "__editable__.samcam-0.0.9-py3-none-any").mkdir(parents=True)
    (checkout / ".venv" / ".test").unlink()
    assert calls_of_check(checkout) == ["tools/setup_env.py test"]
    assert (checkout / "mypy_path").read_text(encoding="utf-8") == f"build/{LINKS}\n"
