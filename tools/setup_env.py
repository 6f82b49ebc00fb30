"""Make `.venv` and install the pinned dependencies: what `make setup` and `make test` run first.

Runs on the system's Python with the standard library only, and needs no root. Called as
`python3 tools/setup_env.py base|test|gpu|driver|links`; environment: `TORCH_INDEX` (an extra
package index to take torch from, such as PyTorch's CPU index), `GPU_EXTRAS` (what `gpu` installs)
and `APT=no` (never call apt-get).
"""

from __future__ import annotations

import argparse
import ctypes
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
MIN_PYTHON = (3, 11)
APT_TIMEOUT_S = 300
WHAT = ("base", "test", "gpu", "driver", "links")
GPU_EXTRAS = "export,tensorrt"

# What windows (SDL, in pygame-ce) load from the system; a headless machine may have none of them.
WINDOW_PACKAGES = ("libx11-6", "libxext6", "libxcursor1", "libxi6", "libxrandr2")
# Program -> package, for the tests that click into a real window.
TEST_TOOLS = {"Xvfb": "xvfb", "xdotool": "xdotool"}

# What may stand in the place of the pinned onnxruntime.
RUNTIME_BUILDS = ("onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino")

# Links to each file, which type checkers follow as they follow no import hook.
STRICT = ("--config-settings", "editable_mode=strict")


class SetupError(Exception):
    """The environment cannot be made; the message says why and what to do."""


def say(line: str) -> None:
    """Print one line at once, also when stdout is a pipe."""
    print(line, flush=True)


def venv_python() -> Path:
    if os.name == "nt":
        return VENV / "Scripts" / "python.exe"
    return VENV / "bin" / "python"


def pip(*args: str) -> None:
    """Run the virtual environment's pip; SetupError where it failed: its own output says why."""
    command = [str(venv_python()), "-m", "pip", *args]
    done = subprocess.run(command, cwd=str(ROOT), check=False)
    if done.returncode != 0:
        raise SetupError(f"'pip {' '.join(args)}' failed (see above); is PyPI reachable?")


