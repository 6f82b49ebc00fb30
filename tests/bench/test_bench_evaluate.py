"""The evaluation protocol, with answers known in advance: which frames count, and what they give.

The scripted tracker answers on a square picture whose logits have the picture's own size, so
masks are exact and every mean can be worked out by hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from bench.scores.evaluate import evaluate_box_clip, evaluate_mask_clip
from bench.scores.layouts import read_dataset
from bench.scores.stills import PromptedNetworks, evaluate_stills
from samcam.engines.fake_backend import fake_networks
from samcam.live.frames import Frame, FrameResult, Mask, ObjectResult, ObjectState, Prompt
from samcam.live.tracker.presets import PRESETS
from samcam.live.tracker.tracker import Tracker
from tests.helpers.labelled_data import write_ids, write_jpegs
from tests.helpers.tracker_plans import taking_any

EDGE = 32


def block(x: int, width: int = 8) -> Mask:
    """A 32x32 mask of rows 8..15 and `width` columns from x."""
    mask = np.zeros((EDGE, EDGE), np.bool_)
    mask[8:16, x : x + width] = True
    return mask


def ids_of(*masks: Mask) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    ids = np.zeros((EDGE, EDGE), np.uint8)
    for number, mask in enumerate(masks, 1):
        ids[mask] = number
    return ids


def thirds(values: Sequence[float | None]) -> list[float | None]:
    """Values in units of 1/3, rounded."""
    return [None if value is None else round(3 * value, 9) for value in values]


@dataclass
class ScriptedTracker:
    """Answers each prompted object's scripted mask of the frame; None is "not visible"."""

    script: Mapping[int, Mapping[int, Mask | None]]
    prompts: list[Prompt] = field(default_factory=list)

    def prompt(self, prompt: Prompt) -> None:
        self.prompts.append(prompt)

    def step(self, frame: Frame) -> FrameResult:
        objects = []
        for object_id in sorted({prompt.object_id for prompt in self.prompts}):
            mask = self.script[object_id].get(frame.index)
            logits = None if mask is None else np.where(mask, 5, -5).astype(np.float32)
            objects.append(
                ObjectResult(
                    object_id,
                    ObjectState.TRACKING,
                    "scripted",
                    logits,
                    1.0,
                    1.0,
                    None,
                    None,
                    True,
                    (),
                    frame.size_wh,
                )
            )
        return FrameResult(frame, frame.index, tuple(objects))


def make_clip(root: Path, annotations: Mapping[int, object], frames: int) -> None:
    write_jpegs(root / "masks" / "clip" / "frames", frames, (EDGE, EDGE))
    for index, ids in annotations.items():
        assert isinstance(ids, np.ndarray)
        write_ids(root / "masks" / "clip" / "masks" / f"{index}.png", ids)


def test_prompted_and_last_frame_do_not_count(tmp_path: Path) -> None:
    """Five frames: of answers J = 0, 1, 1/3, 1, 0 the middle three count (DAVIS)."""
    truth = block(8)
    make_clip(tmp_path, dict.fromkeys(range(5), ids_of(truth)), 5)
    answers = {0: None, 1: truth, 2: block(12), 3: truth, 4: None}
    tracker = ScriptedTracker({1: answers})
    score, tiles = evaluate_mask_clip(read_dataset(tmp_path).mask_clips[0], tracker, "box")
    assert score is not None
    (only,) = score.objects
    assert {index: j for index, (j, _) in only.frames.items()} == pytest.approx(
        {1: 1.0, 2: 1 / 3, 3: 1.0}
    )
    assert score.j == pytest.approx(7 / 9)
    assert score.jf == pytest.approx((score.j + score.f) / 2)
    # Frames 1, 2 and 3 of 5 lie in the first, second and third quarter.
    assert thirds(score.quarters) == [3, 1, 3, None]
    (prompt,) = tracker.prompts
    assert prompt.box_xyxy_px is not None
    assert (prompt.frame_index, prompt.box_xyxy_px.tolist()) == (0, [8, 8, 16, 16])
    assert len(tiles) == 5


def test_objects_start_when_they_first_appear(tmp_path: Path) -> None:
    """Object 2 comes at frame 2 and is prompted there; the clip's mean is over objects.

    Annotated are frames 0, 2, 3 and 5 of 8. Object 1: right, right, missed. Object 2: half right
    at 3, and at 5, where it is gone, rightly absent.
    """
    one, two = block(2), block(20)
    make_clip(
        tmp_path,
        {0: ids_of(one), 2: ids_of(one, two), 3: ids_of(one, two), 5: ids_of(one)},
        8,
    )
    script: dict[int, dict[int, Mask | None]] = {
        1: {0: one, 2: one, 3: one, 5: None},
        2: {2: two, 3: block(20, 4), 5: None},
    }
    tracker = ScriptedTracker(script)
    score, _ = evaluate_mask_clip(read_dataset(tmp_path).mask_clips[0], tracker, "click")
    assert score is not None
    assert [(p.object_id, p.frame_index, p.labels.tolist()) for p in tracker.prompts] == [
        (1, 0, [1]),
        (2, 2, [1]),
    ]
    first, second = score.objects
    assert {index: j for index, (j, _) in first.frames.items()} == {2: 1.0, 3: 1.0, 5: 0.0}
    assert {index: j for index, (j, _) in second.frames.items()} == {3: 0.5, 5: 1.0}
    assert score.j == pytest.approx((2 / 3 + 3 / 4) / 2)
    assert score.judged == 5


