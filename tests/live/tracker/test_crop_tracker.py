"""A tracker that looks where the filter expects the object: exact, pure, and nobody else's."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from run_live import main
from samcam.live.commands import (
    CommitMask,
    CycleCandidate,
    HoverRequest,
    PinStep,
    TrackerCommand,
    UndoPrompt,
)
from samcam.live.frames import F32, U8, FrameResult, Mask, ObjectResult, ObjectState, Prompt
from samcam.live.masks import upsample_logits
from samcam.live.tracker.crop import CropSettings
from samcam.live.tracker.identity.search import MIN_SEARCH_SHARE
from samcam.live.tracker.presets import DEFAULT, TrackerSettings
from samcam.live.tracker.tracker import Tracker
from tests.helpers.colour_networks import colour_networks
from tests.helpers.recordings import BALL, CARD, check_schemas, files_of, write_clip
from tests.helpers.tracker_networks import (
    RecordingNetworks,
    Remembered,
    box_prompt,
    click,
    frame,
)
from tests.helpers.tracker_plans import BOX, FIX, OTHER, bits, run, same, seen_on

WH = (1280, 720)
WINDOWS = replace(DEFAULT, crop=CropSettings())
RED, BLUE = (30, 40, 220), (220, 90, 20)
EDGE = 60  # px, of the objects: three cells of the whole picture wide, less than one of the grid


def test_a_crop_as_large_as_the_picture_changes_no_bit() -> None:
    plan: Mapping[int, list[TrackerCommand]] = {
        3: [BOX, OTHER],
        8: [FIX, click(10, 10, 0, 5)],
        9: [seen_on(7, click(250, 150, 0, 5)), CommitMask(9)],
        12: [UndoPrompt(5)],
        14: [seen_on(11, FIX), CycleCandidate(5, 1)],
    }
    always_whole = replace(DEFAULT, crop=CropSettings(min_share=1.0))
    for object_id in (5, 9):
        assert all(same(run(always_whole, plan), run(DEFAULT, plan), object_id))


def place_of(index: int) -> tuple[int, int]:
    """Return the left top corner of the red object, which goes round the blue one."""
    return round(600 + 330 * np.cos(index / 14)), round(320 + 240 * np.sin(index / 14))


def blue_place(index: int) -> tuple[int, int]:
    return 560 + 2 * index, 340 - index


def scene(index: int, red: bool = True, at: tuple[int, int] | None = None) -> U8:
    """Return a large picture with two small objects on a grain."""
    rng = np.random.default_rng(index)
    picture = rng.integers(90, 130, (WH[1], WH[0], 3), np.uint8)
    x, y = blue_place(index)
    picture[y : y + EDGE, x : x + EDGE] = BLUE
    if red:
        x, y = at or place_of(index)
        picture[y : y + EDGE, x : x + EDGE] = RED
    return picture


def truth(x: int, y: int) -> Mask:
    mask = np.zeros(WH[::-1], np.bool_)
    mask[y : y + EDGE, x : x + EDGE] = True
    return mask


def iou(answer: ObjectResult, x: int, y: int) -> float:
    if answer.mask_logits is None:
        return 0.0
    mask, true = upsample_logits(answer.mask_logits, WH) > 0, truth(x, y)
    return float((mask & true).sum() / (mask | true).sum())


def red_click(index: int, object_id: int = 1) -> Prompt:
    x, y = place_of(index)
    return click(x + EDGE / 2, y + EDGE / 2, object_id=object_id)


def blue_click(index: int) -> Prompt:
    x, y = blue_place(index)
    return click(x + EDGE / 2, y + EDGE / 2, object_id=2)


SCENES = [scene(index) for index in range(48)]
Plan = Mapping[int, Sequence[TrackerCommand]]


def play(
    plan: Plan,
    steps: int,
    settings: TrackerSettings = WINDOWS,
    after: Callable[[Tracker, FrameResult], None] = lambda tracker, result: None,
) -> list[dict[int, ObjectResult]]:
    """Follow a plan with crops; return each step's answers by object."""
    answers = []
    with Tracker(colour_networks(), settings) as tracker:
        for index in range(steps):
            for command in plan.get(index, ()):
                tracker.apply(command)
            result = tracker.step(frame(index, SCENES[index]))
            answers.append({item.object_id: item for item in result.objects})
            after(tracker, result)
    return answers


def seen_shares(networks: RecordingNetworks) -> list[float]:
    """Return the widths of the pictures encoded, as shares; and forget them."""
    shares = [image.shape[1] / WH[0] for image in networks.calls.images]
    networks.calls.clear()
    return shares


