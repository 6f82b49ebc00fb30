"""What several calls measured, in one JSON file: kept, and only joined with what fits."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Final

from bench.cases.footage import Footage
from bench.cases.scoring import CaseScore
from bench.cases.variants import Setup
from bench.reports.environment import REPOSITORY, Environment
from bench.reports.report import ReportError
from bench.scores.datasets import BoxClip, MaskClip
from samcam.live.tracker import TrackerSettings

# What answers and scores follow from. Presets are left out: their settings are compared run by
# run, so that a new preset or variant costs no new measurement of the others.
SOURCES: Final = (
    *("engines", "guides", "kalman", "memory"),
    *("live/tracker", "live/frames.py", "live/masks.py"),
    *("bench/cases", "bench/scores"),
)
NOT_SOURCES: Final = (
    *("live/tracker/presets", "live/tracker/presets.py"),
    *("bench/cases/variants.py", "bench/cases/results.py", "bench/cases/tables.py"),
)


class ResultsError(ValueError):
    """Results cannot be joined, or a file holds none; the message names the file."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One setup on one case of one clip; None: nothing could be judged."""

    setup: Setup
    case: str
    clip: str
    score: CaseScore | None
    commit: str

    @property
    def key(self) -> tuple[Setup, str, str]:
        return self.setup, self.case, self.clip


def _hash(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:12]


def code_hash() -> str:
    """Name the program's own files that the figures follow from."""
    paths = sorted(_python_files())
    return _hash(
        *(part for p in paths for part in (str(p).encode(), (REPOSITORY / p).read_bytes()))
    )


def _python_files() -> Iterator[Path]:
    left_out = [Path(name) for name in NOT_SOURCES]
    for name in SOURCES:
        root = REPOSITORY / name
        for path in root.rglob("*.py") if root.is_dir() else [root]:
            own = path.relative_to(REPOSITORY)
            if path.is_file() and not any(own.is_relative_to(out) for out in left_out):
                yield own


def clip_hash(footage: Footage) -> str:
    """Name a clip by its files' names and sizes, and its boxes."""
    clip: MaskClip | BoxClip = footage.clip
    paths = [*clip.frame_paths]
    boxes = b""
    if isinstance(clip, MaskClip):
        paths += [path for _, path in sorted(clip.mask_paths.items())]
    else:
        boxes = clip.boxes_xywh.tobytes()
    return _hash(boxes, *(f"{path.name} {path.stat().st_size}".encode() for path in paths))


def settings_hash(settings: TrackerSettings) -> str:
    """Name a tracker's settings by their values."""
    return _hash(json.dumps(_plain(settings), sort_keys=True).encode())


def _plain(value: object) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {part.name: _plain(getattr(value, part.name)) for part in fields(value)}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return getattr(value, "__qualname__", str(value))  # a class or a function


@dataclass(slots=True)
class Results:
    """All cells so far.

    Attributes:
        model: As `model_line` names it.
        code: As `code_hash` names it.
        clips: Clip to its hash.
        settings: Setup's label to the hash of its settings.
    """

    model: str
    code: str
    clips: dict[str, str] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    cells: dict[tuple[Setup, str, str], Cell] = field(default_factory=dict)

    def labels(self) -> list[str]:
        """The setups measured, in the order of their first cells."""
        return list(dict.fromkeys(cell.setup.label for cell in self.cells.values()))

    def of(self, label: str, case: str) -> list[Cell]:
        """One setup's clips of one case."""
        cells = self.cells.values()
        return [cell for cell in cells if (cell.setup.label, cell.case) == (label, case)]

    def join(self, path: Path) -> None:
        """Take over what a file holds.

        Raises:
            ResultsError: It was measured with something else, or holds no results.
        """
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
            cells = [_cell(item) for item in raw["cells"]]
            own = {key: raw[key] for key in ("model", "code", "clips", "settings")}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ResultsError(
                f"{path}: expected results of bench.hard_cases, got {error}; take another file"
            ) from error
        self._fit(path, "model", self.model, own["model"])
        self._fit(path, "the program's files", self.code, own["code"])
        for names, mine, other in (
            ("clip", self.clips, own["clips"]),
            ("settings of", self.settings, own["settings"]),
        ):
            for name in mine.keys() & other.keys():
                self._fit(path, f"{names} {name}", mine[name], other[name])
            mine |= other
        self.cells |= {cell.key: cell for cell in cells}

    def _fit(self, path: Path, what: str, mine: str, other: str) -> None:
        if mine != other:
            raise ResultsError(
                f"{path}: was measured with another state of {what} ({other}, now {mine}); "
                "results of both in one table would not compare: take another --json file"
            )

    def write(self, path: Path, environment: Environment) -> None:
        """Write everything to a file, whole or not at all.

        Raises:
            ReportError: It cannot be written.
        """
        data = {
            "model": self.model,
            "code": self.code,
            "environment": asdict(environment),
            "clips": self.clips,
            "settings": self.settings,
            "cells": [asdict(cell) for cell in self.cells.values()],
        }
        part = path.with_name(f".{path.name}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps(data), encoding="utf-8")
            os.replace(part, path)
        except OSError as error:
            raise ReportError(f"{path}: cannot be written: {error.strerror}") from error


def _cell(raw: dict[str, Any]) -> Cell:
    score = raw["score"]
    if score is not None:
        score = CaseScore(
            **score | {"returns": tuple(score["returns"]), "overlaps": tuple(score["overlaps"])}
        )
    return Cell(Setup(**raw["setup"]), raw["case"], raw["clip"], score, raw["commit"])