def can_import(module: str) -> bool:
    """Whether the virtual environment imports `module`."""
    command = [str(venv_python()), "-c", f"import {module}"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def make_venv() -> None:
    """Create `.venv`, unless one with a working pip is there.

    Raises:
        SetupError: Python is too old, or comes without what a virtual environment needs.
    """
    found = ".".join(map(str, sys.version_info[:2]))
    if sys.version_info < MIN_PYTHON:
        raise SetupError(
            f"Python {found} found, 3.11 or newer expected: name one, as in "
            "'make demo PYTHON=python3.12'"
        )
    if venv_python().exists() and can_import("pip"):
        return
    say(f"Creating .venv with Python {found}")
    flags = ["--clear"] if VENV.exists() else []
    # Debian and Ubuntu split ensurepip off; apt has it, or the system's pip does its work.
    if not _system_imports("ensurepip", "venv") and not _system_imports("venv", "pip"):
        if not _may_apt() or not _apt_install(["python3-venv"]):
            raise SetupError(
                "this Python cannot make virtual environments: sudo apt-get install python3-venv"
            )
    elif not _system_imports("ensurepip"):
        flags.append("--without-pip")
    done = subprocess.run([sys.executable, "-m", "venv", *flags, str(VENV)], check=False)
    if done.returncode != 0:
        raise SetupError("'python3 -m venv .venv' failed: sudo apt-get install python3-venv")
    if "--without-pip" in flags:
        command = [sys.executable, "-m", "pip", "--python", str(venv_python()), "install", "pip"]
        if subprocess.run(command, check=False).returncode != 0:
            raise SetupError("no pip for .venv: sudo apt-get install python3-venv")


def _system_imports(*modules: str) -> bool:
    command = [sys.executable, "-c", "import " + ", ".join(modules)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def install_packages(extra: str) -> None:
    """Install the program (editable) with its pinned dependencies and, if named, one extra.

    The cv2 of `opencv-python` needs libraries that a machine without a display lacks. There the
    headless build of the same version takes its place: everything works, for windows are SDL's.

    Raises:
        SetupError: pip failed, or neither build of cv2 can be imported.
    """
    # Builds that own one folder, cv2/ or onnxruntime/: they go before the pinned one comes in.
    if _installed("opencv-python-headless"):
        pip("uninstall", "--yes", "--quiet", "opencv-python-headless")
    for build in filter(_installed, RUNTIME_BUILDS):
        say(f"{build} goes: the tests are those of the pinned onnxruntime (docs/providers.md)")
        pip("uninstall", "--yes", "--quiet", build, "onnxruntime")
    index = os.environ.get("TORCH_INDEX", "")
    options = ["--extra-index-url", index] if index else []
    target = f".[{extra}]" if extra else "."
    pip("install", *options, *STRICT, "--constraint", "constraints.txt", "--editable", target)
    if can_import("cv2"):
        return
    pin = _opencv_version()
    pip("uninstall", "--yes", "--quiet", "opencv-python")
    pip("install", "--quiet", "--constraint", "constraints.txt", f"opencv-python-headless=={pin}")
    if not can_import("cv2"):
        raise SetupError("cv2 cannot be imported: run '.venv/bin/python -c \"import cv2\"'")


def need_driver() -> None:
    """Look for an NVIDIA driver before gigabytes are downloaded; SetupError where there is none."""
    try:
        ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError as error:
        raise SetupError(
            "no NVIDIA driver is installed: this needs a machine with an NVIDIA GPU"
        ) from error


def install_for_gpu() -> None:
    """Install what `make gpu` uses: the extras of a GPU, and pytest for the tests on it."""
    install_packages(os.environ.get("GPU_EXTRAS") or GPU_EXTRAS)
    pip("install", "--quiet", "--constraint", "constraints.txt", "pytest")


def link_files() -> None:
    """Make the links of the editable installation again, and nothing else.

    With the test extra the build needs no network: the pinned setuptools is installed.
    """
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    script = "from importlib.metadata import version; print('setuptools==' + version('setuptools'))"
    command = [str(venv_python()), "-c", script]
    found = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
    ready = found == tomllib.loads(text)["build-system"]["requires"]
    own = ["--no-build-isolation"] if ready else []
    pip("install", "--quiet", "--no-deps", *own, *STRICT, "--editable", ".")


def _installed(distribution: str) -> bool:
    command = [str(venv_python()), "-m", "pip", "show", "--quiet", distribution]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _opencv_version() -> str:
    """The pinned version of opencv-python in `pyproject.toml`; SetupError where there is none."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    match = re.search(r'"opencv-python==([^"]+)"', text)
    if match is None:
        raise SetupError("pyproject.toml: expected a pin 'opencv-python==VERSION'")
    return match.group(1)


def install_hotkeys() -> None:
    """Get the hotkeys' package for the tests; without it they are skipped.

    pynput asks for evdev, which pip has to compile on Linux, and uses it on consoles only: left
    out here, so that no compiler is needed.
    """
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    wanted = tomllib.loads(text)["project"]["optional-dependencies"]["hotkeys"]
    linux = sys.platform == "linux"
    options = ["--no-deps"] if linux else []
    more = ["python-xlib", "six"] if linux else []
    try:
        pip("install", "--quiet", "--constraint", "constraints.txt", *options, *wanted, *more)
    except SetupError:
        say("No pynput for this system: the tests of global hotkeys are skipped")


def install_api_packages() -> None:
    """Unpack what tests compare our use of GPU libraries with; without it they are skipped.

    These modules cannot be dependencies of the environment: two versions of one, and none for
    some systems.
    """
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for name, requirements in tomllib.loads(text)["tool"]["samcam"]["api"].items():
        folder = VENV / "api" / name
        mark = folder / "requirements.txt"
        wanted = "\n".join(requirements) + "\n"
        if mark.is_file() and mark.read_text(encoding="utf-8") == wanted:
            continue
        shutil.rmtree(folder, ignore_errors=True)
        options = ["--quiet", "--no-deps", "--only-binary", ":all:", "--target", str(folder)]
        try:
            pip("install", *options, *requirements)
        except SetupError:
            say(f"No {name} for this system: the tests that compare names with it are skipped")
            continue
        mark.write_text(wanted, encoding="utf-8")


def install_test_tools() -> None:
    """Get Xvfb, xdotool and the window libraries from apt, or say in one line how to get them."""
    missing = [package for tool, package in TEST_TOOLS.items() if not shutil.which(tool)]
    if sys.platform != "linux" or not missing:
        return
    wanted = [*missing, *WINDOW_PACKAGES]
    how = f"sudo apt-get install {' '.join(wanted)} && make setup"
    if not _may_apt() or not _apt_install(wanted):
        say(f"Tests with a real window will be skipped; to get them: {how}")


def _may_apt() -> bool:
    allowed = os.environ.get("APT", "").lower() not in ("0", "no", "false")
    return allowed and os.geteuid() == 0 and shutil.which("apt-get") is not None


def _apt_install(packages: list[str]) -> bool:
    """Whether apt-get installed all packages; the lists are refreshed only when it cannot."""
    say(f"Installing {' '.join(packages)} (APT=no prevents it)")
    options = ["-qq", "-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=20"]
    install = ["install", "--yes", "--no-install-recommends", *packages]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for step in (install, ["update"], install):
        try:
            done = subprocess.run(
                ["apt-get", *options, *step],
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=APT_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return False
        if step is install and done.returncode == 0:
            return True
    return False


def main() -> int:
    """Make or update the environment; return the exit code."""
    parser = argparse.ArgumentParser(description="Make .venv with the pinned dependencies.")
    parser.add_argument(
        "what", choices=WHAT, help="an environment; or look for a driver; or links alone"
    )
    what = parser.parse_args().what
    try:
        if what == "links":
            link_files()
            return 0
        if what == "driver":
            need_driver()
            return 0
        make_venv()
        if what == "gpu":
            install_for_gpu()
            return 0
        if what == "test":
            install_test_tools()
        install_packages("test" if what == "test" else "")
        if what == "test":
            install_api_packages()
            install_hotkeys()
    except SetupError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
