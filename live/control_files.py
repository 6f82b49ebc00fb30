"""Where a run can be reached by `ctl`: folders that only the user can open, and how to connect.

Standard library only: `ctl` must answer a key press at once. On Unix a run is a socket `PID.sock`;
where there are none (Windows, or a path too long for one) it is `PID.json` with a loopback port and
a secret token. Both lie in a folder of mode 0700 that belongs to the user.

A request is one line of JSON: `command` (null: only say who you are), `folder` (where relative
file names start), `token` (loopback only). The answer is one line: `ok`, `text`, perhaps `status`.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

Transport: TypeAlias = Literal["unix", "tcp"]

MAX_REQUEST_BYTES: Final = 1 << 14
MAX_ANSWER_BYTES: Final = 1 << 20
CONNECT_TIMEOUT_S: Final = 2.0
LOOPBACK: Final = "127.0.0.1"
_FOLDER: Final = "samcam"
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_LONGEST_SOCKET_PATH: Final = 100  # sun_path holds 104 bytes on macOS, 108 on Linux, with a zero
_MAX_FILES: Final = 64  # runs looked at; the rest must be stale


class ControlFolderError(OSError):
    """No folder that only this user can open.

    Attributes:
        reason: Which one, and why not.
        mend: The command that mends it.
    """

    def __init__(self, reason: str, mend: str) -> None:
        super().__init__(f"{reason}: {mend}")
        self.reason = reason
        self.mend = mend


class NoAnswerError(OSError):
    """A run that does not answer, or something else listens there."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One run as its file names it.

    Attributes:
        pid: Its process.
        path: `PID.sock` or `PID.json`.
    """

    pid: int
    path: Path

    @property
    def transport(self) -> Transport:
        """How to connect."""
        return "tcp" if self.path.suffix == ".json" else "unix"


def folders() -> list[Path]:
    """Return where runs may be found, the preferred one first; they need not exist."""
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA") or tempfile.gettempdir()
        return [Path(local) / _FOLDER / "run"]
    found = []
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime.startswith("/") and _is_ours(runtime):  # under sudo it may be another user's
        found.append(Path(runtime) / _FOLDER)
    # also without that variable, as under cron or sudo: both sides must find each other
    return [*found, Path(tempfile.gettempdir()) / f"{_FOLDER}-{os.getuid()}"]


def make_folder() -> Path:
    """Return the folder for a run of this process; make it where it is missing.

    Raises:
        ControlFolderError: It cannot be made, or others could open it.
    """
    folder = folders()[0]
    try:
        folder.mkdir(mode=0o700, parents=sys.platform == "win32", exist_ok=True)
    except OSError as error:
        raise ControlFolderError(
            f"{folder}: cannot be made: {error.strerror}",
            f"mv {folder} {folder}.old" if folder.exists() else f"mkdir -p -m 700 {folder.parent}",
        ) from error
    check_folder(folder)
    return folder


def check_folder(folder: Path) -> None:
    """Make sure that only this user can look into a folder.

    Raises:
        ControlFolderError: It is missing, somebody else's, a link, or open to others.
    """
    if sys.platform == "win32":
        return  # %LOCALAPPDATA% is closed to other users by its access list
    try:
        found = folder.lstat()
    except OSError as error:
        reason = f"{folder}: {error.strerror}"
        raise ControlFolderError(reason, f"mkdir -m 700 {folder}") from error
    if not stat.S_ISDIR(found.st_mode):
        raise ControlFolderError(f"{folder}: is not a folder", f"rm {folder}")
    if found.st_uid != os.getuid():
        raise ControlFolderError(
            f"{folder}: belongs to user {found.st_uid}, not to you ({os.getuid()})",
            "mkdir -m 700 ~/.run && export XDG_RUNTIME_DIR=~/.run",
        )
    if found.st_mode & _OTHERS:
        raise ControlFolderError(
            f"{folder}: mode {stat.S_IMODE(found.st_mode):o}, so others can open it; expected 700",
            f"chmod 700 {folder}",
        )


def usual_transport(folder: Path, pid: int) -> Transport:
    """Return how a run in this folder is reached."""
    fits = len(os.fsencode(folder / f".{pid}.sock")) <= _LONGEST_SOCKET_PATH
    return "unix" if hasattr(socket, "AF_UNIX") and fits else "tcp"


def endpoints() -> list[Endpoint]:
    """Return what the folders name, by process; some may be stale.

    Folders that others could write to are left out.
    """
    found = []
    for folder in folders():
        try:
            check_folder(folder)
            names = sorted(os.listdir(folder))
        except OSError:
            continue
        for name in names:
            stem, _, kind = name.partition(".")
            if kind in ("sock", "json") and stem.isascii() and stem.isdigit():
                found.append(Endpoint(int(stem), folder / name))
    return sorted(found, key=lambda endpoint: endpoint.pid)[:_MAX_FILES]


class Conversation:
    """A connection to a run; one request each."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Connect.

        Raises:
            ConnectionRefusedError, FileNotFoundError: The run is gone.
            OSError: It does not answer.
        """
        self.endpoint = endpoint
        self._token = ""
        if endpoint.transport == "tcp":
            port, self._token = _read_port(endpoint.path)
            self._socket = socket.create_connection((LOOPBACK, port), CONNECT_TIMEOUT_S)
            return
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(CONNECT_TIMEOUT_S)
        try:
            self._socket.connect(str(endpoint.path))
        except BaseException:
            self._socket.close()
            raise

    def ask(self, command: str | None, timeout_s: float) -> dict[str, Any]:
        """Send a request and return the answer.

        Raises:
            OSError: There was none in time, or not one of a run.
        """
        request = {"command": command, "folder": os.getcwd(), "token": self._token}
        self._socket.sendall(json.dumps(request).encode() + b"\n")
        line = read_line(self._socket, MAX_ANSWER_BYTES, time.monotonic() + timeout_s)
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict) or not isinstance(answer.get("ok"), bool):
            raise NoAnswerError("what listens there is not SamCam")
        return answer

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


def open_runs(pid: int | None = None) -> list[Conversation]:
    """Connect to every run, or to one; what dead runs left behind is removed.

    Args:
        pid: Its process; None: all.
    """
    found = []
    for endpoint in endpoints():
        if pid is not None and endpoint.pid != pid:
            continue
        try:
            found.append(Conversation(endpoint))
        except (ConnectionRefusedError, FileNotFoundError):
            # A file appears after its socket listens, so nobody will ever answer here.
            with contextlib.suppress(OSError):
                endpoint.path.unlink()
        except (OSError, ValueError):
            continue  # hangs, or is no file of ours
    return found


def read_line(connection: socket.socket, limit: int, deadline_s: float) -> bytes:
    """Read up to a line's end.

    Args:
        connection: Its time-out is changed.
        limit: Most bytes.
        deadline_s: `time.monotonic()` by which the whole line must be there.

    Raises:
        TimeoutError: It was not.
        NoAnswerError: The line is too long, or the other side hung up before its end.
    """
    data = b""
    while b"\n" not in data:
        left_s = deadline_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("no whole line in time")
        connection.settimeout(left_s)
        part = connection.recv(4096)
        data += part
        if not part:
            raise NoAnswerError("hung up before the end of the line")
        if len(data) > limit:
            raise NoAnswerError(f"more than {limit} bytes")
    return data.partition(b"\n")[0]


def _is_ours(folder: str) -> bool:
    try:
        found = os.stat(folder)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()


def _read_port(path: Path) -> tuple[int, str]:
    """Return port and token of a run.

    Raises:
        OSError, ValueError: The file cannot be read, or is not one of ours.
    """
    row = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(row, dict):
        raise ValueError(f"{path}: expected an object")
    port, token = row.get("port"), row.get("token")
    if not isinstance(port, int) or not 0 < port < 65536 or not isinstance(token, str):
        raise ValueError(f"{path}: expected port and token")
    return port, token