def colour_under(kept: Remembered) -> F32:
    """Return the mean colour of the cells of the grid that a remembered mask fills."""
    features = kept.features.pix_feat.numpy()[0, :3]
    step = len(kept.low_res_mask) // features.shape[1]
    inside = (kept.low_res_mask > 0).reshape(features.shape[1], step, -1, step).all(axis=(1, 3))
    assert inside.any()
    return np.asarray(features[:, inside].mean(axis=1), np.float32)


def test_a_small_object_is_followed_where_the_whole_picture_loses_it() -> None:
    """Exact to the pixel all the way; one run of the encoder a frame, two for the prompt."""
    networks = colour_networks()
    with Tracker(networks, WINDOWS) as tracker:
        tracker.prompt(red_click(0))
        (first,) = tracker.step(frame(0, SCENES[0])).objects
        assert seen_shares(networks) == [1, 0.25]
        found = []
        for index in range(1, 48):
            (answer,) = tracker.step(frame(index, SCENES[index])).objects
            x, y = place_of(index)
            found.append(iou(answer, x, y))
            assert answer.box_xyxy_px == pytest.approx((x, y, x + EDGE, y + EDGE), abs=6)
            assert answer.mask_logits is not None
            assert answer.mask_logits.shape == (256, 256)
            (kept,) = networks.calls.remembered
            assert colour_under(kept) == pytest.approx(np.array(RED) / 255, abs=0.02)
            (share,) = seen_shares(networks)
            assert share < 0.4
    assert first.mask_logits is not None
    assert first.mask_logits.shape == (64, 64)  # as today, so that a hover shows the same
    assert min(found) > 0.8
    with Tracker(colour_networks(), DEFAULT) as tracker:
        tracker.prompt(red_click(0))
        last = [tracker.step(frame(index, SCENES[index])) for index in range(8)][-1]
    assert iou(last.objects[0], *place_of(7)) < 0.3


def test_a_first_box_is_answered_in_its_crop() -> None:
    """One run of the encoder for the prompt, and a border as fine as those that follow."""
    networks = colour_networks()
    x, y = place_of(0)
    with Tracker(networks, WINDOWS) as tracker:
        tracker.prompt(box_prompt(x, y, x + EDGE, y + EDGE))
        (first,) = tracker.step(frame(0, SCENES[0])).objects
        assert seen_shares(networks) == [0.25]
        (second,) = tracker.step(frame(1, SCENES[1])).objects
    assert iou(first, x, y) > 0.9
    assert iou(second, *place_of(1)) > 0.8


def test_an_object_that_turns_at_once_is_caught_again() -> None:
    """The filter shoots past it, and is forgotten; the whole picture counts until it is anew."""
    places = [(200 + 20 * min(index, 40 - index), 300) for index in range(46)]
    with Tracker(colour_networks(), WINDOWS) as tracker:
        tracker.prompt(click(230, 330))
        found = [
            iou(tracker.step(frame(index, scene(index, at=place))).objects[0], *place)
            for index, place in enumerate(places)
        ]
    assert min(found) > 0.3
    assert min(found[1:20]) > 0.8
    assert found[-1] > 0.8


def test_a_lost_object_is_looked_for_in_the_whole_picture_and_found() -> None:
    """The crop widens step by step, and narrows again around the object, which came elsewhere."""
    networks = colour_networks()
    shares, answers = [], []
    with Tracker(networks, WINDOWS) as tracker:
        tracker.prompt(red_click(0))
        for index in range(44):
            away = 6 <= index < 26
            picture = scene(index, not away, (900, 100) if index >= 26 else None)
            answers.append(tracker.step(frame(index, picture)).objects[0])
            shares.append(max(seen_shares(networks)))
    assert all(iou(answers[index], *place_of(index)) > 0.8 for index in range(1, 6))
    lost = shares[6:26]
    widest = lost.index(1)
    assert lost[: widest + 1] == sorted(lost[: widest + 1])
    assert lost[0] < 0.3 < lost[5] < 1
    assert set(lost[widest::2]) == {1}
    assert set(lost[widest + 1 :: 2]) == {MIN_SEARCH_SHARE}
    assert answers[20].state is ObjectState.LOST
    assert answers[-1].visible
    assert iou(answers[-1], 900, 100) > 0.8
    assert shares[-1] < 0.4
    assert shares[26:] == sorted(shares[26:], reverse=True)


