"""Writes the checkpoint that is shipped: averaged weights, half precision, no optimiser state.

python -m training.ship training/runs/nano/last.pt [--out training/checkpoint/nano.pt]

Beside it goes `progress.json`, the last line of the run's log: stage, minutes, steps and learning
rate, so that a later run knows where to go on (`--start` and `--from` of training.train).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from samcam.system import prepare_streams

MAX_BYTES = 25_000_000


def ship(run_checkpoint: Path, out: Path) -> int:
    """Write `out` and return its size in bytes; ValueError where a shipped checkpoint may not be so
    large."""
    state = torch.load(run_checkpoint, weights_only=True, map_location="cpu")
    half = {
        name: value.half() if value.is_floating_point() else value
        for name, value in state["ema"].items()
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"model": half, "progress": state["progress"]}, out)
    size = out.stat().st_size
    if size > MAX_BYTES:
        raise ValueError(f"{out}: {size} bytes, at most {MAX_BYTES} may be shipped")
    return size


def write_progress(run_checkpoint: Path, out: Path) -> bool:
    """Write `out` from the log beside a run's checkpoint; False where there is none."""
    log = run_checkpoint.with_name("log.jsonl")
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    if not lines:
        return False
    out.write_text(json.dumps(json.loads(lines[-1]), indent=1) + "\n", encoding="utf-8")
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", type=Path, help="last.pt of a run")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "checkpoint/nano.pt")
    options = parser.parse_args()
    print(f"{options.out}: {ship(options.checkpoint, options.out) / 1e6:.1f} MB")
    progress = options.out.with_name("progress.json")
    if write_progress(options.checkpoint, progress):
        print(progress)


if __name__ == "__main__":
    prepare_streams()
    main()
