"""Which run `ctl` talks to: the only one, the named one, never a dead or a foreign one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from samcam.live.control.controls import Controls
from samcam.live.remote.ctl import run_ctl
from samcam.live.remote.endpoints import Conversation, Transport, endpoints
from tests.helpers.bounds import WAIT_S
from tests.helpers.control import TRANSPORTS, open_runs, running
from tests.helpers.xvfb import wait_until


@pytest.fixture(autouse=True)
def folder(control_folder: Path) -> Path:
    return control_folder


RUN = """
import sys
from samcam.live.remote.server import ControlServer
ControlServer(lambda text, folder: None, "dead", sys.argv[1]).start()
sys.stdin.read()
"""


@contextmanager
def killed_in_the_end(transport: Transport) -> Iterator[int]:
    """Start a process that has the control socket of a run; give its number."""
    process = subprocess.Popen([sys.executable, "-c", RUN, transport], stdin=subprocess.PIPE)
    with process:
        try:
            yield process.pid
        finally:
            process.kill()


def answering() -> list[int]:
    """Return the runs whose thread answers: it has removed what dead ones left by then."""
    found = []
    for run in open_runs():
        with closing(run):
            assert run.ask(None, WAIT_S)["ok"]
            found.append(run.endpoint.pid)
    return found


@pytest.mark.skipif(sys.platform == "win32", reason="a signal of Unix")
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_what_dead_runs_leave_is_cleaned_up(
    folder: Path, transport: Transport, capsys: pytest.CaptureFixture[str]
) -> None:
    # both at once: a run that starts removes what dead ones left
    with killed_in_the_end(transport) as first, killed_in_the_end(transport) as second:
        wait_until(lambda: len(answering()) == 2, "both runs")
        assert sorted((first, second)) == answering()
    assert len(list(folder.iterdir())) == 2
    (folder / "notes.txt").touch()  # what is none of ours stays
    assert run_ctl(["hide"]) == 3
    assert "no run to talk to; start one: python run_live.py" in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_something_else_on_the_port_is_no_run(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.mkdir(mode=0o700)
    with socket.create_server(("127.0.0.1", 0)) as other:

        def serve() -> None:
            connection, _ = other.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        row = {"port": other.getsockname()[1], "token": "x"}
        (folder / "77.json").write_text(json.dumps(row))
        assert run_ctl(["hide"]) == 3
        thread.join()
    assert "77 does not answer" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "[]", '{"port": "x"}', '{"port": 99999, "token": ""}'])
def test_a_broken_file_is_no_run(folder: Path, text: str) -> None:
    folder.mkdir(mode=0o700)
    (folder / "77.json").write_text(text)
    assert open_runs() == []


def test_two_runs_are_told_apart(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = Controls(4), Controls(4)
    me = os.getpid()
    with running(first, name="demo"):
        monkeypatch.setattr(os, "getpid", lambda: me + 1)
        with running(second, name="camera 0"):
            assert run_ctl(["quit"]) == 2
            said = capsys.readouterr().err
            assert f"2 runs: {me} (demo), {me + 1} (camera 0); choose one with --pid N" in said
            assert not first.stop.is_set()
            assert run_ctl(["--pid", str(me + 1), "quit"]) == 0
            assert second.stop.is_set()
            assert not first.stop.is_set()
            assert run_ctl([f"--pid={me}", "quit"]) == 0
            assert first.stop.is_set()
            assert run_ctl(["--pid", "1", "quit"]) == 3
            assert "no run with process 1" in capsys.readouterr().err


def test_the_file_says_which_way() -> None:
    for transport in TRANSPORTS:
        with running(Controls(4), transport):
            (endpoint,) = endpoints()
            assert endpoint.transport == transport
            Conversation(endpoint).close()
