"""The end of the process, also where a thread cannot be ended.

A thread that was left behind (a step that takes minutes, a camera stuck in `read`, an output that
nobody reads) is inside native code and returns at some time. If the interpreter is shutting down
by then, CPython ends such a thread with `pthread_exit`, which unwinds through C++
frames that allow no unwinding: "terminate called without an active exception", SIGABRT, and the
exit code is lost. So where threads are left, and only there, the process ends without that.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable

from samcam.system.streams import finish_streams


def run_to_the_end(run: Callable[[], int]) -> int:
    """Return the exit code of `run`, or end the process with it where threads are left.

    `run` has finished its outputs when it returns or raises; what it raises passes, or where
    threads are left is shown, with code 1.
    """
    try:
        code = run()
    except Exception as error:
        if not threads_left():
            raise
        sys.excepthook(type(error), error, error.__traceback__)
        code = 1
    if threads_left():
        _end_at_once(code)
    return code


def threads_left() -> list[str]:
    """Return the names of the threads that still run beside this one."""
    this = threading.current_thread()
    return [thread.name for thread in threading.enumerate() if thread is not this]


def _end_at_once(code: int) -> None:
    logging.shutdown()  # flushes every handler
    finish_streams()
    os._exit(code)
