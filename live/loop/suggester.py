"""`--suggest FILE.json`: proposals for pictures in place of tracking, in the same pipeline."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from samcam.engines import Sam2Networks
from samcam.live.commands import HoverAnswer, HoverRequest, Proposal, TrackerCommand
from samcam.live.frames import Frame, FrameResult, Mask, ObjectResult, ObjectState
from samcam.live.loop.spare_work import Proposer
from samcam.live.masks import PixelBox, pixel_box, upsample_logits
from samcam.live.rle import encode_rle
from samcam.live.sinks import SuggestionsFile
from samcam.live.tracker import MaskGenerator, SuggestRules
from samcam.live.watchdog import note_progress


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """A proposal in source pixels; its mask at that size only as runs."""

    proposal: Proposal
    box: PixelBox
    area_px: int
    runs: dict[str, list[int]]

    def row(self, number: int) -> dict[str, object]:
        """As the schema has it."""
        return {
            "id": number,
            "box_xyxy": [self.box.x1, self.box.y1, self.box.x2, self.box.y2],
            "area_px": self.area_px,
            "predicted_iou": round(self.proposal.predicted_iou, 6),
            "stability": round(self.proposal.stability, 6),
            "point": [round(value, 2) for value in self.proposal.point_xy_px],
            "mask": self.runs,
        }

    def as_object(self, number: int) -> ObjectResult:
        """As effects and outputs take it."""
        return ObjectResult(
            object_id=number,
            state=ObjectState.TRACKING,
            reason="suggested, not prompted",
            mask_logits=self.proposal.mask_logits,
            predicted_iou=self.proposal.predicted_iou,
            object_score=0.0,
            motion_iou=None,
            box_xyxy_px=(self.box.x1, self.box.y1, self.box.x2, self.box.y2),
            admitted=False,
            memory_steps=(),
        )


def _stretch(proposals: Sequence[Proposal], size_wh: tuple[int, int]) -> Iterator[_Found]:
    """Give proposals in source pixels, one mask in memory at a time; one that vanishes is none."""
    for proposal in proposals:
        mask: Mask = upsample_logits(proposal.mask_logits, size_wh) > 0
        box = pixel_box(mask)
        if box is not None:
            yield _Found(proposal, box, int(np.count_nonzero(mask)), encode_rle(mask))


class Suggester:
    """Stands where the tracker stands: every picture gets proposals, none follows from another."""

    def __init__(
        self,
        networks: Sam2Networks,
        rules: SuggestRules,
        report: SuggestionsFile,
        stopped: Callable[[], bool],
    ) -> None:
        """Take over the networks and the file: `close` closes both.

        Args:
            networks: Used and closed by the inference thread.
            rules: What is tried and what is kept.
            report: Where proposals go.
            stopped: Asked after every point; a picture is then left unfinished and unwritten.
        """
        self._networks = networks
        self._stopped = stopped
        self._rules = rules
        self._report = report
        self._next_step = 0

    @property
    def next_step(self) -> int:
        """The number of the next picture, from 0."""
        return self._next_step

    @property
    def pending_prompts(self) -> int:
        """None: there are no prompts."""
        return 0

    def hover(self, request: HoverRequest) -> HoverAnswer | None:
        """Return None: there is nothing to click."""
        return None

    def suggest(self, step: int) -> Proposer:
        """Refuse: every picture has its proposals already.

        Raises:
            ValueError: Always.
        """
        raise ValueError("not possible with --suggest")

    def apply(self, command: TrackerCommand) -> str | None:
        """Refuse a command.

        Raises:
            ValueError: Always.
        """
        raise ValueError(f"{type(command).__name__}: not possible with --suggest")

    def step(self, frame: Frame) -> FrameResult:
        """Make the proposals of a picture, write them, and return them as objects 1, 2, ...

        Raises:
            EngineError: A network failed.
            SinkError: The file cannot be written.
        """
        features = self._networks.encode_image(frame.image_bgr)
        generator = MaskGenerator(self._networks, features, frame.size_wh, self._rules)
        step = self._next_step
        self._next_step += 1
        for _ in generator:
            note_progress()
            if self._stopped():
                return FrameResult(frame, step, ())
        found = list(enumerate(_stretch(generator.proposals, frame.size_wh), 1))
        self._report.add(frame, [item.row(number) for number, item in found])
        return FrameResult(frame, step, tuple(item.as_object(number) for number, item in found))

    def close(self) -> None:
        """Finish the file and free the networks. Idempotent."""
        try:
            self._report.close()
        finally:
            self._networks.close()