def test_late_prompts_undo_and_commit_are_as_if_in_time() -> None:
    in_time = play({2: [red_click(2)], 7: [red_click(7)]}, 16)
    late = play({5: [seen_on(2, red_click(2))], 11: [seen_on(7, red_click(7))]}, 16)
    assert all(same(late, in_time, 1)[11:])
    assert not all(same(late, in_time, 1)[7:11])
    assert iou(late[-1][1], *place_of(15)) > 0.8
    undone = play({2: [red_click(2)], 9: [seen_on(7, blue_click(7))], 11: [UndoPrompt(2)]}, 16)
    plain = play({2: [red_click(2)]}, 16)
    assert all(same(undone, plain, 1))
    committed = play({2: [red_click(2)], 8: [CommitMask(1)]}, 16)
    assert all(same(committed, plain, 1)[:8])
    assert not all(same(committed, plain, 1)[8:])


def test_a_memory_that_enters_without_catching_up_steers_the_crop_too() -> None:
    """Also one of a pinned step, of which nobody knows where the object went since."""
    only_remember = replace(WINDOWS, catch_up="none")
    late = play({11: [seen_on(7, red_click(7))]}, 20, only_remember)
    assert iou(late[12][1], *place_of(12)) > 0.8
    assert iou(late[19][1], *place_of(19)) > 0.8
    for settings in (WINDOWS, only_remember):
        pinned = play({4: [PinStep(3)], 16: [seen_on(3, red_click(3))]}, 28, settings)
        assert iou(pinned[16][1], *place_of(16)) > 0.5
        assert iou(pinned[27][1], *place_of(27)) > 0.8


def shares_after(change: Sequence[TrackerCommand], settings: TrackerSettings) -> list[float]:
    """Return how wide the object is looked for, gone since step 6, before and after commands."""
    networks = colour_networks()
    with Tracker(networks, settings) as tracker:
        tracker.prompt(red_click(0))
        for index in range(12):
            if index == 4:
                tracker.apply(PinStep(3))
            tracker.step(frame(index, scene(index, red=index < 6)))
        (before,) = seen_shares(networks)[-1:]
        for command in change:
            tracker.apply(command)
        tracker.step(frame(12, scene(12, red=False)))
        return [before, seen_shares(networks)[-1]]


def test_a_memory_that_enters_late_points_the_crop_as_of_then() -> None:
    """A lost object's crop narrows after a prompt on a kept step; a pinned one says nothing."""
    only_remember = replace(WINDOWS, catch_up="none")
    before, plain = shares_after([], only_remember)
    assert 0.5 < before < plain < 1
    there = Prompt(mask=truth(*place_of(9)), step=9)
    assert shares_after([there], only_remember)[1] < before
    assert shares_after([seen_on(3, red_click(3))], only_remember) == [before, 1]


def test_a_preview_is_what_the_click_then_gives() -> None:
    """On a known object inside its crop, outside it, and on an unknown object."""
    for prompt in (red_click(9), blue_click(9), replace(blue_click(9), object_id=1)):
        shown: list[F32] = []

        def ask(
            tracker: Tracker, result: FrameResult, prompt: Prompt = prompt, shown: list[F32] = shown
        ) -> None:
            if result.step == 10:
                x, y = prompt.points_xy_px[0]
                # first where no narrow crop reaches: what was decoded there must not be used
                for place in ((1270, 710), (x + 3, y), (x, y)):
                    request = HoverRequest(prompt.object_id, 9, float(place[0]), float(place[1]))
                    answer = tracker.hover(request)
                    assert answer is not None
                shown.append(answer.mask_logits)

        start = {2: [red_click(2)]}
        hovered = play(start, 14, after=ask)
        assert all(same(hovered, play(start, 14), 1)), "a preview changes nothing"
        given: list[ObjectResult] = []

        def note(
            _: Tracker, result: FrameResult, prompt: Prompt = prompt, given: list = given
        ) -> None:
            if result.step == 9:
                given.extend(o for o in result.objects if o.object_id == prompt.object_id)

        play(start | {9: [prompt]}, 10, after=note)
        assert given[0].mask_logits is not None
        np.testing.assert_array_equal(shown[0], given[0].mask_logits)


