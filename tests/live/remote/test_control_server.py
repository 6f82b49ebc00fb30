"""The socket of `ctl`, in this process: who may open it, what it takes, how it ends."""

from __future__ import annotations

import json
import os
import socket
import stat
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from samcam.live.commands import Command, HideFeed, RemoveObject, SetEffect
from samcam.live.control.controls import Controls
from samcam.live.control.status import LiveStatus, ObjectStatus
from samcam.live.frames import Prompt
from samcam.live.remote import desk as control_desk
from samcam.live.remote import server as control_server
from samcam.live.remote.command_text import PromptContext
from samcam.live.remote.desk import CommandDesk
from samcam.live.remote.endpoints import (
    MAX_REQUEST_BYTES,
    ControlFolderError,
    Transport,
    check_folder,
    endpoints,
    folders,
    make_folder,
    usual_transport,
)
from samcam.live.remote.server import THREAD_NAME, ControlServer
from tests.helpers.bounds import WAIT_S
from tests.helpers.control import STOP_S, TRANSPORTS, ask, open_runs, running, taking

posix = pytest.mark.skipif(sys.platform == "win32", reason="owners and modes of Unix")


@pytest.fixture(autouse=True)
def folder(control_folder: Path) -> Path:
    return control_folder


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_command_arrives_and_its_effect_is_awaited(transport: Transport) -> None:
    controls = Controls(4)
    got: list[Command] = []

    def take(command: Command) -> None:
        got.append(command)
        controls.say("effect blur")
        controls.applied(command, 3)

    with running(controls, transport), taking(controls, take):
        assert ask("effect blur") == {"ok": True, "text": "effect blur"}
        assert ask(None) == {"ok": True, "text": "demo"}
    assert got == [SetEffect("blur")]


def test_what_the_run_refuses_is_the_answer() -> None:
    controls = Controls(4)
    take: Callable[[Command], None] = lambda c: controls.refused(c, "object 9: not there")  # noqa: E731
    with running(controls), taking(controls, take):
        assert ask("commit 9") == {"ok": False, "text": "object 9: not there"}
    assert controls.notice is not None
    assert controls.notice.text == "refused: object 9: not there"


def test_anothers_outcome_is_not_taken_for_ones_own() -> None:
    """The window sends an equal command at the same moment; only that one is refused."""
    controls = Controls(4)
    others = RemoveObject(1)

    def take(command: Command) -> None:
        controls.refused(others, "not yours")
        controls.applied(command, 0)

    with running(controls), taking(controls, take):
        assert ask("reset 1")["ok"] is True


def test_a_command_that_no_picture_follows_is_taken_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(control_desk, "OUTCOME_S", 0.1)
    controls = Controls(4)
    with running(controls):
        answer = ask("reset 1")
    assert answer == {"ok": True, "text": "taken; it waits for the next picture"}
    assert controls.tracker.get_nowait() == RemoveObject(1)


def test_what_is_said_about_something_else_is_no_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    """The window's click is refused while a command of `ctl` waits for its picture."""
    monkeypatch.setattr(control_desk, "OUTCOME_S", 0.3)
    controls = Controls(4)
    take: Callable[[Command], None] = lambda c: controls.refused(RemoveObject(7), "a click")  # noqa: E731
    with running(controls), taking(controls, take):
        assert ask("undo") == {"ok": True, "text": "taken; it waits for the next picture"}


def test_a_full_queue_is_said() -> None:
    controls = Controls(1)
    assert controls.send(HideFeed())
    with running(controls):
        answer = ask("hide on")
    assert answer["ok"] is False
    assert "too many commands" in answer["text"]


def test_wrong_text_changes_nothing() -> None:
    controls = Controls(4)
    with running(controls):
        answer = ask("prompt point=640,0")
        assert answer["ok"] is False
        assert "640x360" in answer["text"]
        assert ask("nonsense")["ok"] is False
    assert controls.tracker.empty()
    assert controls.feed.empty()


def test_several_prompts_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name means the caller's folder; one refusal among them is the answer."""
    monkeypatch.chdir(tmp_path)
    Path("two.jsonl").write_text('{"point": [1, 2]}\n{"object": 2, "point": [3, 4]}\n')
    controls = Controls(4)

    def take(command: Command) -> None:
        assert isinstance(command, Prompt)
        if command.object_id == 2:
            controls.refused(command, "object 2: no")
        else:
            controls.applied(command, 0)

    with running(controls), taking(controls, take):
        assert ask("prompt @two.jsonl") == {"ok": False, "text": "object 2: no"}


