"""`run_live.py ctl COMMAND`: sends one command to a run of the same user.

A program of its own: it loads neither networks nor windows, so that a key press is answered at
once. The run parses the command; this program only where there is no run.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import closing
from typing import Any, Final

from samcam.live.remote.endpoints import MAX_COMMAND_BYTES, Conversation, Endpoint, live_runs
from samcam.system import complain, program, say

DONE, WRONG, NO_RUN = 0, 2, 3
_ANSWER_S: Final = 10.0  # a prompt may have a large mask to read
_NAME_S: Final = 1.0
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
        say(_help())
        return DONE
    try:
        pid, command = _split(words)
        answer = _ask(pid, command)
    except _CtlError as error:
        complain(f"error: {error}")
        return error.code
    text = answer.get("text") or ""
    if not answer["ok"]:
        complain(f"refused: {text}")
        return WRONG
    if "status" in answer:
        say(json.dumps(answer["status"]))
    else:
        say(f"ok: {text}" if text else "ok")
    return DONE


def _usage() -> str:
    return f"usage: {program()} ctl [--pid N] COMMAND"


def _help() -> str:
    from samcam.live.remote.command_text import describe_commands

    commands = "\n".join(f"  {line}" for line in describe_commands())
    return f"{_usage()}\n\n{commands}\n\n{_CODES}"


def _split(words: Sequence[str]) -> tuple[int | None, list[str]]:
    """Return the process, if one is named, and the command's words."""
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
        raise _CtlError(WRONG, f"ctl: no command given; {_usage()}; see ctl --help")
    return pid, rest


def _ask(pid: int | None, words: Sequence[str]) -> dict[str, Any]:
    deadline_s = time.monotonic() + _ANSWER_S
    size = len(json.dumps(list(words)))
    if size > MAX_COMMAND_BYTES:
        text = f"ctl: a command of {size} bytes; expected at most {MAX_COMMAND_BYTES}"
        raise _CtlError(WRONG, f"{text}; put long prompts into a file: prompt @FILE.jsonl")
    runs, elsewhere = live_runs(pid)
    if not runs:
        _check_command(words)
        which = "no run" if pid is None else f"no run with process {pid}"
        if elsewhere:
            raise _CtlError(
                NO_RUN,
                f"ctl: no run of this XDG_RUNTIME_DIR; of another one: {_listed(elsewhere)}; "
                "choose it with --pid N",
            )
        start = f"start one: {program()} (with control.socket: true, its default)"
        raise _CtlError(NO_RUN, f"ctl: {which} to talk to; {start}")
    if len(runs) > 1:
        text = f"ctl: {len(runs)} runs: {_listed(runs)}; choose one with --pid N"
        raise _CtlError(WRONG, text)
    try:
        with closing(Conversation(runs[0], _ANSWER_S)) as run:
            return run.ask(words, max(_NAME_S, deadline_s - time.monotonic()))
    except (OSError, ValueError) as error:
        text = f"ctl: the run with process {runs[0].pid} does not answer: {_reason(error)}"
        raise _CtlError(NO_RUN, text) from error


def _reason(error: Exception) -> str:
    if isinstance(error, BlockingIOError):
        return f"it is busy, and took no connection within {_ANSWER_S:g} s"
    return str(error)


def _check_command(words: Sequence[str]) -> None:
    """Refuse a wrong command where no run can do it."""
    from samcam.live.remote.command_text import CommandError, parse_words

    try:
        parse_words(words)
    except CommandError as error:
        raise _CtlError(WRONG, f"ctl: {error}") from error


def _listed(endpoints: Sequence[Endpoint]) -> str:
    """Return runs with their sources; all together get a moment to answer."""
    deadline_s = time.monotonic() + _NAME_S
    names = []
    for endpoint in endpoints:
        left_s = max(0.05, deadline_s - time.monotonic())
        try:
            with closing(Conversation(endpoint, left_s)) as run:
                name = str(run.ask(None, left_s)["text"])
        except (OSError, ValueError):
            name = "does not answer"
        names.append(f"{endpoint.pid} ({name})")
    return ", ".join(names)
