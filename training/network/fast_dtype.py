"""Chooses the number format of a training run by a short measurement.

bfloat16 halves the time of a step where the processor has instructions for it, and takes ten times
as long where it has not; which of both is asked of the machine, for half a second at the start.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from torch import nn

BUDGET_S: Final = 0.5
MIN_GAIN: Final = 1.1  # bfloat16 rounds, so it must be worth it
_CHANNELS, _SIDE, _BATCH = 64, 32, 2  # of nano's middle layers

Measure = Callable[[torch.dtype], float]


@dataclass(frozen=True, slots=True)
class Choice:
    """What a run computes in (for autocast), and why: the fastest step in each format."""

    dtype: torch.dtype
    float32_ms: float
    bfloat16_ms: float

    def row(self) -> dict[str, str | float]:
        return {
            "dtype": str(self.dtype).removeprefix("torch."),
            "float32_step_ms": round(self.float32_ms, 3),
            "bfloat16_step_ms": round(self.bfloat16_ms, 3),
        }


def choose_dtype(
    device: torch.device,
    measure: Measure | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Choice:
    """Take turns with both formats for about half a second; at least twice each.

    The fastest step of each counts: what else the machine does makes steps slower, never faster.
    The first turn only warms up. `measure` gives the seconds of one step in a format; None: of a
    small network, forth and back.
    """
    timed = measure or _small_step(device)
    kinds = (torch.float32, torch.bfloat16)
    for dtype in kinds:
        timed(dtype)
    fastest = dict.fromkeys(kinds, float("inf"))
    end_s = clock() + BUDGET_S
    turns = 0
    while turns < 2 or clock() < end_s:
        for dtype in kinds:
            fastest[dtype] = min(fastest[dtype], timed(dtype))
        turns += 1
    full, half = (fastest[dtype] for dtype in kinds)
    better = torch.bfloat16 if half * MIN_GAIN < full else torch.float32
    return Choice(better, full * 1e3, half * 1e3)


def _small_step(device: torch.device) -> Measure:
    """Return a measurement of two convolutions and a matrix product, trained on noise."""
    layers = (
        nn.Conv2d(_CHANNELS, _CHANNELS, 3, padding=1),
        nn.Conv2d(_CHANNELS, _CHANNELS, 1),
        nn.Flatten(2),
        nn.Linear(_SIDE * _SIDE, _CHANNELS),
    )
    model = nn.Sequential(*layers).to(device)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
    picture = torch.rand(_BATCH, _CHANNELS, _SIDE, _SIDE, device=device)
    picture = picture.to(memory_format=torch.channels_last)

    def timed(dtype: torch.dtype) -> float:
        begin_s = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=dtype == torch.bfloat16):
            loss = model(picture).float().square().mean()
        torch.autograd.backward(loss)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - begin_s

    return timed
