"""What `make` does before its work: the links of the installation follow the files of the rooms."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import REPO_ROOT, require_tool
from tests.helpers.bounds import RUN_TIMEOUT_S

ROOMS = ("samcam", "live", "export", "engines", "memory", "kalman", "system")
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


def test_the_links_of_an_earlier_version_go(checkout: Path) -> None:
    """mypy took two folders for one whose name has a blank."""
    (checkout / "build" / "__editable__.samcam-0.0.9-py3-none-any").mkdir(parents=True)
    (checkout / ".venv" / ".test").unlink()
    assert calls_of_check(checkout) == ["tools/setup_env.py test"]
    assert (checkout / "mypy_path").read_text(encoding="utf-8") == f"build/{LINKS}\n"
