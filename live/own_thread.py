"""A thread that runs beside a `with` block."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import Self


class OwnThread(ABC):
    """Has a thread of its own while its `with` block runs.

    The thread is a daemon: what hangs in a disk must not keep the process alive.
    """

    def __init__(self, name: str) -> None:
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._end(error)

    @abstractmethod
    def _run(self) -> None:
        """Body of the thread."""

    @abstractmethod
    def _end(self, error: BaseException | None) -> None:
        """Let the thread end and wait for it, as long as it may take; `error` is what ended the
        block."""
