"""`python -m bench.timeline DIR`: a picture of every object's way through a run.

DIR is that of `--output masks:DIR`, or its tracks.jsonl. Scores, state with its reasons and memory
over time, a PNG file per object, beside the rows or in `--out`; `bench.accuracy --plot` draws the
same with the truth. Exit codes: 2 rows that are none, 5 no output.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Final

from bench.reports.report import BAD_INPUT, NO_OUTPUT, exit_code
from bench.reports.sheet import SheetError
from bench.reports.timeline_plot import (
    SCORES,
    STATE_COLOURS,
    TIER_COLOURS,
    Row,
    Timeline,
    write_timeline,
)
from samcam.system import prepare_streams
from samcam.system.files import reason_of

ROWS: Final = "tracks.jsonl"
NUMBER: Final = (int, float)
# What is drawn of docs/schemas/tracks.schema.json: needed keys, and those that may be missing.
NEEDED: Final[Mapping[str, tuple[type, ...]]] = {
    "frame": (int,),
    "object": (int,),
    "state": (str,),
    "reason": (str,),
    "admitted": (bool,),
    "memory_steps": (list,),
}
OPTIONAL: Final[Mapping[str, tuple[type, ...]]] = {
    "step": (int,),
    "memory_tiers": (list,),
    "object_score": (*NUMBER, NoneType),
    **{key: (*NUMBER, NoneType) for key, *_ in SCORES},
}


class RowsError(ValueError):
    """The rows of a run cannot be read; the message names file and line."""


def read_rows(path: Path) -> dict[int, list[Row]]:
    """Return the rows of each object.

    Raises:
        RowsError: The file is missing, or a line is no row of tracks.jsonl.
    """
    found: dict[int, list[Row]] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RowsError(
            f"{path}: cannot be read: {reason_of(error)}; expected the {ROWS} of a run with "
            "--output masks:DIR"
        ) from error
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise RowsError(f"{path}:{number}: expected a JSON object: {error}") from error
        if fault := fault_of(row):
            raise RowsError(f"{path}:{number}: expected a row of tracks.jsonl {fault}")
        found.setdefault(int(row["object"]), []).append(row)
    if not found:
        raise RowsError(f"{path}: has no rows: nothing was tracked")
    return found


def fault_of(row: object) -> str:
    """Return what a line of tracks.jsonl should have had, "" where it can be drawn."""
    own = row if isinstance(row, dict) else {}
    for key in NEEDED:
        if key not in own:
            return f"with {key!r}"
    for key, kinds in (*NEEDED.items(), *OPTIONAL.items()):
        if key in own and not isinstance(own[key], kinds):
            names = " or ".join("null" if kind is NoneType else kind.__name__ for kind in kinds)
            return f"whose {key} is {names}, got {json.dumps(own[key])[:60]}"
    for key, words, known in (
        ("state", [own["state"]], STATE_COLOURS),
        ("memory_tiers", own.get("memory_tiers", []), TIER_COLOURS),
    ):
        if wrong := [word for word in words if str(word) not in known]:
            return f"whose {key} is of {', '.join(known)}, got {json.dumps(wrong[0])[:60]}"
    steps, tiers = own["memory_steps"], own.get("memory_tiers", [])
    if not all(isinstance(step, int) for step in steps) or len(tiers) not in (0, len(steps)):
        return f"with steps and a tier for each, got {json.dumps([steps, tiers])[:60]}"
    return ""


def run(source: Path, out: Path | None) -> None:
    """Draw every object; raises what the exit codes name."""
    path = source / ROWS if source.is_dir() else source
    for object_id, rows in sorted(read_rows(path).items()):
        target = (out or path.parent) / f"timeline_{object_id}.png"
        write_timeline(target, Timeline(f"{path.parent.name}, object {object_id}", rows))
        print(f"wrote {target}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.timeline", description=__doc__)
    parser.add_argument("source", type=Path, metavar="DIR")
    parser.add_argument("--out", type=Path, metavar="DIR")
    options = parser.parse_args(arguments)
    codes: dict[type[Exception], int] = {RowsError: BAD_INPUT, SheetError: NO_OUTPUT}
    return exit_code(lambda: run(options.source, options.out), codes)


if __name__ == "__main__":
    prepare_streams()
    sys.exit(main())
