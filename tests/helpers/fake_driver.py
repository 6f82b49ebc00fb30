"""Values of the fake driver: its statuses, its memory, and what a stream will do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np

UNWRITTEN = 0xFF  # in every byte of memory that is not written yet


class DriverFault(AssertionError):
    """The program did what a real driver would answer with wrong values or a crash."""


class Status(IntEnum):
    """The few codes of cudaError_t that occur here."""

    cudaSuccess = 0
    cudaErrorMemoryAllocation = 2
    cudaErrorInsufficientDriver = 35
    cudaErrorInvalidDevice = 101
    cudaErrorInvalidResourceHandle = 400
    cudaErrorNotReady = 600
    cudaErrorIllegalAddress = 700
    cudaErrorLaunchFailure = 719
    cudaErrorStreamCaptureUnsupported = 900
    cudaErrorStreamCaptureInvalidated = 901


OK = Status.cudaSuccess


@dataclass(eq=False)
class Block:
    """Device memory."""

    address: int
    data: np.ndarray[Any, Any]


@dataclass(eq=False)
class Operation:
    """Something that the stream will do."""

    work: Callable[[], None]
    blocks: list[Block] = field(default_factory=list)
    asked: Callable[[], None] | None = None  # happens when it is asked for
    check: Callable[[], None] | None = None  # must hold whenever a graph with it is started


class Stream(int):
    """Pending operations, and what is being captured."""

    pending: list[Operation]
    done: int
    captured: list[Operation] | None
    capture_thread: int
    invalid: bool