def test_a_correction_outside_the_crop_is_decoded_in_a_wider_one() -> None:
    networks = colour_networks()
    with Tracker(networks, WINDOWS) as tracker:
        tracker.prompt(red_click(0))
        for index in range(8):
            tracker.step(frame(index, SCENES[index]))
        seen_shares(networks)
        tracker.prompt(replace(blue_click(8), object_id=1))
        (answer,) = tracker.step(frame(8, SCENES[8])).objects
        assert iou(answer, *blue_place(8)) > 0.5
        wide, own = seen_shares(networks)
        assert wide == 0.5
        assert own < 0.4, "the memory is of a crop of its own"
        (answer,) = tracker.step(frame(9, SCENES[9])).objects
        assert iou(answer, *blue_place(9)) > 0.8


def test_two_objects_do_not_know_of_each_other() -> None:
    alone = play({2: [red_click(2)]}, 20)
    both = play({1: [blue_click(1)], 2: [red_click(2)], 9: [seen_on(6, blue_click(6))]}, 20)
    assert all(same(both, alone, 1))
    assert all(iou(both[index][2], *blue_place(index)) > 0.8 for index in range(2, 20))


def test_a_mask_and_a_mask_of_another_picture_are_cut_to_their_crop() -> None:
    mask = truth(*place_of(0))
    networks = colour_networks()
    with Tracker(networks, WINDOWS) as tracker:
        tracker.prompt(Prompt(mask=mask))
        (answer,) = tracker.step(frame(0, SCENES[0])).objects
        assert iou(answer, *place_of(0)) > 0.9
        assert seen_shares(networks) == [0.25]
        (answer,) = tracker.step(frame(1, SCENES[1])).objects
        assert iou(answer, *place_of(1)) > 0.8
    networks = colour_networks()
    with Tracker(networks, WINDOWS) as tracker:
        tracker.prompt(Prompt(mask=mask, reference_bgr=SCENES[0]))
        (answer,) = tracker.step(frame(5, SCENES[5])).objects
        assert seen_shares(networks) == [0.25, 1]
        assert answer.visible
        for index in range(6, 9):
            (answer,) = tracker.step(frame(index, SCENES[index])).objects
        assert iou(answer, *place_of(8)) > 0.8


def test_steps_beyond_the_history_leave_no_pictures_behind() -> None:
    networks = colour_networks()
    with Tracker(networks, WINDOWS) as tracker:
        tracker.prompt(red_click(0))
        for index in range(30):
            tracker.step(frame(index, SCENES[index]))
        kept = list(tracker._timeline._history)
        assert len(kept) == WINDOWS.prompt_history
        assert all(np.array_equal(past.picture, SCENES[past.step]) for past in kept)
        assert all(past.features is None for past in kept), "nobody asked for the whole picture"
        assert all(past.objects[1].view is not None for past in kept)


def test_a_prompt_after_a_change_of_size_is_fine() -> None:
    with Tracker(colour_networks(), WINDOWS) as tracker:
        tracker.prompt(red_click(0))
        tracker.step(frame(0, SCENES[0]))
        half = SCENES[1][::2, ::2]
        answer = tracker.step(frame(1, half)).objects[0]
        x, y = place_of(1)
        assert answer.box_xyxy_px == pytest.approx(
            (x / 2, y / 2, x / 2 + EDGE / 2, y / 2 + EDGE / 2), abs=4
        )


def test_answers_are_the_same_on_every_run() -> None:
    plan = {2: [red_click(2)], 5: [blue_click(5)], 9: [seen_on(6, red_click(6))]}
    for one, other in zip(play(plan, 14), play(plan, 14), strict=True):
        assert {key: bits(value) for key, value in one.items()} == {
            key: bits(value) for key, value in other.items()
        }


def test_crops_are_replayed_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nano_dir: Path
) -> None:
    """The setting stands in the recording, and without it masks differ."""
    monkeypatch.chdir(tmp_path)
    clip = write_clip(tmp_path / "clip.mp4", 12)
    prompts = ("--prompt", CARD, "--prompt", f"{BALL} frame=3")
    start = ("--source", str(clip), *prompts, "--record", "rec", "--output", "masks:original")
    crops = ("--set", "tracker.crop.enabled=true", "--set", "tracker.crop.zoom=1.5")
    assert main([*start, *crops]) == 0
    header = json.loads(Path("rec/recording.json").read_text())
    assert header["settings"]["tracker.crop.enabled"] == "true"
    check_schemas(Path("rec"))
    assert main(["--replay", "rec", "--output", "masks:again"]) == 0
    assert files_of(Path("again")) == files_of(Path("original"))
    whole = ("--set", "tracker.crop.enabled=false")
    assert main(["--replay", "rec", *whole, "--output", "masks:whole"]) == 0
    assert files_of(Path("whole")) != files_of(Path("original"))
