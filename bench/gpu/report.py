"""What the GPU day leaves behind: one folder of a few small files."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.gpu.day import Taken
from bench.reports.environment import Environment
from bench.reports.report import ReportError, Table, table

REPORT_PAGE: Final = "report.md"
REPORT_DATA: Final = "report.json"
LOG: Final = "log.txt"
LAYERS: Final = "layers.json.gz"
FILES: Final = (REPORT_PAGE, REPORT_DATA, LOG, LAYERS)
MAX_FILES: Final = 8
MAX_BYTES: Final = 16_000_000
MAX_LAYERS_BYTES: Final = 6 << 20


@dataclass(frozen=True, slots=True)
class Day:
    """Where the report goes, and what it says of the place it was made at."""

    folder: Path
    asked: str
    environment: Environment

    def open_folder(self) -> None:
        """Make the folder, or empty it of an earlier day's files.

        Raises:
            ReportError: Other files are in it, or it cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            foreign = sorted(p.name for p in self.folder.iterdir() if p.name not in FILES)
            if foreign:
                raise ReportError(
                    f"--out {self.folder}: has {foreign[0]}, expected a new folder or one of an "
                    "earlier run"
                )
            for name in FILES:
                (self.folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise ReportError(f"--out {self.folder}: {error.strerror or error}") from error

    def write(self, taken: Sequence[Taken]) -> None:
        """Write page, data and engine summaries of what has been done so far."""
        (self.folder / REPORT_PAGE).write_text(self._page(taken), encoding="utf-8")
        data = {
            "asked": self.asked,
            "environment": list(self.environment.lines()),
            "steps": [_as_data(one) for one in taken],
        }
        (self.folder / REPORT_DATA).write_text(json.dumps(data, indent=1), encoding="utf-8")
        layers = {name: made for one in taken for name, made in one.outcome.layers.items()}
        if layers:
            (self.folder / LAYERS).write_bytes(_packed(layers))

    def _page(self, taken: Sequence[Taken]) -> str:
        head = [f"# {self.asked}", "\n".join(f"- {line}" for line in self.environment.lines())]
        parts = [*head, steps_table(taken).markdown()]
        summary = frames_table(taken)
        if summary is not None:
            parts.append(f"## Whole frames, median ms\n\n{summary.markdown()}")
        for one in taken:
            for title, made in one.outcome.tables.items():
                parts.append(f"## {title}\n\n{made.markdown()}")
        return "\n\n".join(parts) + "\n"


def check_limits(folder: Path) -> None:
    """Hold the promise on the folder's size.

    Raises:
        ReportError: It holds more files or bytes than promised.
    """
    sizes = [path.stat().st_size for path in folder.iterdir()]
    if len(sizes) > MAX_FILES or sum(sizes) > MAX_BYTES:
        raise ReportError(
            f"{folder}: expected at most {MAX_FILES} files and {MAX_BYTES} bytes, got "
            f"{len(sizes)} and {sum(sizes)}"
        )


def steps_table(taken: Sequence[Taken]) -> Table:
    rows = [
        [
            one.step.title,
            one.outcome.status,
            f"{one.seconds:.1f}",
            one.outcome.line.replace("|", "/"),
        ]
        for one in taken
    ]
    return table(("step", "status", "s", "found"), rows)


def frames_table(taken: Sequence[Taken]) -> Table | None:
    """Put the whole frames of every way side by side; None where none was timed."""
    cells: dict[tuple[str, str], dict[str, float]] = {}
    for one in taken:
        for title, figures in one.outcome.figures.items():
            if not title.startswith("times "):
                continue
            size = title.split()[-2]
            for way, frames in figures["frames"].items():
                cells.setdefault((size, way), {}).update(
                    {str(objects): ms for objects, ms in frames.items()}
                )
    if not cells:
        return None
    counts = sorted({count for found in cells.values() for count in found}, key=int)
    rows = [
        [f"{size} px: {way}", *(f"{found[n]:.1f}" if n in found else "-" for n in counts)]
        for (size, way), found in cells.items()
    ]
    return table(("", *(f"{n} object{'s' if n != '1' else ''}" for n in counts)), rows)


def _as_data(one: Taken) -> dict[str, Any]:
    return {
        "step": one.step.name,
        "status": one.outcome.status,
        "seconds": round(one.seconds, 2),
        "line": one.outcome.line,
        "figures": dict(one.outcome.figures),
    }


def _packed(layers: dict[str, Any]) -> bytes:
    """Compress the engines' summaries, leaving out the longest until they fit."""
    kept = dict(layers)
    while True:
        packed = gzip.compress(json.dumps(kept).encode(), mtime=0)
        if len(packed) <= MAX_LAYERS_BYTES:
            return packed
        longest = max(kept, key=lambda name: len(json.dumps(kept[name])))
        kept[longest] = "left out: too long"
