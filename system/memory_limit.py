"""Too little memory: a one-line message instead of a crash inside a library.

Below a certain limit (`ulimit -v`, a batch system's) libraries neither load nor raise: they crash,
abort or retry for ever. So the limit is checked first, and errors that they raise are recognised.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from typing import Final

MEMORY_EXIT_CODE: Final = 4
# Address space on two processors; libraries set some aside for each further one.
TO_LOAD_MIB: Final = 900
TO_RUN_MIB: Final = 1700  # nano on a small picture reaches 1610
_PER_PROCESSOR_MIB: Final = 40

_WHAT_TO_DO: Final = (
    "close other programs, raise the limit, or take a smaller picture (source.width and "
    "source.height) or model"
)
_SIGNS: Final = (
    "bad_alloc",
    "Insufficient memory",
    "Cannot allocate memory",
    "Failed to allocate memory",
    "failed to map segment",
    "can't start new thread",
)
_LONGEST_CHAIN: Final = 16


def limit_problem(least_mib: int) -> str | None:
    """Return what is wrong with this process's memory limit, None where it is fine or unknown.

    `least_mib` is what is needed on two processors.
    """
    limit_mib = _limit_mib()
    needed_mib = least_mib + _PER_PROCESSOR_MIB * max(0, (os.cpu_count() or 1) - 2)
    if limit_mib is None or limit_mib >= needed_mib:
        return None
    return (
        f"not enough memory: this process may have {limit_mib} MiB of address space (ulimit -v); "
        f"expected at least {needed_mib} MiB; raise the limit: ulimit -v unlimited"
    )


def memory_problem(error: BaseException) -> str | None:
    """Return the line for an error that comes of too little memory, None for any other."""
    for one in _chain(error):
        text = str(one)
        sign = next((sign for sign in _SIGNS if sign in text), None)
        ended = isinstance(one, OSError) and one.errno == errno.ENOMEM
        if isinstance(one, MemoryError) or ended or sign is not None:
            limit_mib = _limit_mib()
            what = " ".join((text or type(one).__name__).split())[:200]
            has = "" if limit_mib is None else f" (this process may have {limit_mib} MiB)"
            return f"not enough memory{has}: {what}; {_WHAT_TO_DO}"
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Give an error and what led to it."""
    one: BaseException | None = error
    for _ in range(_LONGEST_CHAIN):
        if one is None:
            return
        yield one
        one = one.__cause__ or one.__context__


def _limit_mib() -> int | None:
    """Return how much address space this process may have; None: as much as there is."""
    if sys.platform == "win32":
        return None
    try:
        import resource
    except ImportError:
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if soft == resource.RLIM_INFINITY else soft // (1 << 20)
