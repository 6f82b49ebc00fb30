"""`ctl` beside silent callers, busy runs and other environments; odd commands on a real run."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from samcam.live.control.controls import Controls
from samcam.live.remote import server as control_server
from samcam.live.remote.ctl import run_ctl
from samcam.live.remote.endpoints import Conversation, Transport, endpoints, folders, live_runs
from tests.conftest import REPO_ROOT, RunCli
from tests.helpers.bounds import RUN_TIMEOUT_S, WAIT_S
from tests.helpers.control import TRANSPORTS, ask, open_runs, running, taking
from tests.helpers.live_run import ENDLESS, SMALL, without_display
from tests.helpers.live_run import running as running_program

posix = pytest.mark.skipif(sys.platform == "win32", reason="pipes and sockets of Unix")


@pytest.fixture(autouse=True)
def folder(control_folder: Path) -> Path:
    return control_folder


@contextmanager
def full_socket(path: Path) -> Iterator[socket.socket]:
    """A socket that listens and has no room: what a run looks like that is held up."""
    with ExitStack() as held:
        listener = held.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(path))
        listener.listen(0)
        while True:
            caller = held.enter_context(socket.socket(socket.AF_UNIX))
            caller.setblocking(False)
            try:
                caller.connect(str(path))
            except BlockingIOError:
                break
        yield listener


# --- the right run ----------------------------------------------------------------------------


@posix
def test_a_busy_run_is_a_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first of two runs had ten silent callers: "hide on" hid the second, and said "ok"."""
    controls = Controls(4)
    with running(controls), full_socket(folder / "77.sock"):
        assert run_ctl(["hide", "on"]) == 2
        said = capsys.readouterr().err
        assert f"2 runs: 77 (does not answer), {os.getpid()} (demo); choose one" in said
        assert controls.feed.empty(), "the other run was not touched"
        assert (folder / "77.sock").exists()


