"""How a network's outputs differ from the reference's on the same inputs, noted while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from samcam.engines import Array, Backend, DeviceTensor, Feed

_TINY: Final = 1e-30  # instead of the largest value of an output that is all zeros


@dataclass(slots=True)
class OutputError:
    """Largest differences of one output from the reference's.

    Attributes:
        calls: How often they were compared.
        max_abs: Largest difference of any value; infinite where one is not finite.
        scale: Largest value of the reference's.
    """

    network: str
    output: str
    calls: int = 0
    max_abs: float = 0.0
    scale: float = 0.0

    @property
    def relative(self) -> float:
        """Largest difference as a share of the largest value."""
        return self.max_abs / self.scale if self.max_abs else 0.0

    def add(self, wanted: Array, given: Array) -> None:
        self.calls += 1
        wanted = wanted.astype(np.float32)
        self.scale = max(self.scale, _TINY, float(np.abs(wanted).max()))
        if wanted.shape != given.shape or not np.isfinite(given).all():
            self.max_abs = np.inf
            return
        error = np.abs(wanted - given.astype(np.float32))
        self.max_abs = max(self.max_abs, float(error.max()))


class Shadow:
    """A backend that answers as the reference, and asks a candidate the same. Closes neither."""

    def __init__(self, network: str, reference: Backend, candidate: Backend) -> None:
        self._reference = reference
        self._candidate = candidate
        self.inputs, self.outputs = reference.inputs, reference.outputs
        self.errors = {name: OutputError(network, name) for name in self.outputs}

    def run(self, feeds: Mapping[str, Feed]) -> Mapping[str, DeviceTensor]:
        """Run both; return the reference's outputs."""
        wanted = self._reference.run(feeds)
        given = self._candidate.run(feeds)
        for name, error in self.errors.items():
            error.add(wanted[name].numpy(), given[name].numpy())
        return wanted

    def close(self) -> None:
        """Leave both open for whoever opened them."""
