"""A control socket with a run behind it that is no more than its queues."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any, Final

from samcam.live.commands import Command
from samcam.live.control.controls import Controls
from samcam.live.remote.command_text import PromptContext
from samcam.live.remote.desk import CommandDesk
from samcam.live.remote.endpoints import Conversation, Transport, endpoints, is_run
from samcam.live.remote.server import ControlServer
from tests.helpers.bounds import WAIT_S

TRANSPORTS: Final[list[Transport]] = ["tcp"] if sys.platform == "win32" else ["unix", "tcp"]
STOP_S: Final = WAIT_S


@contextmanager
def running(
    controls: Controls, transport: Transport | None = None, name: str = "demo"
) -> Iterator[ControlServer]:
    desk = CommandDesk(controls, PromptContext((640, 360)))
    server = ControlServer(desk.answer, name, transport)
    server.start()
    try:
        yield server
    finally:
        desk.close()
        server.stop(STOP_S)


@contextmanager
def taking(controls: Controls, take: Callable[[Command], None]) -> Iterator[None]:
    """A run that does something with each command."""
    done = threading.Event()

    def loop() -> None:
        while not done.is_set():
            for waiting in (controls.tracker, controls.feed):
                while waiting.qsize():
                    take(waiting.get())
            done.wait(0.005)

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def open_runs(pid: int | None = None) -> list[Conversation]:
    """Connect to every run, or to one; what dead runs left behind is removed.

    Args:
        pid: Its process; None: all.
    """
    found = []
    for endpoint in endpoints():
        if pid in (None, endpoint.pid) and is_run(endpoint):
            with suppress(OSError, ValueError):
                found.append(Conversation(endpoint))
    return found


def ask(command: str | list[str] | None) -> dict[str, Any]:
    (run,) = open_runs()
    with closing(run):
        return run.ask(command, WAIT_S)
