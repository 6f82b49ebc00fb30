"""Thousands of frames: neither memory nor the time of a frame may grow."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

import numpy as np

from bench.gpu.machine import device_memory_mib
from bench.gpu.order import Order, Outcome, Surprise, cut
from bench.sam2_ours import Ours

WARM_UP: Final = 20  # captures and compiles, and lets the libraries allocate what they keep
WINDOW: Final = 200
MAX_SLOWER: Final = 1.2  # the last window's median over the first one's
MAX_GROWTH_MIB: Final = 64.0  # on the device as on the host
_END_S: Final = 3.0  # left over to report in


def run_flat(ours: Ours, order: Order, limits: bool = True) -> Outcome:
    """Track one object for `order.frames` frames, or as long as there is time.

    Raises:
        Surprise: With `limits`: memory or the time of a frame grew.
    """
    ours.start(1)
    for _ in range(WARM_UP):
        ours.frame()
    window = max(1, min(WINDOW, order.frames // 4))
    took_ms: list[float] = []
    before = (host_memory_mib(), device_memory_mib())
    while len(took_ms) < order.frames and order.left_s() > _END_S:
        begun = time.perf_counter()
        ours.frame()
        took_ms.append((time.perf_counter() - begun) * 1000)
        if len(took_ms) == window:
            before = (host_memory_mib(), device_memory_mib())
    after = (host_memory_mib(), device_memory_mib())
    outcome = judged(took_ms, window, before, after, limits)
    if len(took_ms) < order.frames:
        return cut(outcome, f"of {order.frames} asked for")
    return outcome


_Memory = tuple[float | None, float | None]


def judged(
    took_ms: list[float], window: int, before: _Memory, after: _Memory, limits: bool
) -> Outcome:
    first, last = (
        float(np.median(part or [np.nan])) for part in (took_ms[:window], took_ms[-window:])
    )
    figures: dict[str, Any] = {
        "frames": len(took_ms),
        "window": window,
        "first_ms": first,
        "last_ms": last,
        "host_mib": [before[0], after[0]],
        "device_mib": [before[1], after[1]],
    }
    memory = []
    grown = []
    for what, then, now in zip(("host", "device"), before, after, strict=True):
        if then is None or now is None:
            memory.append(f"{what} memory not known here")
            continue
        memory.append(f"{what} {then:.0f} to {now:.0f} MiB")
        if now - then > MAX_GROWTH_MIB:
            grown.append(f"{what} memory grew from {then:.0f} to {now:.0f} MiB")
    if last > first * MAX_SLOWER:
        grown.append(f"a frame grew from {first:.1f} to {last:.1f} ms")
    line = f"{len(took_ms)} frames, {first:.1f} then {last:.1f} ms; {', '.join(memory)}"
    if limits and grown:
        raise Surprise(f"{'; '.join(grown)} over {len(took_ms)} frames, expected both to be flat")
    return Outcome("done", line, figures)


def host_memory_mib() -> float | None:
    """Return this process's resident memory; None where /proc does not tell."""
    try:
        text = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    lines = (line.split() for line in text.splitlines())
    return next((int(words[1]) / 1024 for words in lines if words[0] == "VmRSS:"), None)
