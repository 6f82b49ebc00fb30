"""Hints name the command that the user has: from one place, however SamCam was started."""

from __future__ import annotations

import ast
import importlib.util
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from samcam.engines import model_folder
from samcam.live.cli.command_line import build_parser
from samcam.system import command_names
from samcam.system.command_names import exporter, reinstall
from tests.conftest import REPO_ROOT
from tests.helpers.bounds import RUN_TIMEOUT_S

# Said in files that are written, where no command was started.
IN_FILES = ("Take commands from `run_live.py ctl` of the same user.",)
NAME_THE_FILE = ("system/command_names.py", "samcam/__init__.py")
COMMANDS = ("run_live.py", "python -m export", "python -m samcam", "pip install", "uv tool")


def said(*words: str | Path, cwd: Path) -> str:
    """Return what a real process says when `ctl` lacks its command."""
    done = subprocess.run(
        [sys.executable, *map(str, words), "ctl"],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(REPO_ROOT)},
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    return done.stderr


def usage(program: str) -> str:
    return f"error: ctl: no command given; usage: {program} ctl [--pid N] COMMAND; see ctl --help\n"


def test_the_file_of_the_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From another folder `python run_live.py` is no command: the hint names the file itself."""
    file = REPO_ROOT / "run_live.py"
    assert said(file, cwd=REPO_ROOT) == usage("python run_live.py")
    assert said(file, cwd=tmp_path) == usage(f"python {file}")
    monkeypatch.chdir(tmp_path)
    limits = f"-c {REPO_ROOT / 'constraints.txt'}"
    assert command_names.install("heif").endswith(f'install {limits} -e "{REPO_ROOT}[heif]"')
    assert command_names.install().endswith(f"install {limits} -e {REPO_ROOT}")


def test_a_file_in_a_folder_with_blanks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["../my cam/run_live.py"])
    monkeypatch.setattr(command_names, "checkout", lambda: tmp_path.parent / "my cam")
    assert command_names.program() == f'python "{tmp_path.parent / "my cam" / "run_live.py"}"'
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert command_names.program() == f'python "{tmp_path.parent / "my cam" / "run_live.py"}"'


def test_the_installed_command(tmp_path: Path) -> None:
    script = Path(sysconfig.get_path("scripts")) / "samcam"
    if not script.is_file():
        pytest.skip("samcam is not installed here, or as a program that is no script")
    assert said(script, cwd=tmp_path) == usage("samcam")


def test_other_names_of_the_program(tmp_path: Path) -> None:
    """`python -m samcam`, and a starter of the user's own: that one gets the checkout's."""
    text = "import sys\nfrom run_live import main\nsys.exit(main())\n"
    (tmp_path / "mycam").write_text(text, encoding="utf-8")
    assert said("-m", "samcam", cwd=tmp_path) == usage("python -m samcam")
    assert said("mycam", cwd=tmp_path) == usage("python run_live.py")


@pytest.mark.parametrize("started", ["samcam", "/usr/bin/samcam", "samcam.exe"])
def test_the_help_text_has_the_same_name(started: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [started])
    text = build_parser().format_help()
    assert text.startswith("usage: samcam [-h]")
    assert "samcam ctl --help" in text
    assert "run_live" not in text


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module as pip lays it: no checkout around it; started as `samcam`."""
    path = tmp_path / "site-packages" / "samcam" / "system" / "command_names.py"
    path.parent.mkdir(parents=True)
    path.write_bytes(Path(command_names.__file__).read_bytes())
    spec = importlib.util.spec_from_file_location("installed_names", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, "argv", ["/usr/bin/samcam"])
    assert command_names.checkout() == REPO_ROOT
    assert module.checkout() is None
    return module


def environment(monkeypatch: pytest.MonkeyPatch, folder: Path, text: str) -> None:
    """Let this process run in a virtual environment with that pyvenv.cfg."""
    folder.mkdir(parents=True)
    (folder / "pyvenv.cfg").write_text(text, encoding="utf-8")
    monkeypatch.setattr(sys, "prefix", str(folder))
    monkeypatch.setattr(sys, "executable", str(folder / "bin" / "python"))


