"""stdout and stderr that can print any text, and survive a reader that has gone.

A terminal may lack a character of a file's name, the reader of a pipe may be gone, a service may
have closed them: none of that ends a run.
"""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import Final, TextIO

_LENIENT: Final = ("backslashreplace", "replace", "ignore", "xmlcharrefreplace", "namereplace")


def prepare_streams() -> None:
    """Open closed standard streams, and let both outputs write any character, escaped if needed.

    Closed ones first: the next file that is opened would get their number, and what a library
    prints would land in it.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            number = os.open(os.devnull, os.O_RDWR)
            nowhere = open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115  # for good
            setattr(sys, name, nowhere)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors not in _LENIENT:
            stream.reconfigure(errors="backslashreplace")


def write_line(stream: TextIO | None, text: str) -> OSError | None:
    """Write a line at once; return the error where it cannot be written.

    Nothing is written after an error, nor where there is no stream (None).
    """
    if stream is None:
        return None
    try:
        stream.write(f"{text}\n")
        stream.flush()
    except OSError as error:
        _silence(stream)
        return error
    except ValueError:  # closed by somebody else
        return None
    return None


def finish_streams() -> None:
    """Flush both outputs; else the interpreter fails to at exit where the reader is gone."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            _silence(stream)
        except (AttributeError, ValueError):
            continue  # there is none any more


def _silence(stream: TextIO) -> None:
    """Redirect a stream whose reader is gone to the null device, which takes its buffer."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, stream.fileno())
        finally:
            os.close(nowhere)
        stream.flush()