def write_prompts(count: int) -> None:
    rows = [json.dumps({"object": n % 254 + 1, "point": [1, 2]}) for n in range(count)]
    Path("many.jsonl").write_text("\n".join(rows))


def test_a_file_of_prompts_for_all_objects_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 32 places the first 32 were taken, and the answer was that nothing was."""
    monkeypatch.chdir(tmp_path)
    write_prompts(254)
    controls = Controls(4)
    got: list[Command] = []

    def take(command: Command) -> None:
        got.append(command)
        controls.applied(command, 0)

    with running(controls), taking(controls, take):
        assert ask("prompt @many.jsonl") == {"ok": True, "text": ""}
    assert [c.object_id for c in got if isinstance(c, Prompt)] == list(range(1, 255))


def test_a_file_of_prompts_is_taken_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(control_desk, "OUTCOME_S", 0.1)
    write_prompts(3)
    controls = Controls(2)
    with running(controls):
        assert controls.send(RemoveObject(1))
        assert ask("prompt @many.jsonl")["ok"] is True
        assert controls.tracker.qsize() == 4
        refused = ask("prompt @many.jsonl")
        assert refused["ok"] is False
        assert "too many commands are waiting" in refused["text"]
    assert controls.tracker.qsize() == 4


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"point": [1, 2]}\n' * 1017, "expected at most 1016 prompts in one file, got more"),
        ("[" + ",".join(['{"point": [1, 2]}'] * 1017) + "]", "expected at most 1016 prompts"),
        ('{"point": [1, 2]}\n' * 200_000, "larger than 1 MiB"),
        ("nonsense\n" * 1000, "; and 193 more"),
    ],
)
def test_a_file_of_too_many_prompts_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    """20,000 lines held the pictures up for seconds, and 200,000 the program's end."""
    monkeypatch.chdir(tmp_path)
    Path("many.jsonl").write_text(text)
    controls = Controls(4)
    with running(controls):
        answer = ask("prompt @many.jsonl")
    assert answer["ok"] is False
    assert said in answer["text"]
    assert len(answer["text"]) < 4096
    assert controls.tracker.empty()


def test_quit_and_status() -> None:
    controls = Controls(4)
    with running(controls):
        assert "no picture" in ask("status")["text"]
        thing = ObjectStatus(3, "lost", "away", False, "blur")
        controls.publish(LiveStatus(7, 9, 0.25, hidden=True, objects=(thing,)))
        status = ask("status")["status"]
        assert (status["step"], status["frame"], status["time_s"]) == (7, 9, 0.25)
        assert status["hidden"] is True
        assert status["objects"][0]["effect"] == "blur"
        assert not controls.stop.is_set()
        assert ask("quit") == {"ok": True, "text": ""}
        assert controls.stop.is_set()


# --- who may open it ------------------------------------------------------------------------


@posix
def test_only_the_user_can_open_it(folder: Path) -> None:
    with running(Controls(4), "unix"):
        (file,) = folder.iterdir()
        assert file.name == f"{os.getpid()}.sock"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert list(folder.iterdir()) == []


def test_the_token_is_needed_and_secret(folder: Path) -> None:
    controls = Controls(4)
    with running(controls, "tcp"):
        (file,) = folder.iterdir()
        if sys.platform != "win32":
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
        row = json.loads(file.read_text())
        assert len(row["token"]) >= 32
        for token in ("", "wrong", row["token"][:-1], None, 3, "\ud800"):
            with socket.create_connection(("127.0.0.1", row["port"]), 5) as connection:
                request = {"command": "hide", "folder": "/", "token": token}
                connection.sendall(json.dumps(request).encode() + b"\n")
                answer = json.loads(connection.makefile().readline())
            assert answer == {"ok": False, "text": "wrong token"}
        with pytest.raises(OSError, match=r"refused|timed out|unreachable"):  # loopback only
            socket.create_connection(("127.0.0.2", row["port"]), 1)
    assert controls.feed.empty()
    assert list(folder.iterdir()) == []


