"""The window with everything around it but the model: the demo scene and a tracker that knows it.

Run as `python -m tests.helpers.window_program FOLDER [EFFECT]` on a display; ends with q. It
leaves `commands.jsonl` (what the tracker got, as it comes), `feed.jsonl` (what the feed got),
`left` (a byte for each picture that left) and at the end `report.json`.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import cv2
import numpy as np

from samcam.live.commands import (
    Command,
    HideFeed,
    HoverAnswer,
    HoverRequest,
    PinStep,
    Proposal,
    RemoveObject,
    SetEffect,
    TrackerCommand,
)
from samcam.live.effects.effects import EFFECT_NAMES, Effect
from samcam.live.feed.compositor import Compositor, compose
from samcam.live.frames import (
    F32,
    U8,
    Composite,
    Frame,
    FrameResult,
    ObjectResult,
    ObjectState,
    PinnedAnswers,
    Prompt,
)
from samcam.live.loop.pipeline import Wiring, run_pipeline
from samcam.live.loop.render import RenderLoop, RenderOptions
from samcam.live.metrics.metrics import Metrics
from samcam.live.sinks.choose import Outputs, SinkOptions, open_sinks
from samcam.live.sinks.worker import SinkWorker
from samcam.live.sources.demo.scene import CARD_ID, GEAR_ID, DemoScene
from samcam.live.sources.demo.source import DemoSource
from samcam.live.window.window import WindowOptions

SIZE_WH = (640, 360)
FPS = 15.0
KEPT = 1024  # steps


def truth_logits(inside: U8) -> F32:
    """Return (128, 128) logits of a (H, W) 0/1 mask."""
    height, width = inside.shape
    rows, columns = np.arange(128) * height // 128, np.arange(128) * width // 128
    return (inside[np.ix_(rows, columns)] * 16.0 - 8.0).astype(np.float32)


class TruthProposer:
    """Finds the gear, then the card, then the middle of the card; else it only takes time."""

    def __init__(self, ids: U8) -> None:
        inside = (ids == CARD_ID).astype(np.uint8)
        depth = cv2.distanceTransform(inside, cv2.DIST_L2, 5)
        middle = (depth > 0.5 * depth.max()).astype(np.uint8)
        masks = ((ids == GEAR_ID).astype(np.uint8), inside, middle)
        self._found = [Proposal(truth_logits(mask), 1.0, 1.0, (0.0, 0.0)) for mask in masks]
        self._done = 0

    def __len__(self) -> int:
        return 30

    def __next__(self) -> int:
        if self._done == len(self):
            raise StopIteration
        time.sleep(0.005)  # a slice of a network's work
        self._done += 1
        return self._done

    @property
    def proposals(self) -> tuple[Proposal, ...]:
        return tuple(self._found[: self._done // 10])


@dataclass
class TruthTracker:
    """Follows whatever object of the scene a prompt points at, in the picture it belongs to."""

    folder: Path
    scene: DemoScene = field(default_factory=lambda: DemoScene(SIZE_WH))
    pending: list[Prompt] = field(default_factory=list)
    targets: dict[int, int] = field(default_factory=dict)
    steps: int = 0
    frames: dict[int, int] = field(default_factory=dict)  # index by step; the newest `KEPT`
    answers: PinnedAnswers | None = None  # on the pinned step

    @property
    def pending_prompts(self) -> int:
        return len(self.pending)

    @property
    def next_step(self) -> int:
        return self.steps

    def apply(self, command: TrackerCommand) -> None:
        if isinstance(command, Prompt):
            self.prompt(command)
        elif isinstance(command, RemoveObject):
            self.remove(command.object_id)
        else:
            self.log({"command": type(command).__name__, **asdict(command)})
            if isinstance(command, PinStep):
                self.answers = None if command.step is None else PinnedAnswers(command.step, {})

    def prompt(self, prompt: Prompt) -> None:
        self.pending.append(prompt)

    def remove(self, object_id: int | None) -> None:
        self.log({"remove": object_id})
        if object_id is None:
            self.targets.clear()
        else:
            self.targets.pop(object_id, None)

    def step(self, frame: Frame) -> FrameResult:
        _, ids = self.scene.render(frame.index)
        self.frames[self.steps] = frame.index
        self.frames.pop(self.steps - KEPT, None)
        for prompt in self.pending:
            self.take(prompt, ids if prompt.step is None else self.ids_of(prompt.step))
            self.answer_pinned(prompt)
        self.pending.clear()
        objects, wh = [], frame.size_wh
        for object_id, target in sorted(self.targets.items()):
            inside = (ids == target).astype(np.uint8)
            logits = truth_logits(inside) if inside.any() else None
            state = ObjectState.LOST if logits is None else ObjectState.TRACKING
            objects.append(
                ObjectResult(object_id, state, "truth", logits, 1.0, 9.0, None, None, True, (), wh)
            )
        self.steps += 1
        return FrameResult(frame, self.steps - 1, tuple(objects), pinned=self.answers)

    def answer_pinned(self, prompt: Prompt) -> None:
        if self.answers is not None and prompt.step == self.answers.step:
            inside = self.ids_of(prompt.step) == self.targets.get(prompt.object_id)
            masks = {
                **self.answers.masks,
                prompt.object_id: truth_logits(np.asarray(inside, np.uint8)),
            }
            self.answers = PinnedAnswers(prompt.step, masks)

    def ids_of(self, step: int) -> U8:
        return self.scene.render(self.frames[step])[1]

    def hover(self, request: HoverRequest) -> HoverAnswer | None:
        if request.step not in self.frames:
            return None
        ids = self.ids_of(request.step)
        target = int(ids[round(request.y), round(request.x)])
        inside = np.asarray((ids == target) & (target > 0), np.uint8)
        return HoverAnswer(request, truth_logits(inside), 1.0)

    def suggest(self, step: int) -> TruthProposer:
        self.log({"suggest": step})
        return TruthProposer(self.ids_of(step))

    def take(self, prompt: Prompt, ids: U8) -> None:
        box = prompt.box_xyxy_px
        points = prompt.points_xy_px.tolist()
        self.log(
            {
                "object": prompt.object_id,
                "points": points,
                "labels": prompt.labels.tolist(),
                "box": None if box is None else box.tolist(),
                "step": prompt.step,
                **({} if prompt.mask is None else {"mask_px": int(prompt.mask.sum())}),
            }
        )
        if prompt.mask is not None:
            self.targets[prompt.object_id] = int(np.bincount(ids[prompt.mask]).argmax())
            return
        corners = points if box is None else box.reshape(2, 2).tolist()
        x, y = np.mean(corners[:2], axis=0)
        target = int(ids[round(y), round(x)])
        if target and (not points or prompt.labels[0] == 1):
            self.targets[prompt.object_id] = target

    def log(self, row: dict[str, object]) -> None:
        with (self.folder / "commands.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")

    def close(self) -> None:
        """Nothing to free."""


@dataclass
class CheckingSink:
    """Composes every frame anew and compares: the feed must hold the effect and nothing else."""

    folder: Path
    effects: list[Effect]
    name: str = "checking"
    frames: int = 0
    with_objects: int = 0
    panic: int = 0
    differing: int = 0

    def applied(self, command: Command, step: int) -> None:
        """Note a command that changed the feed; the tracker logs its own."""
        if isinstance(command, SetEffect | HideFeed):
            row = {"command": type(command).__name__, **asdict(command)}
            with (self.folder / "feed.jsonl").open("a") as file:
                file.write(json.dumps(row) + "\n")
            if isinstance(command, SetEffect):
                following = EFFECT_NAMES[EFFECT_NAMES.index(self.effects[-1].name) + 1]
                self.effects.append(Effect(following))

    def put(self, composite: Composite) -> None:
        self.frames += 1
        self.with_objects += bool(composite.object_ids.any())
        with (self.folder / "left").open("ab") as file:
            file.write(b".")
        if composite.hidden and (composite.feed_bgr == composite.feed_bgr[0, 0, 0]).all():
            self.panic += 1
            return
        clean = (compose(composite.result, effect).feed_bgr for effect in self.effects[::-1])
        self.differing += not any(np.array_equal(composite.feed_bgr, feed) for feed in clean)

    def close(self) -> None:
        """Nothing to release."""


def main() -> int:
    """Run until the window is left."""
    folder = Path(sys.argv[1])
    effect = Effect(sys.argv[2] if len(sys.argv) > 2 else "highlight")
    source = DemoSource(SIZE_WH, FPS, frames=0)
    window = WindowOptions(object_names=("gear", "card"))
    opened = open_sinks(("window",), SinkOptions(window=window), source.info)
    sink = CheckingSink(folder, [effect])
    outputs = Outputs((SinkWorker(sink, "newest", "sink-checking"),), opened.window)
    wiring = Wiring.build("live", command_queue=8)
    wiring.controls.watch(sink.applied)
    loop = RenderLoop(wiring, Compositor(effect), outputs, RenderOptions(), Metrics())
    tracker = TruthTracker(folder)
    run_pipeline(wiring, source, tracker, loop, lambda *_: None, shutdown_s=5.0)
    names = ("frames", "with_objects", "panic", "differing")
    report = {name: getattr(sink, name) for name in names}
    (folder / "report.json").write_text(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
