"""What the steps of the GPU day are told, and what they answer."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from bench.reports.report import Table, table

Part: TypeAlias = Literal["all", "torch", "tensorrt"]
# done; cut: some of it, the time was over; skipped: not for this machine; surprise: not as expected
Status: TypeAlias = Literal["done", "cut", "skipped", "surprise"]

FLAT_FRAMES: Final = 2000
OBJECTS: Final = (1, 4)
SIZES: Final = (1024, 512)


class Surprise(Exception):
    """Something is not as expected: the day ends here. One line: what, and what was expected."""


class NotHere(Exception):
    """A step is not for this machine: says what is missing. What needs it is left out too."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked of a step.

    Attributes:
        work: Folder for models and engines, thrown away afterwards.
        device: Of torch: "cuda", or "cpu" to try the program itself.
        sizes: Edges of the pictures in pixels.
        ends_at_s: Of `time.monotonic`, the same for every process of a machine.
    """

    work: Path
    part: Part = "all"
    device: str = "cuda"
    sizes: tuple[int, ...] = SIZES
    frames: int = FLAT_FRAMES
    objects: tuple[int, ...] = OBJECTS
    ends_at_s: float = float("inf")

    @property
    def on_gpu(self) -> bool:
        return self.device != "cpu"

    def left_s(self) -> float:
        return self.ends_at_s - time.monotonic()

    def write(self, path: Path) -> None:
        path.write_text(json.dumps({**asdict(self), "work": str(self.work)}), encoding="utf-8")

    @staticmethod
    def read(path: Path) -> Order:
        data = json.loads(path.read_text(encoding="utf-8"))
        lists = {name: tuple(data[name]) for name in ("sizes", "objects")}
        return Order(**{**data, **lists, "work": Path(data["work"])})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step found.

    Attributes:
        line: For the terminal.
        figures: Everything measured, as JSON takes it.
        tables: By title, for the page.
        layers: Engine inspector's summaries by name of the engine.
    """

    status: Status
    line: str
    figures: Mapping[str, Any] = field(default_factory=dict)
    tables: Mapping[str, Table] = field(default_factory=dict)
    layers: Mapping[str, Any] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Replace the file in one step: whoever stops this process reads what it had."""
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(asdict(self)), encoding="utf-8")
        partial.replace(path)

    @staticmethod
    def read(path: Path) -> Outcome:
        data = json.loads(path.read_text(encoding="utf-8"))
        tables = {
            title: table(made["headers"], made["rows"]) for title, made in data["tables"].items()
        }
        return Outcome(**{**data, "tables": tables})


Save: TypeAlias = Callable[[Outcome], None]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the day.

    Attributes:
        run: Given the order and a place for what it has found so far; what it returns counts.
        budget_s: It ends by itself before that; where it does not, it is stopped.
        needs: Names of the steps whose work it uses.
    """

    name: str
    title: str
    run: Callable[[Order, Save], Outcome]
    budget_s: float
    needs: Sequence[str] = ()


def cut(outcome: Outcome, why: str) -> Outcome:
    """Return what a step had, marked as a part of what was asked."""
    return replace(outcome, status="cut", line="; ".join(filter(None, (outcome.line, why))))
