"""`--suggest FILE.json`: proposals for pictures in place of tracking, in the same pipeline."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np

from engines.places import is_file, is_loop, is_there
from engines.sam2_graphs import Sam2Networks
from live.commands import HoverAnswer, HoverRequest, TrackerCommand
from live.config import ConfigError
from live.frames import Frame, FrameResult, Mask, ObjectResult, ObjectState
from live.masks import PixelBox, mask_box, upsample_logits
from live.rle import encode_rle
from live.sinks.base import SinkError
from live.sources.base import SourceInfo, VideoSource, WrappedSource
from live.suggest import MaskGenerator, Proposal, SuggestRules
from live.suggest_job import Proposer
from live.watchdog import note_progress

_HEAD: Final = '{"samcam": "suggestions"'
_STILL_KINDS: Final = ("picture", "folder")


class SuggestionsFile:
    """Writes docs/schemas/suggestions.schema.json, picture by picture, in bounded memory.

    What is written lies beside its place until `close`, so a killed run leaves an older file
    whole. Used by the inference thread.
    """

    def __init__(self, path: Path, source: str, model: str) -> None:
        """Open the file.

        Raises:
            SinkError: It cannot be written, or its place holds something else.
        """
        self._path = path
        self._partial = path.with_name(path.name + ".part")
        self._pictures = 0
        try:
            if is_loop(path) or (is_there(path) and not is_suggestions_file(path)):
                raise SinkError(
                    f"--suggest {path}: holds something else; expected a new file or one that "
                    "--suggest wrote"
                )
            self._file: BinaryIO | None = self._partial.open("wb")
            names = f', "source": {json.dumps(source)}, "model": {json.dumps(model)}'
            self._file.write(f'{_HEAD}{names}, "pictures": ['.encode())
        except OSError as error:
            raise self._failure(error) from error

    def add(self, frame: Frame, proposals: Sequence[Mapping[str, object]]) -> None:
        """Write one picture with its proposals as the schema has them.

        Raises:
            SinkError: The file cannot be written, such as on a full disk.
        """
        if self._file is None:
            raise ValueError(f"{self._path} is closed")
        width, height = frame.size_wh
        row = {"frame": frame.index, "width": width, "height": height, "proposals": proposals}
        text = (",\n" if self._pictures else "\n") + json.dumps(row, allow_nan=False)
        try:
            self._file.write(text.encode())
            self._file.flush()
        except OSError as error:
            raise self._failure(error) from error
        self._pictures += 1

    def close(self) -> None:
        """Finish the file and move it to its place; without a picture there is none. Idempotent.

        Raises:
            SinkError: It cannot be written.
        """
        file, self._file = self._file, None
        if file is None:
            return
        try:
            with file:
                file.write(b"\n]}\n")
            if self._pictures:
                self._partial.replace(self._path)
            else:
                self._partial.unlink()
        except OSError as error:
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> SinkError:
        return SinkError(
            f"--suggest {self._path}: cannot be written: {error.strerror or error}; expected a "
            "file in a folder that you may write to, on a disk with room"
        )


def is_suggestions_file(path: Path) -> bool:
    """Whether a file is empty or one of ours."""
    if not is_file(path):
        return False
    with path.open("rb") as file:
        start = file.read(len(_HEAD))
    return not start or start == _HEAD.encode()


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
        box = mask_box(mask)
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


class FirstFrame(WrappedSource):
    """A source of which only the first frame is read."""

    def __init__(self, source: VideoSource) -> None:
        """Wrap a source; `close` closes it."""
        super().__init__(source)
        self._read = False

    @property
    def info(self) -> SourceInfo:
        """As the source says, but for its length."""
        return replace(self._source.info, frame_count=1)

    def read(self) -> Frame | None:
        """Return the first frame, then None.

        Raises:
            CaptureError: The source cannot be read.
        """
        if self._read:
            return None
        self._read = True
        return super().read()


def to_suggest_for(source: VideoSource) -> VideoSource:
    """Return a source with what proposals are made for: all pictures, of a video the first frame.

    Raises:
        ConfigError: A camera or a URL.
    """
    info = source.info
    if info.live:
        raise ConfigError(
            f"--suggest: source {info.name!r} is live; expected a picture, a folder of pictures, "
            "or a video file, of which the first frame is taken"
        )
    return source if info.kind in _STILL_KINDS else FirstFrame(source)


def suggest_problems(outputs: Sequence[str], prompts: Sequence[str]) -> list[str]:
    """Return what does not go together with `--suggest`, one line each."""
    problems = [
        f"--output {text}: not with --suggest; expected masks:DIR, video:FILE.mp4 or none"
        for text in outputs
        if text.partition(":")[0] not in ("masks", "video", "none")
    ]
    if prompts:
        problems.append(f"--prompt {prompts[0]}: not with --suggest; expected one of the two")
    return problems
