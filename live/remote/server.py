"""Serves the commands of `ctl` during a run.

One thread reads from all callers at once, so that a silent or slow one does not delay the
others; each whole request is answered on a thread of its own, at most `_MAX_COMMANDS` at once.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import logging
import os
import secrets
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeGuard

from samcam.live.remote.endpoints import (
    LOOPBACK,
    MAX_REQUEST_BYTES,
    ControlFolderError,
    Endpoint,
    Transport,
    endpoints,
    is_run,
    make_folder,
    usual_transport,
)
from samcam.system import hide_secrets
from samcam.system.files import parse_json, write_whole

log = logging.getLogger(__name__)

THREAD_NAME: Final = "control"
_READ_S: Final = 2.0  # for a whole request, however slowly it drips
_SLICE_S: Final = 0.2  # longest wait without looking whether the run ends
_ROOM_S: Final = 0.01  # longest wait without looking whether a command is done
_WAITING: Final = 128  # connections that the system holds for us
_MAX_CALLERS: Final = 64  # that have sent no command yet; and commands that wait
_MAX_COMMANDS: Final = 16  # under way at once; each holds a thread for about a second at most
_TOO_MANY: Final = "too many commands are under way: this one was not taken; try again"


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a command.

    Attributes:
        ok: Done; else refused.
        text: One line, or "".
        status: The state of the run, where that was asked for.
    """

    ok: bool
    text: str = ""
    status: dict[str, Any] | None = None


@dataclass(slots=True, eq=False)
class _Caller:
    """A connection and its request.

    Attributes:
        connection: Non-blocking until its request is whole.
        deadline_s: `time.monotonic()` by which that must be.
        data: What came of it.
    """

    connection: socket.socket
    deadline_s: float
    data: bytes = b""