def test_installed_by_pip(
    wheel: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment(monkeypatch, tmp_path / "venv", "home = /usr/bin\n")
    assert wheel.program() == "samcam"
    assert wheel.install("heif") == 'pip install "samcam[heif]"'
    assert wheel.install() == "pip install samcam"
    assert wheel.reinstall() == "pip install --force-reinstall --no-deps samcam"
    assert wheel.exchange("a", "b", "1.2") == (
        "pip install a==1.2 && pip install --force-reinstall --no-deps b==1.2"
    )
    assert command_names.install("heif") == 'pip install -c constraints.txt -e ".[heif]"'
    assert command_names.install() == "pip install -c constraints.txt -e ."
    for argv in ([], [""], ["/usr/bin/jupyter"]):
        monkeypatch.setattr(sys, "argv", argv)
        assert wheel.program() == "samcam"
        assert command_names.program() == "python run_live.py"


def test_environments_of_uv(
    wheel: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of a plain `uv venv` has no pip; those of `uvx` and `uv tool` have no `python` either."""
    made = "home = /usr/bin\nuv = 0.13.9\n"
    environment(monkeypatch, tmp_path / "venv", made)
    assert wheel.program() == "samcam"
    assert wheel.install("heif") == 'uv pip install "samcam[heif]"'
    assert command_names.install("heif") == 'uv pip install -c constraints.txt -e ".[heif]"'
    environment(monkeypatch, tmp_path / "cache" / "archive-v0" / "x1", made)
    assert wheel.program() == "uvx samcam"
    assert wheel.install("heif") == 'uvx --with "samcam[heif]" samcam'
    assert wheel.exporter("build_tensorrt").startswith("uvx --from samcam python -m samcam.export.")
    tool = tmp_path / "tools" / "samcam"
    environment(monkeypatch, tool, made)
    (tool / "uv-receipt.toml").touch()
    assert wheel.program() == "samcam"
    assert wheel.install("heif") == 'uv tool install --force "samcam[heif]"'
    assert command_names.install("heif") == 'uv tool install --force -e ".[heif]"'
    assert wheel.exporter().startswith(f'"{tool / "bin" / "python"}" -m ')


def test_the_exporter_from_another_folder(
    wheel: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`export` is a top-level name in the checkout's folder only."""
    assert command_names.exporter() == "python -m export"
    assert command_names.with_exporter("python -m export x") == "python -m export x"
    monkeypatch.chdir(tmp_path)
    assert command_names.exporter() == "python -m samcam.export"
    assert command_names.exporter("build_tensorrt") == "python -m samcam.export.build_tensorrt"
    assert command_names.with_exporter("python -m export x") == "python -m samcam.export x"
    monkeypatch.chdir(REPO_ROOT)
    assert wheel.exporter() == "python -m samcam.export"


def test_a_broken_installation_is_installed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no repository beside a wheel to restore `nano` from."""
    assert model_folder.rebuild_hint("nano").endswith(f"or run: {exporter()} nano")
    monkeypatch.setattr(model_folder, "checkout", lambda: None)
    hint = model_folder.rebuild_hint("nano")
    assert hint == f"install it again: {reinstall()}"


def spoken(path: Path) -> Iterator[tuple[int, str]]:
    """The strings of a file with their lines, docstrings left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.lineno, node.value


def test_no_message_has_a_command_of_its_own() -> None:
    found = [
        f"{path.relative_to(REPO_ROOT)}:{line}: {text}"
        for package in (
            "samcam",
            "live",
            "engines",
            "guides",
            "export",
            "memory",
            "kalman",
            "system",
        )
        for path in sorted((REPO_ROOT / package).rglob("*.py"))
        if path.relative_to(REPO_ROOT).as_posix() not in NAME_THE_FILE
        for line, text in spoken(path)
        if text not in IN_FILES and any(command in text for command in COMMANDS)
    ]
    assert not found, "take the command from samcam.system.command_names:\n" + "\n".join(found)