def test_contested_pixels_go_to_the_higher_logit(tmp_path: Path) -> None:
    """Object 2 also claims the half of object 1 next to it, but with a lower logit there."""
    one, two = block(8), block(16)
    make_clip(tmp_path, dict.fromkeys(range(3), ids_of(one, two)), 3)

    class Greedy(ScriptedTracker):
        def step(self, frame: Frame) -> FrameResult:
            result = super().step(frame)
            first, second = result.objects
            assert second.mask_logits is not None
            second.mask_logits[block(12, 4)] = 2
            return FrameResult(frame, frame.index, (first, second))

    tracker = Greedy({1: dict.fromkeys(range(3), one), 2: dict.fromkeys(range(3), two)})
    score, _ = evaluate_mask_clip(read_dataset(tmp_path).mask_clips[0], tracker, "box")
    assert score is not None
    assert [item.j for item in score.objects] == [1.0, 1.0]


def test_void_pixels_do_not_count(tmp_path: Path) -> None:
    """Where the truth is 255 beside ids, an answer is neither right nor wrong."""
    ids = ids_of(block(8))
    ids[8:16, 16:24] = 255
    make_clip(tmp_path, dict.fromkeys(range(3), ids), 3)
    tracker = ScriptedTracker({1: dict.fromkeys(range(3), block(8, 16))})
    score, _ = evaluate_mask_clip(read_dataset(tmp_path).mask_clips[0], tracker, "box")
    assert score is not None
    assert score.j == 1.0


def test_a_clip_without_a_frame_to_judge_gives_none(tmp_path: Path) -> None:
    make_clip(tmp_path, {0: ids_of(block(8))}, 3)
    tracker = ScriptedTracker({1: {}})
    assert evaluate_mask_clip(read_dataset(tmp_path).mask_clips[0], tracker, "box")[0] is None


def test_box_clip_counts_from_its_first_box(tmp_path: Path) -> None:
    """Frame 0 has no box: the prompt comes at frame 1, and frames 1..3 count, frame 1 too."""
    write_jpegs(tmp_path / "boxes" / "b" / "frames", 4, (EDGE, EDGE))
    (tmp_path / "boxes" / "b" / "gt.txt").write_text("0,0,0,0\n" + "8,8,8,8\n" * 3)
    tracker = ScriptedTracker({1: {1: block(8), 2: block(12), 3: None}})
    score, tiles = evaluate_box_clip(read_dataset(tmp_path).box_clips[0], tracker, "box")
    assert score is not None
    assert [prompt.frame_index for prompt in tracker.prompts] == [1]
    # Overlaps 1, 1/3 and 0 exceed 20, 7 (0 ... 0.30) and 0 of the 21 thresholds.
    assert score.scores.auc == pytest.approx((20 + 7 + 0) / 21 / 3)
    assert score.scores.p20 == pytest.approx(2 / 3)
    assert score.scores.frames == 3
    assert thirds(score.overlaps) == [3, 1, 0]
    assert thirds(score.quarters) == [None, 3, 1, 0]
    assert len(tiles) == 4


def test_stills_choose_by_the_token_rule(tmp_path: Path) -> None:
    """The fake's tokens are discs of radius 1, 0.6, 1 and 1.4 with token 2 scored best.

    The truth is the disc that a click draws, so candidate 2 is right; a box draws the disc that
    fills it. Best of all tokens is then the same one.
    """
    networks = fake_networks(image_size=256)  # L = 64: a click's disc has 8 mask pixels
    y, x = np.mgrid[:256, :256]
    truth = (np.hypot(x - 127.5, y - 127.5) < 32).astype(np.uint8)
    write_jpegs(tmp_path / "stills" / "s" / "images", 1, (256, 256))
    write_ids(tmp_path / "stills" / "s" / "masks" / "0.png", truth)
    stills = read_dataset(tmp_path).still_sets[0]
    scores, tiles = evaluate_stills(stills, PromptedNetworks(networks))
    for kind in ("box", "click"):
        score = scores["box" if kind == "box" else "click"]
        assert score.selected > 0.93
        assert score.best == score.selected
        assert (len(score.instances), score.missed) == (1, 0)
    assert len(tiles["click"]) == 1


def test_the_real_tracker_follows_a_still_disc(tmp_path: Path) -> None:
    """With the fake networks the box's disc stays where it is: J is that of the low resolution."""
    y, x = np.mgrid[:120, :160]
    truth = (np.hypot(x - 80, y - 60) < 30).astype(np.uint8)
    write_jpegs(tmp_path / "masks" / "clip" / "frames", 6, (160, 120))
    for index in range(6):
        write_ids(tmp_path / "masks" / "clip" / "masks" / f"{index}.png", truth)
    settings = taking_any(PRESETS["default"])  # the pictures are noise: nothing looks alike in them
    with Tracker(fake_networks(), settings) as tracker:
        score, _ = evaluate_mask_clip(read_dataset(tmp_path).mask_clips[0], tracker, "box")
    assert score is not None
    # The fake's disc is round in the square picture, so an ellipse here: 3/4 of the truth.
    assert score.j == pytest.approx(0.75, abs=0.05)
    assert score.judged == 4
