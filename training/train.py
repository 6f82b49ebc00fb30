"""Trains `nano` from nothing, stage by stage; resumes where it stopped.

    python -m training.train --run training/runs/a --footage FOLDER_OF_MP4 [--plan nano]

Every stage has a budget in minutes of training, so the same command fits any machine; a run that is
stopped goes on from its last checkpoint (written every few minutes) when started again.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import shutil
import signal
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import nn

from samcam.system import prepare_streams
from training.batches import Batch, batches
from training.evaluate import load_model
from training.network.fast_dtype import choose_dtype
from training.network.model import Nano
from training.network.muon import Muon, split_parameters
from training.plans import PLANS, Plan, Stage, plain, scaled
from training.rollout import Rollout, RolloutOptions
from training.scenes.footage import open_footage
from training.scenes.ingredients import Ingredients
from training.ship import ship

EMA_DECAY = 0.998
WEIGHT_DECAY = 0.02
CLIP_NORM = 1.0
SAVE_EVERY_S = 180.0
LOG_EVERY_S = 30.0


def _take_turns(first: Iterator[Batch], second: Iterator[Batch], rounds: int) -> Iterator[Batch]:
    """`rounds` of the first, one of the second, and so on."""
    while True:
        for _ in range(rounds):
            yield next(first)
        yield next(second)


@dataclass
class Progress:
    """Where a run stands; saved with the weights. `restarts` keeps a resumed run off old seeds."""

    seconds: float = 0.0
    steps: int = 0
    restarts: int = 0


class Run:
    """One training run in one folder."""

    def __init__(
        self,
        folder: Path,
        plan: Plan,
        workers: int,
        device: str = "cpu",
    ) -> None:
        self.folder, self.plan, self.workers = folder, plan, workers
        self.device = torch.device(device)
        folder.mkdir(parents=True, exist_ok=True)
        self.model = Nano().to(self.device)
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
        self.ema = copy.deepcopy(self.model).eval().requires_grad_(False)
        matrices, others = split_parameters(self.model)
        self.muon = Muon(matrices, lr=1e-3, weight_decay=WEIGHT_DECAY)
        self.dtype = torch.float32  # until `train` has measured
        self.optimizers: tuple[torch.optim.Optimizer, ...] = (
            self.muon,
            torch.optim.AdamW(others, weight_decay=0.0),
        )
        self.progress = Progress()
        self.stopping = False
        if self.checkpoint.exists():
            self._resume()

    @property
    def checkpoint(self) -> Path:
        return self.folder / "last.pt"

    def _groups(self) -> list[dict[str, Any]]:
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]

    def _resume(self) -> None:
        state = torch.load(self.checkpoint, weights_only=True, map_location=self.device)
        self.model.load_state_dict(state["model"])
        self.ema.load_state_dict(state["ema"])
        for optimizer, kept in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(kept)
        self.progress = Progress(**state["progress"])
        self.progress.restarts += 1

    def start_from(self, checkpoint: Path) -> None:
        """Take the weights of a shipped checkpoint or of another run's averaged ones."""
        weights = load_model(checkpoint).state_dict()
        self.model.load_state_dict(weights)
        self.ema.load_state_dict(weights)

    def begin_at(self, name: str) -> None:
        """Begin a new run with a later stage of its plan: those before it count as done; ValueError
        where the plan has no such stage."""
        names = [stage.name for stage in self.plan]
        if name not in names:
            raise ValueError(f"no stage {name!r}; the plan has {', '.join(names)}")
        before = self.plan[: names.index(name)]
        self.progress.seconds = sum(stage.minutes * 60 for stage in before)

    def save(self) -> None:
        """Write the resumable state; a crash in the middle keeps the old one."""
        state: dict[str, Any] = {
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "progress": asdict(self.progress),
        }
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        os.replace(partial, self.checkpoint)

    def train(self, footage: Path | None, cache: Path) -> None:
        """Run every stage that is not finished yet, in the number format that is faster here."""
        choice = choose_dtype(self.device)
        self.dtype = self.muon.dtype = choice.dtype
        print(json.dumps(choice.row()), flush=True)
        if footage is not None:
            open_footage(footage, cache)  # written once, before the workers read it
        end = 0.0
        for index, stage in enumerate(self.plan):
            start, end = end, end + stage.minutes * 60
            if self.progress.seconds < end and not self.stopping:
                self._stage(index, stage, start, footage, cache)
                self.save()
                if self.progress.seconds >= end:  # what a part ended with outlives the next one
                    shutil.copyfile(self.checkpoint, self.folder / f"{stage.name}.pt")

    def _stage(
        self, index: int, stage: Stage, start: float, footage: Path | None, cache: Path
    ) -> None:
        seed = 1000 * index + self.progress.restarts
        stream = self._stream(stage, seed, footage, cache)
        rollout = Rollout(self.model, RolloutOptions(balance=stage.balance))
        recent: deque[list[float]] = deque(maxlen=50)
        saved = logged = begun = time.monotonic()
        for batch in stream:
            share = (self.progress.seconds - start) / (stage.minutes * 60)
            if share >= 1 or self.stopping:
                return
            warm = min(1.0, (self.progress.steps + 1) / 100)
            falling = stage.final + (1 - stage.final) * 0.5 * (1 + math.cos(math.pi * share))
            for group in self._groups():
                group["lr"] = stage.rate * falling * warm
            recent.append(self._step(rollout, batch, stage))
            now = time.monotonic()
            self.progress.seconds += now - begun  # waiting for data counts: it is wall time
            self.progress.steps += 1
            begun = now
            if time.monotonic() - logged > LOG_EVERY_S:
                self._log(stage, recent, time.monotonic() - logged)
                logged = time.monotonic()
            if time.monotonic() - saved > SAVE_EVERY_S:
                self.save()
                saved = time.monotonic()

    def _stream(
        self, stage: Stage, seed: int, footage: Path | None, cache: Path
    ) -> Iterator[Batch]:
        stream = batches(stage.batch, seed, footage, cache, self.workers)
        if stage.also is None:
            return stream
        other = batches(stage.also, seed + 500, footage, cache, self.workers)
        return _take_turns(stream, other, stage.rounds)

    def _step(self, rollout: Rollout, batch: Batch, stage: Stage) -> list[float]:
        self.model.train()
        if stage.freeze_norms:
            for module in self.model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        half = self.dtype == torch.bfloat16
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            losses = rollout.run(batch.to(self.device))
        total = torch.stack([loss.total for loss in losses]).mean()
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(total)
        nn.utils.clip_grad_norm_(self.model.parameters(), CLIP_NORM)
        for optimizer in self.optimizers:
            optimizer.step()
        self._average(min(EMA_DECAY, (1 + self.progress.steps) / (10 + self.progress.steps)))
        last = losses[-1]
        return [
            float(total.detach()),
            float(losses[0].iou_selected),
            float(losses[0].iou_best),
            float(last.iou_selected),
        ]

    @torch.no_grad()
    def _average(self, decay: float) -> None:
        pairs = zip(self.ema.state_dict().values(), self.model.state_dict().values(), strict=True)
        for kept, new in pairs:
            if kept.is_floating_point():
                kept.lerp_(new, 1 - decay)
            else:
                kept.copy_(new)

    def _log(self, stage: Stage, recent: deque[list[float]], wall_s: float) -> None:
        columns = torch.tensor(list(recent)).mean(dim=0).tolist()
        row = {
            "stage": stage.name,
            "minutes": round(self.progress.seconds / 60, 2),
            "steps": self.progress.steps,
            "loss": round(columns[0], 4),
            "iou_first": round(columns[1], 4),
            "iou_first_best": round(columns[2], 4),
            "iou_last": round(columns[3], 4),
            "rate": self._groups()[0]["lr"],
        }
        with (self.folder / "log.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    here = Path(__file__).parent
    parser.add_argument("--run", type=Path, default=here / "runs" / "nano")
    parser.add_argument("--plan", choices=sorted(PLANS), default="nano")
    parser.add_argument("--budget", type=float, metavar="MINUTES", help="of the whole plan")
    parser.add_argument("--start", type=Path, metavar="CHECKPOINT", help="weights of a new run")
    parser.add_argument(
        "--from", dest="first", metavar="STAGE", help="with which stage a new run begins"
    )
    parser.add_argument(
        "--ship", type=Path, metavar="FILE", help="half-precision weights, at the end"
    )
    parser.add_argument("--footage", type=Path, help="folder of mp4 files used as textures")
    parser.add_argument("--cache", type=Path, default=here / "cache")
    parser.add_argument(
        "--without", nargs="+", default=[], choices=[f.name for f in fields(Ingredients)],
        metavar="NAME", help="ingredients of the clips to leave out, for ablations",
    )  # fmt: skip
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=0, help="0: as torch chooses")
    parser.add_argument("--workers", type=int, default=1, help="processes that draw clips")
    options = parser.parse_args()
    names = [stage.name for stage in PLANS[options.plan]]
    if options.first not in (None, *names):
        parser.error(f"--from {options.first}: plan {options.plan} has {', '.join(names)}")
    return options


def main() -> None:
    options = parse_arguments()
    if options.threads:
        torch.set_num_threads(options.threads)
    plan = scaled(plain(PLANS[options.plan], tuple(options.without)), options.budget)
    run = Run(options.run, plan, options.workers, options.device)
    if run.progress.steps == 0:
        if options.start is not None:
            run.start_from(options.start)
        if options.first is not None:
            run.begin_at(options.first)

    def stop(number: int, frame: object) -> None:
        run.stopping = True  # the present step ends, the state is saved

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    try:
        run.train(options.footage, options.cache)
    except RuntimeError:
        if not run.stopping:
            raise
        run.save()  # the signal went to the workers too, and the loader missed them
    if options.ship is not None and not run.stopping:
        print(f"{options.ship}: {ship(run.checkpoint, options.ship) / 1e6:.1f} MB")


if __name__ == "__main__":
    prepare_streams()
    main()
