"""Scores a checkpoint on held-out generated clips: prompts on the first frame, then tracking.

    python -m training.evaluate training/checkpoint/nano.pt [--footage FOLDER_OF_MP4]

The held-out clips come from seeds that training never draws, without free pictures; real clips, and
the photographs that `training.held_out` writes, are measured by `python -m bench.accuracy`.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from samcam.system import prepare_streams
from training.batches import Batch, BatchSpec, batches
from training.network.model import Nano
from training.rollout import Rollout, RolloutOptions
from training.scenes.ingredients import FREE

HELD_OUT_SEED = 8_000_000


@dataclass(frozen=True)
class Score:
    """Mean IoU with the truth at low resolution.

    Attributes:
        prompt: click, box or several.
        selected, best: On the first frame, by predicted IoU and by the best candidate.
        tracked: One value per later frame, by predicted IoU.
    """

    prompt: str
    selected: float
    best: float
    tracked: tuple[float, ...]


def load_model(path: Path) -> Nano:
    """Read a shipped checkpoint or a run's `last.pt` (its averaged weights)."""
    state = torch.load(path, weights_only=True, map_location="cpu")
    weights = state["ema"] if "ema" in state else state["model"]
    model = Nano()
    model.load_state_dict({name: value.float() for name, value in weights.items()})
    return model.eval()


def kind_of(labels: torch.Tensor, mask_prompt: torch.Tensor) -> list[str]:
    names = []
    for row, masked in zip(labels.tolist(), mask_prompt.tolist(), strict=True):
        given = [label for label in row if label >= 0]
        names.append(
            "mask" if masked else "box" if 2 in given else "click" if len(given) == 1 else "several"
        )
    return names


def only(batch: Batch, rows: torch.Tensor) -> Batch:
    """Keep one object of every clip: rows (C,) of B."""
    return replace(
        batch,
        targets=batch.targets[rows],
        points=batch.points[rows],
        labels=batch.labels[rows],
        mask_prompt=batch.mask_prompt[rows],
    )


@torch.no_grad()
def evaluate(
    model: Nano, spec: BatchSpec, clips: int, footage: Path | None, cache: Path
) -> list[Score]:
    """Run `clips` held-out clips, one prompted object each."""
    options = RolloutOptions(truth_share=0.0, drop_share=0.0, correct_share=0.0)
    rollout = Rollout(model, options)
    # of free pictures training knows all but the photographs that bench.accuracy measures on
    one = replace(spec, clips=1, objects=1, without=FREE)
    stream = batches(one, HELD_OUT_SEED, footage, cache, 0)
    rows: dict[str, list[list[float]]] = {}
    for _ in range(clips):
        batch = next(stream)
        losses = rollout.run(batch)
        name = kind_of(batch.labels, batch.mask_prompt)[0]
        first = [float(losses[0].iou_selected), float(losses[0].iou_best)]
        later = [
            float(loss.iou_selected) if batch.targets[0, t].any() else float("nan")
            for t, loss in enumerate(losses[1:], start=1)
        ]
        rows.setdefault(name, []).append([*first, *later])
    scores = []
    for name in sorted(rows):
        mean = torch.tensor(rows[name]).nanmean(dim=0).tolist()
        scores.append(Score(name, mean[0], mean[1], tuple(mean[2:])))
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    here = Path(__file__).parent
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--frames", type=int, default=6)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--footage", type=Path)
    parser.add_argument("--cache", type=Path, default=here / "cache")
    options = parser.parse_args()
    spec = BatchSpec(1, options.frames, options.size, 1)
    model = load_model(options.checkpoint)
    for score in evaluate(model, spec, options.clips, options.footage, options.cache):
        tracked = [round(value, 3) for value in score.tracked]
        row = {"prompt": score.prompt, "selected": round(score.selected, 3)}
        print(json.dumps({**row, "best": round(score.best, 3), "tracked": tracked}))


if __name__ == "__main__":
    prepare_streams()
    main()
