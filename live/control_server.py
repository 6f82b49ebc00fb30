"""Takes the commands of `ctl` while a run goes on: one thread, one connection at a time."""

from __future__ import annotations

import contextlib
import hmac
import json
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from live.control_files import (
    LOOPBACK,
    MAX_REQUEST_BYTES,
    NoAnswerError,
    Transport,
    make_folder,
    open_runs,
    usual_transport,
)

log = logging.getLogger(__name__)

THREAD_NAME: Final = "control"
_READ_S: Final = 2.0  # for a whole request, however slowly it drips
_SLICE_S: Final = 0.2  # longest wait without looking whether the run ends
_WAITING: Final = 8  # connections that the system holds for us; the next one is refused


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command came to.

    Attributes:
        ok: Done; else refused.
        text: One line, or "".
        status: The state of the run, where that was asked for.
    """

    ok: bool
    text: str = ""
    status: dict[str, Any] | None = None


class ControlServer:
    """Listens until `stop`; nothing here ever waits for the run, and the run never for it."""

    def __init__(
        self,
        answer: Callable[[str, Path], Answer],
        run_name: str,
        transport: Transport | None = None,
    ) -> None:
        """Prepare; nothing is open yet.

        Args:
            answer: Does a command, given with the folder of its file names; on this thread.
            run_name: What tells this run from others in a list.
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
        """Hang up and take the file away. Idempotent; never raises."""
        self._ending.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(timeout_s)
            if thread.is_alive():
                log.warning("ctl: the thread %s is left behind", THREAD_NAME)
        if self._listener is not None:
            self._listener.close()
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink()
        self._listener = self._path = None

    def _listen_unix(self, folder: Path, pid: int) -> None:
        hidden, self._path = folder / f".{pid}.sock", folder / f"{pid}.sock"
        listener = self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        for old in (hidden, self._path):
            old.unlink(missing_ok=True)  # of a dead process with our number
        listener.bind(str(hidden))
        hidden.chmod(0o600)
        listener.listen(_WAITING)
        hidden.rename(self._path)  # who sees it finds us listening

    def _listen_tcp(self, folder: Path, pid: int) -> None:
        listener = self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.bind((LOOPBACK, 0))
        listener.listen(_WAITING)
        self._token = secrets.token_urlsafe(32)
        hidden, self._path = folder / f".{pid}.json", folder / f"{pid}.json"
        hidden.unlink(missing_ok=True)
        row = {"port": listener.getsockname()[1], "token": self._token}
        # 0600 from the first moment on, and never an old file of other rights
        with open(os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(json.dumps(row))
        hidden.replace(self._path)

    def _serve(self) -> None:
        listener = self._listener
        if listener is None:
            return
        for other in open_runs():  # which removes what dead ones left behind
            other.close()
        listener.settimeout(_SLICE_S)
        while not self._ending.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            except OSError as error:  # out of file handles, among others: later perhaps not
                log.warning("ctl: a connection was lost: %s", error)
                self._ending.wait(_SLICE_S)
                continue
            with connection:
                self._talk(connection)

    def _talk(self, connection: socket.socket) -> None:
        """Take one request and answer it; whoever hangs up or drips is dropped."""
        try:
            line = self._read(connection)
            if line is None:
                return
            answer = self._respond(line)
            row = {"ok": answer.ok, "text": answer.text}
            if answer.status is not None:
                row["status"] = answer.status
            connection.settimeout(_READ_S)
            connection.sendall(json.dumps(row).encode() + b"\n")
        except OSError as error:
            log.debug("ctl: a connection was dropped: %s", error)
        except Exception:
            log.exception("ctl: a request failed")

    def _read(self, connection: socket.socket) -> bytes | None:
        """Read a request; None where the run ends before it is there."""
        deadline_s = time.monotonic() + _READ_S
        data = b""
        while not self._ending.is_set():
            now_s = time.monotonic()
            if now_s > deadline_s:
                raise TimeoutError("no whole request in time")
            connection.settimeout(_SLICE_S)
            try:
                part = connection.recv(4096)
            except TimeoutError:
                continue
            data += part
            if b"\n" in data:
                return data.partition(b"\n")[0]
            if not part or len(data) > MAX_REQUEST_BYTES:
                raise NoAnswerError("no request, or too long a one")
        return None

    def _respond(self, line: bytes) -> Answer:
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
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
        if not isinstance(command, str) or not isinstance(folder, str):
            return Answer(False, "expected command and folder as text")
        return self._answer(command, Path(folder))
