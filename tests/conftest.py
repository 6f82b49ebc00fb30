"""Fixtures for every test: shared data, leak and error-log guards, tools, runs of the program.

Two guards are always on: a test fails when it leaves a thread behind, and when anything logs at
ERROR without `@pytest.mark.expect_errors`. `CI=true` turns "not installed" skips into failures.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Protocol

import pytest

from samcam.live.remote.endpoints import folders
from tests.helpers.bounds import LONG_RUN_TIMEOUT_S, RUN_TIMEOUT_S, THREAD_GRACE_S

if TYPE_CHECKING:
    from tests.helpers.window_user import Program
    from tests.helpers.xvfb import Display

REPO_ROOT = Path(__file__).resolve().parent.parent


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers that the fixtures below read; undo what nohup and `&` do to signals.

    A process inherits which signals are ignored, and the programs under test respect that.
    """
    for name in ("SIGINT", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            default = signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL
            signal.signal(number, default)
    config.addinivalue_line(
        "markers",
        "expect_errors(pattern=None): the test makes something log at ERROR, and fails if nothing "
        "does; each such message must match the regular expression `pattern`",
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip (with CI=true: fail) tests marked `window` where no window can be opened."""
    if item.get_closest_marker("window") is None:
        return
    require_tool("Xvfb", "xvfb")
    require_tool("xdotool", "xdotool")


def in_ci() -> bool:
    """Whether a missing tool or data folder is a failure instead of a skip."""
    return os.environ.get("CI", "").lower() in ("true", "1")


def skip_or_fail(reason: str) -> NoReturn:
    """Skip with one line that says how to get what is missing; with CI=true, fail."""
    if in_ci():
        pytest.fail(f"{reason} (a failure because CI=true)", pytrace=False)
    pytest.skip(reason)


def require_tool(name: str, apt_package: str) -> str:
    """Return the path of the program `name`; skip (with CI=true: fail) where it is missing.

    Args:
        name: Program to look for on PATH, such as "Xvfb".
        apt_package: Package that has it on Debian and Ubuntu, for the message.
    """
    path = shutil.which(name)
    if path is None:
        skip_or_fail(f"{name} is not installed: sudo apt-get install {apt_package}")
    return path


@pytest.fixture
def display(tmp_path: Path) -> Iterator[Display]:
    """An X server of the test's own."""
    from tests.helpers.xvfb import running_xvfb  # which needs this module

    folder = tmp_path / "xvfb"
    folder.mkdir()
    with running_xvfb(folder) as running:
        yield running


@pytest.fixture(scope="module")
def module_display(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Display]:
    """An X server that the tests of a module share, one after the other."""
    from tests.helpers.xvfb import running_xvfb

    with running_xvfb(tmp_path_factory.mktemp("xvfb")) as running:
        yield running


@pytest.fixture
def program(
    module_display: Display, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Program]:
    """The window program on that server; its effect may be given by `indirect`."""
    from tests.helpers.window_user import running_program

    effect = getattr(request, "param", "highlight")
    with running_program(module_display, tmp_path, effect) as running:
        yield running


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """The checkout's root folder."""
    return REPO_ROOT


@pytest.fixture
def control_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of control sockets, elsewhere, so that other runs on this machine are not seen."""
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    for variable in ("XDG_RUNTIME_DIR", "LOCALAPPDATA"):
        monkeypatch.setenv(variable, str(runtime))
    monkeypatch.setenv("TMPDIR", str(runtime))  # for processes; below for this one
    monkeypatch.setattr("tempfile.tempdir", str(runtime))
    return folders()[0]


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of clips, masks and parity data: $SAMCAM_SHARED or ../shared; else a skip."""
    named = os.environ.get("SAMCAM_SHARED")
    path = Path(named) if named else REPO_ROOT.parent / "shared"
    if not path.is_dir():
        skip_or_fail(f"test data: no folder {path}; set SAMCAM_SHARED to the folder with data/")
    return path


@pytest.fixture(scope="session")
def nano_dir() -> Path:
    """The embedded model's folder, `engines/nano`."""
    path = REPO_ROOT / "engines" / "nano"
    if not (path / "manifest.json").is_file():
        pytest.fail(f"the embedded model is missing: {path}/manifest.json", pytrace=False)
    return path


@pytest.fixture(scope="session")
def parity_checkpoint(shared_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The synthetic sam2.1-tiny checkpoint that the golden answers in ../shared/parity are of."""
    path = tmp_path_factory.mktemp("weights") / "synthetic_sam2.1_hiera_tiny.pt"
    run_python(shared_dir / "parity" / "make_weights.py", path)
    return path


@pytest.fixture(scope="session")
def sam2_256(parity_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Model folder sam2.1-tiny@256, written from that checkpoint by `python -m export`."""
    folder = tmp_path_factory.mktemp("models") / "sam2.1-tiny@256"
    model = ("-m", "export", "sam2.1-tiny@256")
    run_python(*model, "--checkpoint", parity_checkpoint, "--out", folder)
    return folder


def run_python(*arguments: str | Path, timeout_s: float = LONG_RUN_TIMEOUT_S) -> str:
    """Run this interpreter from the checkout; fail with what it printed unless it ends well."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=REPO_ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@dataclass(frozen=True, slots=True)
class CliResult:
    """What one finished run of the program left: exit code, both outputs, its folder."""

    returncode: int
    stdout: str
    stderr: str
    cwd: Path


class RunCli(Protocol):
    """Type of the `run_cli` fixture."""

    def __call__(
        self,
        *args: str | Path,
        timeout_s: float = RUN_TIMEOUT_S,
        env: dict[str, str] | None = None,
        cwd: Path | None = None,
    ) -> CliResult: ...


@pytest.fixture
def run_cli(tmp_path: Path) -> RunCli:
    """Run `run_live.py` as a process of its own, from an empty folder and without a display.

    Call it with the arguments of the command line; `env` adds to or overrides the environment,
    `cwd` replaces the empty folder. A run that passes `timeout_s` is killed and fails the test
    with what it printed.
    """
    folder = tmp_path / "cwd"
    folder.mkdir()

    def run(
        *args: str | Path,
        timeout_s: float = RUN_TIMEOUT_S,
        env: dict[str, str] | None = None,
        cwd: Path | None = None,
    ) -> CliResult:
        command = [sys.executable, str(REPO_ROOT / "run_live.py"), *map(str, args)]
        environment = {k: v for k, v in os.environ.items() if k not in DISPLAY_VARIABLES}
        environment.update(PYTHONUNBUFFERED="1", **(env or {}))
        where = cwd or folder
        try:
            done = subprocess.run(
                command,
                cwd=where,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            pytest.fail(
                f"{command} did not end within {timeout_s} s\n{error.stdout!r}\n{error.stderr!r}",
                pytrace=False,
            )
        return CliResult(done.returncode, done.stdout, done.stderr, where)

    return run


DISPLAY_VARIABLES = frozenset({"DISPLAY", "WAYLAND_DISPLAY"})


def _is_ours(thread: threading.Thread) -> bool:
    # tqdm keeps one monitor thread per process for good; it is no leak of ours.
    return type(thread).__name__ != "TMonitor"


@pytest.fixture(autouse=True)
def no_leaked_threads() -> Iterator[None]:
    """Fail when a test ends with threads alive that were not there before it."""
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + THREAD_GRACE_S
    leaked = [t for t in threading.enumerate() if t not in before and _is_ours(t)]
    for thread in leaked:
        thread.join(max(0.0, deadline - time.monotonic()))
    names = sorted(t.name for t in leaked if t.is_alive())
    if names:
        pytest.fail(f"threads still alive after the test: {', '.join(names)}", pytrace=False)


class _ErrorRecorder(logging.Handler):
    """Keeps the messages of every record at ERROR or above."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(f"{record.name}: {record.getMessage()}")


@pytest.fixture(autouse=True)
def no_error_logs(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail when a test logs at ERROR unasked, or was to log an error and did not."""
    recorder = _ErrorRecorder()
    root = logging.getLogger()
    root.addHandler(recorder)
    try:
        yield
    finally:
        root.removeHandler(recorder)
    marker = request.node.get_closest_marker("expect_errors")
    if marker is None:
        unexpected = recorder.messages
    else:
        pattern = marker.args[0] if marker.args else marker.kwargs.get("pattern") or ""
        unexpected = [m for m in recorder.messages if not re.search(pattern, m)]
        if not recorder.messages:
            pytest.fail("expect_errors: nothing was logged at ERROR", pytrace=False)
    if unexpected:
        pytest.fail("unexpected ERROR log: " + "; ".join(unexpected), pytrace=False)
