"""Whole runs as processes: to the end, interrupted, killed; what they leave behind is readable."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import av
import jsonschema
import pytest

from samcam.system.interrupts import Interrupted, Interrupts
from tests.conftest import RunCli
from tests.helpers.bounds import RUN_TIMEOUT_S, WAIT_S
from tests.helpers.synthetic_video import MjpegServer
from tests.helpers.xvfb import wait_until

CLICK = "point=200,200"


def read_rows(path: Path) -> list[dict[str, object]]:
    """Parse a JSONL file; a row cut in two fails here."""
    text = path.read_text(encoding="utf-8")
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def decoded_times(path: Path) -> list[float]:
    """Decode a whole video and return the time of each frame in seconds."""
    with av.open(str(path)) as container:
        return [float(frame.time or 0.0) for frame in container.decode(video=0)]


def test_run_to_the_end(run_cli: RunCli, repo_root: Path, nano_dir: Path) -> None:
    result = run_cli(
        *("--source", "demo", "--set", "source.demo_frames=12", "--prompt", CLICK),
        *("--output", "video:out.mp4", "--output", "masks:masks", "--metrics", "m.jsonl"),
        *("--set", "metrics.period_s=0.5"),
    )
    assert result.returncode == 0, result.stderr
    for part in (
        "end of the source",
        "12 of 12 frames",
        "p99",
        "encode",
        "video:out.mp4",
        "frames 0",
        "MiB",
        "source age",
    ):
        assert part in result.stdout
    assert "onnxruntime" in result.stderr  # `auto` says what it took
    times = decoded_times(result.cwd / "out.mp4")
    assert times == pytest.approx([n / 30 for n in range(12)], abs=1e-3)
    masks = sorted(path.name for path in (result.cwd / "masks").glob("*.png"))
    assert masks == [f"{n:05d}.png" for n in range(12)]
    tracks = read_rows(result.cwd / "masks" / "tracks.jsonl")
    assert [row["frame"] for row in tracks] == list(range(12))
    schema = json.loads((repo_root / "docs/schemas/metrics.schema.json").read_text())
    rows = read_rows(result.cwd / "m.jsonl")
    for row in rows:
        jsonschema.validate(row, schema)
        # It said how old the frame was when inference began: a step of seconds was not in it.
        begun_ms, step_ms = row["inference_age_ms"], sum(row["stage_ms"].values())
        assert row["source_age_ms"] >= begun_ms + step_ms > begun_ms
        assert row["left"]
    assert [row["step"] for row in rows] == list(range(12))
    assert [row["dropped"] for row in rows] == [0] * 12


def test_all_is_deterministic(run_cli: RunCli, nano_dir: Path) -> None:
    """Two runs of the same command give the same masks and rows, byte for byte."""
    left = []
    for name in ("a", "b"):
        result = run_cli(
            *("--source", "demo", "--set", "source.demo_frames=6", "--prompt", CLICK),
            *("--prompt", "object=7 box=500,100,700,300 frame=2", "--output", f"masks:{name}"),
        )
        assert result.returncode == 0, result.stderr
        folder = result.cwd / name
        left.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert left[0] == left[1]
    objects = {json.loads(line)["object"] for line in left[0]["tracks.jsonl"].splitlines()}
    assert objects == {1, 7}


@contextmanager
def running(repo_root: Path, cwd: Path, *args: str) -> Iterator[subprocess.Popen[str]]:
    """Start the program on the endless demo; it is killed at the end and after a time-out."""
    process = subprocess.Popen(
        [
            *(sys.executable, str(repo_root / "run_live.py"), "--source", "demo"),
            *("--set", "source.demo_frames=0", "--set", "metrics.period_s=0.5"),
            *("--set", "source.demo_size=[320, 180]", "--prompt", "point=75,75"),
            *("--output", "video:out.mp4", "--output", "masks:masks", *args),
        ],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    watchdog = threading.Timer(RUN_TIMEOUT_S, process.kill)
    watchdog.start()
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
        watchdog.cancel()
        watchdog.join()


def wait_for(stderr: IO[str] | None, done: Callable[[int], bool]) -> str:
    """Read progress lines until `done` holds, asked with the frame of each; return all lines."""
    assert stderr is not None
    lines = []
    for line in stderr:
        lines.append(line)
        found = re.search(r"frame (\d+), [0-9.]+ fps", line)
        if found and done(int(found[1])):
            return "".join(lines)
    pytest.fail(f"ended too early:\n{''.join(lines)}", pytrace=False)


def has_written(folder: Path, count: int) -> bool:
    """Whether a run's video, read while it grows, and its masks both have `count` frames.

    How many source frames that takes is another matter: in live pace a busy machine leaves most
    of them out.
    """
    tracks = folder / "masks" / "tracks.jsonl"
    if not tracks.exists() or len(tracks.read_bytes().splitlines()) <= count:
        return False
    try:
        return len(decoded_times(folder / "out.mp4")) >= count
    except (OSError, av.error.FFmpegError):  # not even its header is there
        return False


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot send these to one process")
@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("pace", ["live", "all"])
def test_signal_in_the_middle(
    signum: signal.Signals, code: int, pace: str, repo_root: Path, tmp_path: Path, nano_dir: Path
) -> None:
    with running(repo_root, tmp_path, "--pace", pace, "--metrics", "m.jsonl") as process:
        log = wait_for(process.stderr, lambda _: has_written(tmp_path, 10))
        process.send_signal(signum)
        stdout, stderr = process.communicate(timeout=RUN_TIMEOUT_S)
    assert process.returncode == code, stderr
    assert "Traceback" not in log + stderr
    assert "left behind" not in stderr
    assert f"interrupted by {signum.name}" in stdout
    times = decoded_times(tmp_path / "out.mp4")
    tracks = read_rows(tmp_path / "masks" / "tracks.jsonl")
    pictures = len(list((tmp_path / "masks").glob("*.png")))
    assert len(tracks) == pictures >= 10
    assert len(times) >= 10
    assert len(read_rows(tmp_path / "m.jsonl")) >= pictures


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")
def test_killed_run_leaves_readable_files(repo_root: Path, tmp_path: Path, nano_dir: Path) -> None:
    """SIGKILL may cost the video its last second, and no row or picture that was finished."""
    with running(repo_root, tmp_path, "--metrics", "m.jsonl") as process:
        wait_for(process.stderr, lambda frame: frame >= 75)
        process.kill()
        process.communicate(timeout=RUN_TIMEOUT_S)
    assert process.returncode == -signal.SIGKILL
    times = decoded_times(tmp_path / "out.mp4")
    assert len(times) >= 30
    assert times == pytest.approx([n / 30 for n in range(len(times))], abs=1e-3)
    tracks = read_rows(tmp_path / "masks" / "tracks.jsonl")
    assert [row["frame"] for row in tracks] == list(range(len(tracks)))
    assert len(tracks) >= 60
    for row in tracks:
        assert (tmp_path / "masks" / f"{row['frame']:05d}.png").stat().st_size > 0
    assert [row["step"] for row in read_rows(tmp_path / "m.jsonl")][:60] == list(range(60))


def test_a_source_that_breaks_off_loses_nothing_before_the_break(
    run_cli: RunCli, tmp_path: Path, nano_dir: Path
) -> None:
    """The frame before the break was written on some runs and lost on others."""
    for attempt in range(3):
        out = f"masks{attempt}"
        server = MjpegServer(per_connection=20)
        limits = ("--set", "source.retry_limit_s=0.1", "--pace", "all")
        words = ("--prompt", "point=30,20", "--output", f"masks:{out}", *limits)

        def unplug(server: MjpegServer = server) -> None:
            wait_until(lambda: server.connections > 0, "a connection")
            server.refuse = True

        with server.serve() as url:
            unplugging = threading.Thread(target=unplug)
            unplugging.start()
            result = run_cli("--source", url, *words)
            unplugging.join()
        assert result.returncode == 3, result.stderr
        # every picture of the connection: its first, which tells the size, and its last
        written = read_rows(result.cwd / out / "tracks.jsonl")
        assert len(list((result.cwd / out).glob("*.png"))) == len(written) == 20


@pytest.mark.skipif(sys.platform == "win32", reason="no such pipes there")
def test_a_closed_stdout_is_no_bug(repo_root: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    words = ("--source", "demo", "--set", "source.demo_frames=2", "--output", "none")
    done = subprocess.run(
        [sys.executable, str(repo_root / "run_live.py"), *words],
        stdout=writer, stderr=subprocess.PIPE, text=True, timeout=RUN_TIMEOUT_S, check=False,
    )  # fmt: skip
    os.close(writer)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "the summary could not be printed" in done.stderr


SIGNAL_WHILE_IMPORTING = """
import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "samcam.live.cli.command_line":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
import run_live
sys.argv[1:] = ["--source", "demo", "--output", "none"]
code = run_live.main()
os.kill(os.getpid(), signal.SIGINT)  # a second one, when all is over
sys.exit(code)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="os.kill sends no signal there")
def test_signals_at_the_very_start_and_end_give_the_exit_code(repo_root: Path) -> None:
    """Ctrl-C while the packages load, or twice in a row, was a traceback of Python's own."""
    done = subprocess.run(
        [sys.executable, "-c", SIGNAL_WHILE_IMPORTING],
        cwd=repo_root, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr


def send_and_wait(signum: signal.Signals) -> None:
    """Send a signal to this process and give its handler time to raise."""
    os.kill(os.getpid(), signum)
    threading.Event().wait(WAIT_S)


@pytest.mark.skipif(sys.platform == "win32", reason="os.kill sends no signal there")
def test_first_signal_asks_and_the_second_forces() -> None:
    stop = threading.Event()
    before = signal.getsignal(signal.SIGINT)
    with Interrupts() as interrupts, interrupts.graceful(stop):
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wait(WAIT_S)
        assert interrupts.received == signal.SIGTERM
        with pytest.raises(Interrupted) as forced:
            send_and_wait(signal.SIGINT)
    assert forced.value.exit_code == 130
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.skipif(sys.platform == "win32", reason="os.kill sends no signal there")
def test_signal_while_loading_ends_at_once() -> None:
    with Interrupts(), pytest.raises(Interrupted) as early:
        send_and_wait(signal.SIGTERM)
    assert early.value.exit_code == 143


LOADED_HALF = """
import os, signal, threading
try:
    os.kill(os.getpid(), signal.SIGNAL)
    threading.Event().wait(WAIT)
except BaseException as error:
    raise ImportError("initialization failed") from error
"""


@pytest.mark.skipif(sys.platform == "win32", reason="os.kill sends no signal there")
@pytest.mark.parametrize(
    ("package", "signum", "words"),
    [
        ("onnxruntime", signal.SIGHUP, ("--source", "demo", "--output", "none")),
        ("onnxruntime", signal.SIGTERM, ("--doctor",)),
        ("numpy", signal.SIGINT, ("--source", "demo", "--output", "none")),
    ],
)
def test_signal_while_a_native_module_loads_is_no_missing_package(
    package: str, signum: signal.Signals, words: tuple[str, ...], repo_root: Path, tmp_path: Path
) -> None:
    """pybind11 makes an ImportError of what is raised meanwhile: "pip install", exit code 4."""
    text = LOADED_HALF.replace("SIGNAL", signum.name).replace("WAIT", str(WAIT_S))
    (tmp_path / f"{package}.py").write_text(text)
    done = subprocess.run(
        [sys.executable, str(repo_root / "run_live.py"), *words],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
    )
    assert done.returncode == 128 + signum, done.stderr
    assert f"interrupted by {signum.name}" in done.stderr
    assert "pip install" not in done.stderr
    assert "Traceback" not in done.stderr