class ControlServer:
    """Listens until `stop`; neither waits for the run nor makes it wait."""

    def __init__(
        self,
        answer: Callable[[Sequence[str], Path], Answer],
        run_name: str,
        transport: Transport | None = None,
    ) -> None:
        """Prepare; nothing is open yet.

        Args:
            answer: Does a command, given as its words and with the folder of its file names; on
                several threads at once.
            run_name: Shown in a list of runs.
            transport: None: a Unix socket where there are such.
        """
        self._answer = answer
        self._run_name = run_name
        self._transport = transport
        self._token = ""
        self._ending = threading.Event()
        self._listener: socket.socket | None = None
        self._path: Path | None = None
        self._thread: threading.Thread | None = None
        self._reading: list[_Caller] = []  # of the thread alone, the oldest first
        self._waiting: deque[_Caller] = deque()  # whole requests, for a free place
        self._workers: list[threading.Thread] = []

    def start(self) -> None:
        """Listen.

        Raises:
            ControlFolderError: There is no folder that only the user can open.
            OSError: The system gives no socket.
        """
        folder = make_folder()
        pid = os.getpid()
        if (self._transport or usual_transport(folder, pid)) == "unix":
            self._listen_unix(folder, pid)
        else:
            self._listen_tcp(folder, pid)
        self._thread = threading.Thread(target=self._serve, name=THREAD_NAME, daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Close all connections and remove the file. Idempotent; never raises."""
        self._ending.set()
        deadline_s = time.monotonic() + timeout_s
        thread, self._thread = self._thread, None
        if thread is not None:
            _wait_for(thread, deadline_s)
        for worker in self._workers:  # looked at now: until its end the thread may start another
            _wait_for(worker, deadline_s)
        if self._listener is not None:
            self._listener.close()
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink()
        self._listener = self._path = None

    def _listen_unix(self, folder: Path, pid: int) -> None:
        hidden, path = folder / f".{pid}.sock", folder / f"{pid}.sock"
        _check_free(path)
        self._path = path
        listener = self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        for old in (hidden, path):
            old.unlink(missing_ok=True)  # of a dead process with our number
        listener.bind(str(hidden))
        hidden.chmod(0o600)
        listener.listen(_WAITING)
        hidden.rename(path)  # who sees it finds us listening

    def _listen_tcp(self, folder: Path, pid: int) -> None:
        path = folder / f"{pid}.json"
        _check_free(path)
        self._path = path
        listener = self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.bind((LOOPBACK, 0))
        listener.listen(_WAITING)
        self._token = secrets.token_urlsafe(32)
        row = {"port": listener.getsockname()[1], "token": self._token}
        write_whole(path, json.dumps(row).encode(), private=True)

    def _serve(self) -> None:
        """Accept, and read requests, all callers side by side; each whole one gets a thread."""
        listener = self._listener
        if listener is None:
            return
        for other in endpoints():
            is_run(other)  # which removes what dead ones left behind
        listener.setblocking(False)
        with selectors.DefaultSelector() as selector:
            selector.register(listener, selectors.EVENT_READ)
            while not self._ending.is_set():
                for key, _ in selector.select(_ROOM_S if self._waiting else _SLICE_S):
                    if key.fileobj is listener:
                        self._accept(listener, selector)
                    else:
                        self._read(key.data, selector)
                self._answer_waiting()
                self._hang_up_on_silent(selector)
            for caller in (*self._reading, *self._waiting):
                caller.connection.close()

    def _accept(self, listener: socket.socket, selector: selectors.BaseSelector) -> None:
        try:
            connection, _ = listener.accept()
        except BlockingIOError:
            return  # it has hung up already
        except OSError as error:  # out of file handles, among others: later perhaps not
            log.warning("ctl: a connection was lost: %s", error)
            self._ending.wait(_SLICE_S)
            return
        connection.setblocking(False)
        caller = _Caller(connection, time.monotonic() + _READ_S)
        if len(self._reading) >= _MAX_CALLERS:  # the one that has been silent for longest goes
            self._drop(self._reading[0], selector)
        self._reading.append(caller)
        selector.register(connection, selectors.EVENT_READ, caller)

    def _read(self, caller: _Caller, selector: selectors.BaseSelector) -> None:
        """Read from a caller; queue its request once that is whole."""
        if caller not in self._reading:
            return  # dropped meanwhile
        try:
            part = caller.connection.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            part = b""
        caller.data += part
        if b"\n" in part:
            self._reading.remove(caller)
            selector.unregister(caller.connection)
            if len(self._waiting) < _MAX_CALLERS:
                self._waiting.append(caller)
                return
            with contextlib.suppress(OSError):
                caller.connection.send(_line(Answer(False, _TOO_MANY)))
            caller.connection.close()
        elif not part or len(caller.data) > MAX_REQUEST_BYTES:
            self._drop(caller, selector)

    def _answer_waiting(self) -> None:
        """Start answering whole requests, as many as may be under way."""
        self._workers = [worker for worker in self._workers if worker.is_alive()]
        while self._waiting and len(self._workers) < _MAX_COMMANDS:
            caller = self._waiting.popleft()
            name = f"{THREAD_NAME} command"
            worker = threading.Thread(target=self._talk, args=(caller,), name=name, daemon=True)
            self._workers.append(worker)
            worker.start()

    def _hang_up_on_silent(self, selector: selectors.BaseSelector) -> None:
        now_s = time.monotonic()
        for caller in [one for one in self._reading if now_s > one.deadline_s]:
            self._drop(caller, selector)

    def _drop(self, caller: _Caller, selector: selectors.BaseSelector) -> None:
        self._reading.remove(caller)
        selector.unregister(caller.connection)
        caller.connection.close()

    def _talk(self, caller: _Caller) -> None:
        """Answer one request; a caller that hangs up is dropped."""
        try:
            with caller.connection as connection:
                answer = self._respond(caller.data.partition(b"\n")[0])
                connection.settimeout(_READ_S)
                connection.sendall(_line(answer))
        except OSError as error:
            log.debug("ctl: a connection was dropped: %s", error)

    def _respond(self, line: bytes) -> Answer:
        try:
            request = parse_json(line)
        except ValueError:
            request = None
        if not isinstance(request, dict):
            return Answer(False, "expected one JSON object a line")
        token = request.get("token")
        given = token if isinstance(token, str) else ""
        if not hmac.compare_digest(given.encode(errors="replace"), self._token.encode()):
            return Answer(False, "wrong token")
        command, folder = request.get("command"), request.get("folder")
        if command is None:
            return Answer(True, self._run_name)
        words = [command] if isinstance(command, str) else command
        if not _are_texts(words) or not isinstance(folder, str):
            return Answer(False, "expected command and folder as text")
        try:
            return self._answer(words, Path(folder))
        except Exception as error:  # no command may end a run, nor go without an answer
            log.exception("ctl: a command failed")
            return Answer(False, f"the command failed: {type(error).__name__}: {error}")


def _wait_for(thread: threading.Thread, deadline_s: float) -> None:
    thread.join(max(0.0, deadline_s - time.monotonic()))
    if thread.is_alive():
        log.warning("ctl: the thread %s is left behind", thread.name)


def _are_texts(words: object) -> TypeGuard[list[str]]:
    return isinstance(words, list) and all(isinstance(word, str) for word in words)


def _line(answer: Answer) -> bytes:
    row = {"ok": answer.ok, "text": hide_secrets(answer.text)}
    if answer.status is not None:
        row["status"] = answer.status
    return json.dumps(row).encode() + b"\n"


def _check_free(path: Path) -> None:
    """Refuse a place where another run answers: processes of two containers share numbers.

    Raises:
        ControlFolderError: One does.
    """
    kind = "sock" if path.suffix == ".json" else "json"
    for place in (path, path.with_suffix(f".{kind}")):
        if place.exists() and is_run(Endpoint(int(path.stem), place)):
            raise ControlFolderError(
                f"{place}: another run with this process number answers there",
                "mkdir -m 700 ~/.run && export XDG_RUNTIME_DIR=~/.run",
            )
