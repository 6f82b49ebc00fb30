"""Where a run can be reached by `ctl`: folders that only the user can open, and how to connect.

Standard library only: `ctl` must answer a key press at once. On Unix a run is a socket `PID.sock`;
where there are none (Windows, or a path too long for one) it is `PID.json` with a loopback port and
a secret token. Both lie in a folder of mode 0700 that belongs to the user.

A request is one line of JSON: `command` (its words as they were given, or one line of text; null:
only say who you are), `folder` (where relative file names start), `token` (loopback only). The
answer is one line: `ok`, `text`, perhaps `status`.

The folder decides which runs are meant: `ctl` talks to the runs of its own `XDG_RUNTIME_DIR`, and
to others only by their process. A run is a file behind which something listens, however busy.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import stat
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from samcam.system import FixableError
from samcam.system.files import is_there, parse_json, read_json

Transport: TypeAlias = Literal["unix", "tcp"]

MAX_COMMAND_BYTES: Final = 1 << 14  # of a request; the rest is for the folder and the token
MAX_REQUEST_BYTES: Final = 1 << 16
MAX_ANSWER_BYTES: Final = 1 << 20
_MAX_PORT_BYTES: Final = 1 << 12
CONNECT_TIMEOUT_S: Final = 2.0
LOOPBACK: Final = "127.0.0.1"
_FOLDER: Final = "samcam"
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_LONGEST_SOCKET_PATH: Final = 100  # sun_path holds 104 bytes on macOS, 108 on Linux, with a zero
_MAX_FILES: Final = 64  # runs looked at; the rest must be stale
_RETRY_S: Final = 0.01  # between two attempts where a run takes no more connections just now
# Elsewhere a socket that has no room for another connection refuses it as if nobody listened.
_REFUSED_FOR_GOOD_S: Final = 0.0 if sys.platform == "linux" else 0.5


class ControlFolderError(FixableError, OSError):
    """No folder that only this user can open; `reason` says which one, and why not."""


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
    """Return where runs may be found, this environment's own one first; they need not exist."""
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA") or tempfile.gettempdir()
        return [Path(local) / _FOLDER / "run"]
    found = []
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime.startswith("/") and _is_ours(runtime):  # under sudo it may be another user's
        found.append(Path(runtime) / _FOLDER)
    # without that variable, as under cron or sudo
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
            f"mv {folder} {folder}.old" if is_there(folder) else f"mkdir -p -m 700 {folder.parent}",
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


def endpoints(places: Iterable[Path] | None = None) -> list[Endpoint]:
    """Return the endpoints in folders, by process; some may be stale.

    Folders that others could write to are left out.

    Args:
        places: Where to look; None: everywhere.
    """
    found = []
    for folder in folders() if places is None else places:
        try:
            check_folder(folder)
            names = sorted(os.listdir(folder))
        except OSError:
            continue
        for name in names:
            stem, _, kind = name.partition(".")
            if kind in ("sock", "json") and stem.isascii() and stem.isdigit() and len(stem) < 12:
                found.append(Endpoint(int(stem), folder / name))
    return sorted(found, key=lambda endpoint: endpoint.pid)[:_MAX_FILES]


class Conversation:
    """A connection to a run; one request each."""

    def __init__(self, endpoint: Endpoint, timeout_s: float = CONNECT_TIMEOUT_S) -> None:
        """Connect; a run that has no room for another connection is asked again and again.

        Args:
            endpoint: The run.
            timeout_s: For how long.

        Raises:
            ConnectionRefusedError, FileNotFoundError: The run is gone.
            ValueError: The file is not one of ours.
            OSError: It does not answer.
        """
        self.endpoint = endpoint
        self._token = ""
        deadline_s = time.monotonic() + timeout_s
        if endpoint.transport == "tcp":
            port, self._token = _read_port(endpoint.path)
            self._socket = _connect(socket.AF_INET, (LOOPBACK, port), deadline_s)
        else:
            self._socket = _connect(socket.AF_UNIX, str(endpoint.path), deadline_s)

    def ask(self, command: str | Sequence[str] | None, timeout_s: float) -> dict[str, Any]:
        """Send a request and return the answer.

        Args:
            command: One line, or the words that it was given as; None: who are you.
            timeout_s: For all of it.

        Raises:
            OSError: There was no answer in time, or not one of a run.
        """
        deadline_s = time.monotonic() + timeout_s
        words = command if command is None or isinstance(command, str) else list(command)
        request = {"command": words, "folder": _caller_folder(), "token": self._token}
        self._socket.settimeout(timeout_s)
        self._socket.sendall(json.dumps(request).encode() + b"\n")
        line = read_line(self._socket, MAX_ANSWER_BYTES, deadline_s)
        try:
            answer = parse_json(line)
        except ValueError:
            answer = None
        if not isinstance(answer, dict) or not isinstance(answer.get("ok"), bool):
            raise NoAnswerError("what listens there is not SamCam")
        return answer

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


def is_run(endpoint: Endpoint) -> bool:
    """Whether something listens at an endpoint, busy or not; a dead run's file is removed."""
    try:
        Conversation(endpoint, 0.0).close()
    except (ConnectionRefusedError, FileNotFoundError):
        # A file appears after its socket listens, so nobody will ever answer here.
        with contextlib.suppress(OSError):
            endpoint.path.unlink()
        return False
    except ValueError:
        return False  # no file of ours
    except OSError:
        return True  # it takes no connection at this moment: a busy run is a run
    return True


def live_runs(pid: int | None = None) -> tuple[list[Endpoint], list[Endpoint]]:
    """Return the runs that a caller may mean, and those that have to be named by process.

    Args:
        pid: The one that is named, wherever it is; None: those of this environment's own folder
            are meant.
    """
    own, *others = ([place] for place in folders())
    here = [one for one in endpoints(own) if pid in (None, one.pid) and is_run(one)]
    rest = [e for place in others for e in endpoints(place) if pid in (None, e.pid) and is_run(e)]
    return ([*here, *rest], []) if pid is not None else (here, rest)


def _connect(family: int, address: str | tuple[str, int], deadline_s: float) -> socket.socket:
    """Connect before a moment of `time.monotonic()`, at least once.

    Raises:
        ConnectionRefusedError, FileNotFoundError: Nobody listens there.
        OSError: Otherwise.
    """
    refused_until_s = time.monotonic() + _REFUSED_FOR_GOOD_S
    while True:
        left_s = deadline_s - time.monotonic()
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            connection.settimeout(max(left_s, _RETRY_S))
            connection.connect(address)
            return connection
        except BaseException as error:
            connection.close()
            now_s = time.monotonic()
            full = isinstance(error, OSError) and error.errno == errno.EAGAIN  # no room in it
            again = full and now_s < deadline_s
            again |= isinstance(error, ConnectionRefusedError) and now_s < refused_until_s
            if not again:
                raise
        time.sleep(_RETRY_S)


def _caller_folder() -> str:
    """Return the current folder, by its name of before where it has been removed meanwhile."""
    try:
        return os.getcwd()
    except OSError:
        return os.environ.get("PWD") or "/"


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
    row = read_json(path, _MAX_PORT_BYTES)
    if not isinstance(row, dict):
        raise ValueError(f"{path}: expected an object")
    port, token = row.get("port"), row.get("token")
    if not isinstance(port, int) or not 0 < port < 65536 or not isinstance(token, str):
        raise ValueError(f"{path}: expected port and token")
    return port, token
