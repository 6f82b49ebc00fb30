"""How long a test waits before it calls something hung: the one place for such bounds.

None of them measures. Each is far more than ten times what a quiet machine takes, so that a test
fails for a hang and never for a busy machine; whoever waits ends at once when the event comes.
"""

from __future__ import annotations

from typing import Final

# An event inside a process, a picture in a window, the end of a thread: milliseconds to seconds.
WAIT_S: Final = 300.0
# A program from its start to its end: seconds to a minute.
RUN_TIMEOUT_S: Final = 1800.0
# An export, a bench, a training: up to some minutes.
LONG_RUN_TIMEOUT_S: Final = 7200.0
# Threads that end by themselves just after a test: milliseconds, and a leak is to be said soon.
THREAD_GRACE_S: Final = 60.0