@posix
def test_a_run_without_room_is_asked_again_until_it_has_some(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Connecting to a full socket fails at once (EAGAIN): that was taken for "no run"."""
    folder.mkdir(mode=0o700)
    with full_socket(folder / "77.sock") as listener:

        def serve() -> None:
            time.sleep(0.2)  # ctl has found no room by then; if not, the test is only easier
            while True:
                connection, _ = listener.accept()
                with connection:
                    connection.settimeout(1.0)  # the fillers, one after another
                    try:
                        line = connection.recv(1 << 16)
                    except TimeoutError:
                        continue
                    if line:
                        answer = {"ok": True, "text": json.loads(line)["command"][0]}
                        connection.sendall(json.dumps(answer).encode() + b"\n")
                        return

        thread = threading.Thread(target=serve)
        thread.start()
        assert run_ctl(["undo"]) == 0
        thread.join()
    assert capsys.readouterr().out == "ok: undo\n"


@posix
def test_runs_of_other_runtime_folders_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One run in each of two XDG_RUNTIME_DIRs and one without: a caller reaches its own."""
    places = [tmp_path / "a", tmp_path / "b", None]
    runs = [Controls(4), Controls(4), Controls(4)]
    first_pid = os.getpid()

    def enter(at: int) -> None:
        place = places[at]
        if place is None:
            monkeypatch.delenv("XDG_RUNTIME_DIR")
        else:
            place.mkdir(mode=0o700, exist_ok=True)
            monkeypatch.setenv("XDG_RUNTIME_DIR", str(place))

    with ExitStack() as open_ones:
        for at in range(3):
            enter(at)
            monkeypatch.setattr(os, "getpid", lambda at=at: first_pid + at)
            open_ones.enter_context(running(runs[at], name=f"run {at}"))
        for at in range(3):
            enter(at)
            assert run_ctl(["quit"]) == 0
            assert [run.stop.is_set() for run in runs] == [True] * (at + 1) + [False] * (2 - at)
            if at == 0:  # by its number, a run can be reached from elsewhere
                assert run_ctl(["--pid", str(first_pid + 2), "status"]) == 2
    capsys.readouterr()
    with running(Controls(4), name="under cron"):
        enter(0)
        assert run_ctl(["hide"]) == 3
        said = capsys.readouterr().err
        assert "no run of this XDG_RUNTIME_DIR; of another one: " in said
        assert "(under cron); choose it with --pid N" in said


@posix
def test_two_processes_of_one_number_do_not_take_each_others_place(folder: Path) -> None:
    """Containers that share the folder: the second one must not remove the first one's socket."""
    with running(Controls(4), name="first"):
        second = control_server.ControlServer(lambda words, where: control_server.Answer(True), "2")
        with pytest.raises(OSError, match="another run with this process number answers there"):
            second.start()
        second.stop(1.0)
        assert ask(None)["text"] == "first"


# --- side by side -------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_silent_callers_delay_nobody(
    transport: Transport, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """More of them than there is room for, who might stay for ten minutes."""
    monkeypatch.setattr(control_server, "_READ_S", 600.0)
    controls = Controls(4)
    with running(controls, transport), ExitStack() as held:
        (endpoint,) = endpoints()
        for _ in range(100):
            held.enter_context(closing(Conversation(endpoint, 30.0)))._socket.sendall(b"{")
        assert run_ctl(["quit"]) == 0
    assert controls.stop.is_set()
    assert capsys.readouterr().out == "ok\n"


def test_many_commands_at_once_are_all_done() -> None:
    """Forty callers in one moment, more than are answered at once; each gets its own outcome."""
    controls = Controls(64)
    outcomes: list[dict[str, object]] = []

    def take(command: object) -> None:
        number = getattr(command, "object_id", 0)
        if number % 2:
            controls.refused(command, f"object {number}: no")  # type: ignore[arg-type]
        else:
            controls.say(f"object {number}: yes")
            controls.applied(command, 0)  # type: ignore[arg-type]

    def call(number: int) -> None:
        (run,) = open_runs()
        with closing(run):
            outcomes.append({"n": number, **run.ask(["commit", str(number)], WAIT_S)})

    with running(controls), taking(controls, take):
        callers = [threading.Thread(target=call, args=(n,)) for n in range(1, 41)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
    for row in outcomes:
        number = row["n"]
        odd = int(str(number)) % 2 == 1
        assert row["ok"] is not odd
        assert row["text"] == f"object {number}: {'no' if odd else 'yes'}"
    assert len(outcomes) == 40


@posix
@pytest.mark.parametrize("spec", ["@{}", "mask={}", "bbox_txt={}", "mask=m.png image={}"])
def test_a_pipe_is_refused_and_blocks_nobody(tmp_path: Path, spec: str) -> None:
    """`prompt @FIFO` waited for a writer, and everybody else for it."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "m.png").write_bytes(b"")
    with running(Controls(4)):
        answer = ask(["prompt", *spec.format(pipe).split()])
        assert answer["ok"] is False
        assert re.search("(a pipe or device|not a regular file); expected a", answer["text"])


@pytest.mark.expect_errors("a command failed")
def test_what_a_command_raises_is_its_answer() -> None:
    def fail(words: object, where: Path) -> control_server.Answer:
        raise MemoryError("no room")

    server = control_server.ControlServer(fail, "demo")
    server.start()
    try:
        answer = ask(["hide"])
    finally:
        server.stop(5.0)
    assert answer == {"ok": False, "text": "the command failed: MemoryError: no room"}


# --- on the real program --------------------------------------------------------------------------

LONG = "n" * 300
ODD: list[list[str]] = [
    ["profile", "save", LONG],
    ["profile", "save", f"./{LONG}"],
    ["profile", "save", f"/{'d' * 200}/" * 30],
    ["profile", "save", "/proc/samcam/x"],
    ["profile", "save", "/dev/full/x"],
    ["profile", "save", "~nosuchuser/x"],
    ["profile", "save", "a\0b/c"],
    ["profile", "save", "\ud83d/x"],
    ["profile", "save", ".."],
    ["profile", "save", "видео 🎥"],
    ["prompt", "@/dev/zero"],
    ["prompt", "@."],
    ["prompt", "@" + LONG],
    ["prompt", "@a\0b"],
    ["prompt", "@~nosuchuser/x.jsonl"],
    ["prompt", "mask=a\0b"],
    ["prompt", "mask=."],
    ["prompt", "point=" + "9" * 5000 + ",1"],
    ["prompt", "point=1e999,nan"],
    ["prompt", "object=" + "9" * 5000, "point=1,1"],
    ["prompt", "\ud800=\u202e"],
    ["prompt", "'"],
    ["effect", "\0"],
    ["effect", "blur", "-0"],
    ["reset", "1" * 10_000],
    ["cycle", "1", "\u22121"],
    ["hide", "on\n"],
    ["\n"],
    ["hide on\nquit"],
    [],
]


@posix
@pytest.mark.slow
def test_no_command_ends_a_run(
    run_cli: RunCli, folder: Path, nano_dir: Path, tmp_path: Path
) -> None:
    """`profile save` with a name of 300 letters ended a live run with a traceback."""
    arguments: tuple[str, ...] = (*ENDLESS, *SMALL, "--output", "none", "--model", str(nano_dir))
    environment = {**without_display(), "XDG_DATA_HOME": str(tmp_path / "data")}
    arguments = (*arguments, "--prompt", "box=10,10,150,150")
    with running_program(arguments, run_cli, tmp_path, environment) as run:
        (endpoint,) = endpoints()
        for words in ODD:
            with closing(Conversation(endpoint, WAIT_S)) as caller:
                answer = caller.ask(words, WAIT_S)
            assert answer["ok"] is False, words
            assert answer["text"], words
        assert run.process.poll() is None
        here = tmp_path / "caller's folder"
        here.mkdir()
        saved = run_cli("ctl", "profile", "save", "./my profile", cwd=here)
        assert saved.returncode == 0, saved.stderr
        assert (here / "my profile" / "profile.json").is_file(), "in the caller's folder"
        named = run_cli("ctl", "profile", "save", "my guitar")
        assert named.returncode == 0, named.stderr
        assert (tmp_path / "data" / "samcam" / "profiles" / "my guitar").is_dir()
        (mask,) = (here / "my profile").glob("object_1_mask-*.png")
        mask.rename(here / "a mask.png")
        for words in (["mask=a mask.png", "object=7"], ["mask='a mask.png' object=7"]):
            assert run_cli("ctl", "prompt", *words, cwd=here).returncode == 0, words
        gone = tmp_path / "gone"
        gone.mkdir()
        script = ("sh", "-c", 'rmdir "$PWD"; exec "$0" "$@"', sys.executable)
        status = (*script, str(REPO_ROOT / "run_live.py"), "ctl", "status")
        listed = subprocess.run(status, cwd=gone, capture_output=True, text=True, check=True)
        assert 7 in [one["object_id"] for one in json.loads(listed.stdout)["objects"]]
        assert "Traceback" not in run.log.read_text()
        assert run.ctl("quit").returncode == 0
        assert run.process.wait(RUN_TIMEOUT_S) == 0
    assert live_runs() == ([], [])
    assert folders()[0].is_dir()
