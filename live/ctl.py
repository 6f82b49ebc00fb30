"""`run_live.py ctl COMMAND`: sends one command to a run of the same user.

A program of its own: it loads neither networks nor windows, so that a key press is answered at
once. What a command looks like is read by the run; here only where there is none to ask.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any, Final

from live.control_files import Conversation, open_runs

DONE, WRONG, NO_RUN = 0, 2, 3
_ANSWER_S: Final = 10.0  # a prompt may have a large mask to read
_NAME_S: Final = 1.0
_USAGE: Final = "usage: run_live.py ctl [--pid N] COMMAND"
_START: Final = "start one: python run_live.py (with control.socket: true, its default)"
_CODES: Final = "exit code 0: done, 2: wrong or refused, 3: no run found"


class _CtlError(Exception):
    """Ends the program with one line on stderr."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def run_ctl(words: Sequence[str]) -> int:
    """Send a command, print the answer, and return the exit code.

    Args:
        words: What stands after `ctl`.
    """
    if list(words) in (["--help"], ["-h"], ["help"]):
        print(_help())
        return DONE
    try:
        pid, command = _split(words)
        answer = _ask(pid, command)
    except _CtlError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.code
    text = answer.get("text") or ""
    if not answer["ok"]:
        print(f"refused: {text}", file=sys.stderr)
        return WRONG
    if "status" in answer:
        print(json.dumps(answer["status"]))
    else:
        print(f"ok: {text}" if text else "ok")
    return DONE


def _help() -> str:
    from live.command_text import describe_commands

    commands = "\n".join(f"  {line}" for line in describe_commands())
    return f"{_USAGE}\n\n{commands}\n\n{_CODES}"


def _split(words: Sequence[str]) -> tuple[int | None, str]:
    """Return the process, if one is named, and the command."""
    rest = list(words)
    pid = None
    if rest and rest[0].partition("=")[0] == "--pid":
        _, equals, text = rest.pop(0).partition("=")
        if not equals:
            text = rest.pop(0) if rest else ""
        if not (text.isascii() and text.isdigit() and len(text) < 12):
            shown = f"--pid {text}".rstrip()
            raise _CtlError(WRONG, f"{shown}: expected the number of a process")
        pid = int(text)
    if not rest:
        raise _CtlError(WRONG, f"ctl: no command given; {_USAGE}; see ctl --help")
    return pid, " ".join(rest)


def _ask(pid: int | None, command: str) -> dict[str, Any]:
    runs = open_runs(pid)
    try:
        if not runs:
            _check_command(command)
            which = "no run" if pid is None else f"no run with process {pid}"
            raise _CtlError(NO_RUN, f"ctl: {which} to talk to; {_START}")
        if len(runs) > 1:
            listed = ", ".join(f"{run.endpoint.pid} ({_name_of(run)})" for run in runs)
            raise _CtlError(WRONG, f"ctl: {len(runs)} runs: {listed}; choose one with --pid N")
        try:
            return runs[0].ask(command, _ANSWER_S)
        except OSError as error:
            text = f"ctl: the run with process {runs[0].endpoint.pid} does not answer: {error}"
            raise _CtlError(NO_RUN, text) from error
    finally:
        for run in runs:
            run.close()


def _check_command(command: str) -> None:
    """Refuse a wrong command where no run can: that is what is wrong first."""
    from live.command_text import CommandError, parse_command

    try:
        parse_command(command)
    except CommandError as error:
        raise _CtlError(WRONG, f"ctl: {error}") from error


def _name_of(run: Conversation) -> str:
    try:
        return str(run.ask(None, _NAME_S)["text"])
    except OSError:
        return "does not answer"