@posix
@pytest.mark.parametrize("mode", [0o755, 0o770, 0o707])
def test_a_folder_that_others_can_open_is_refused(folder: Path, mode: int) -> None:
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(ControlFolderError) as caught:
        make_folder()
    assert f"mode {mode:o}" in caught.value.reason
    assert caught.value.fix == f"chmod 700 {folder}"
    (folder / "1.sock").touch()
    assert endpoints() == [], "nor does ctl look there"


@posix
def test_a_link_or_a_file_in_its_place_is_refused(folder: Path, tmp_path: Path) -> None:
    real = tmp_path / "elsewhere"
    real.mkdir(mode=0o700)
    folder.symlink_to(real)
    with pytest.raises(ControlFolderError, match="is not a folder"):
        make_folder()
    folder.unlink()
    folder.write_text("x")
    with pytest.raises(ControlFolderError, match="cannot be made"):
        make_folder()


@posix
def test_a_foreign_folder_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The temp folder is everybody's: whoever makes our folder first must not get our commands."""
    folder.mkdir(mode=0o700)
    me = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: me + 1)
    with pytest.raises(ControlFolderError, match=f"belongs to user {me}, not to you"):
        check_folder(folder)
    # and the runtime folder of another user, as it stays set under sudo, is not used at all
    (found,) = folders()
    assert found.name == f"samcam-{me + 1}"


@posix
def test_a_path_too_long_for_a_socket_takes_the_other_way() -> None:
    assert usual_transport(Path("/run/user/1000/samcam"), 4_194_304) == "unix"
    assert usual_transport(Path("/run") / ("x" * 90), 4_194_304) == "tcp"


# --- what it takes --------------------------------------------------------------------------


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"hello\n",
        b"[1]\n",
        b"\xff\xfe\n",
        b"[" * 9000 + b"\n",
        b'{"command": 3, "folder": "/"}\n',
        b'{"command": "hide"}\n',
    ],
)
def test_nonsense_is_refused_and_the_next_one_served(transport: Transport, line: bytes) -> None:
    controls = Controls(4)
    with running(controls, transport):
        (run,) = open_runs()
        with closing(run):
            run._socket.sendall(line)
            assert json.loads(run._socket.makefile().readline())["ok"] is False
        assert ask(None)["ok"] is True
    assert controls.feed.empty()


def test_too_long_a_request_is_dropped() -> None:
    with running(Controls(4)):
        (run,) = open_runs()
        with closing(run), pytest.raises(OSError, match=r"hung up|reset|pipe"):
            run.ask("x" * (MAX_REQUEST_BYTES * 2), WAIT_S)
        assert ask(None)["ok"] is True


def test_who_says_nothing_holds_nobody_up_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two callers that never finish a line; the third is served when their time is over."""
    monkeypatch.setattr(control_server, "_READ_S", 0.3)
    with running(Controls(4)):
        (silent,) = open_runs()
        (dripping,) = open_runs()
        dripping._socket.sendall(b"{")
        with closing(silent), closing(dripping):
            (run,) = open_runs()
            with closing(run):
                assert run.ask(None, WAIT_S)["ok"] is True
            assert silent._socket.recv(1) == b"", "it was hung up on"


def test_it_ends_while_somebody_is_connected(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_server, "_READ_S", 60.0)
    with running(Controls(4)) as server:
        (silent,) = open_runs()
        assert THREAD_NAME in [thread.name for thread in threading.enumerate()]
        server.stop(STOP_S)
        assert THREAD_NAME not in [thread.name for thread in threading.enumerate()]
        silent.close()
    assert list(folder.iterdir()) == []


def test_it_ends_while_a_command_is_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_desk, "OUTCOME_S", 60.0)
    controls = Controls(4)
    desk = CommandDesk(controls, PromptContext((640, 360)))
    server = ControlServer(desk.answer, "demo")
    server.start()
    (run,) = open_runs()
    with closing(run):
        asking = threading.Thread(target=lambda: run.ask("reset", WAIT_S))
        asking.start()
        while controls.tracker.empty():
            time.sleep(0.005)
        desk.close()
        server.stop(STOP_S)
        assert THREAD_NAME not in [thread.name for thread in threading.enumerate()]
        asking.join()
