"""Prompts on past steps, undo, candidates, commits and pins: as if given in time, or said so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest

from engines.fake_backend import fake_networks
from engines.sam2_graphs import Sam2Networks
from live.commands import (
    CommitMask,
    CycleCandidate,
    HoverRequest,
    PinStep,
    RemoveObject,
    TrackerCommand,
    UndoPrompt,
)
from live.frames import FrameResult, ObjectResult, Prompt
from live.presets import PRESETS, TrackerSettings, preset
from live.tracker import Tracker
from live.tracker_edits import MAX_PROMPTS_PER_STEP, MAX_UNDO
from tests.helpers.tracker_networks import (
    SIZE,
    RecordingNetworks,
    Script,
    box_prompt,
    click,
    frame,
    sensitive_networks,
)

ALL = pytest.mark.parametrize("settings", PRESETS.values(), ids=PRESETS.keys())
STEPS = 24
Plan = Mapping[int, list[TrackerCommand]]  # step -> what is done before it

BOX, FIX = box_prompt(100, 100, 400, 300, object_id=5), click(300, 200, object_id=5)
OTHER = box_prompt(20, 200, 200, 400, object_id=9)


def moving_picture(index: int) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
    ys, xs = np.mgrid[: SIZE[1], : SIZE[0]]
    waves = np.sin((xs + 9 * index) / 37) + np.cos((ys - 5 * index) / 23)
    grey = np.asarray(np.clip(waves * 60 + 128, 0, 255), np.uint8)
    return np.stack((grey, np.roll(grey, 40, 1), np.roll(grey, 80, 0)), axis=2)


PICTURES = [moving_picture(index) for index in range(STEPS)]


def seen_on(step: int, prompt: Prompt) -> Prompt:
    return replace(prompt, step=step)


def run(
    settings: TrackerSettings,
    plan: Plan,
    networks: Sam2Networks | None = None,
    after: Callable[[Tracker, FrameResult], None] = lambda tracker, result: None,
) -> list[dict[int, ObjectResult]]:
    """Follow a plan through the pictures, which come unevenly in time."""
    answers = []
    with Tracker(networks or sensitive_networks(), settings) as tracker:
        for index, picture in enumerate(PICTURES):
            for command in plan.get(index, ()):
                tracker.apply(command)
            result = tracker.step(frame(2 * index + index % 3, picture))
            answers.append({answer.object_id: answer for answer in result.objects})
            after(tracker, result)
    return answers


def bits(answer: ObjectResult | None) -> object:
    if answer is None:
        return None
    mask = None if answer.mask_logits is None else answer.mask_logits.tobytes()
    values = {name: getattr(answer, name) for name in answer.__slots__ if name != "mask_logits"}
    return mask, values


def same(
    one: list[dict[int, ObjectResult]], other: list[dict[int, ObjectResult]], object_id: int
) -> list[bool]:
    return [
        bits(a.get(object_id)) == bits(b.get(object_id)) for a, b in zip(one, other, strict=True)
    ]


@ALL
def test_a_late_prompt_is_as_one_given_in_time(settings: TrackerSettings) -> None:
    """First prompts and corrections, one and two objects, the oldest and the newest step."""
    in_time = run(settings, {3: [BOX, OTHER], 9: [FIX], 15: [click(250, 150, 0, 5)]})
    late = run(
        settings,
        {
            8: [seen_on(3, BOX), seen_on(3, OTHER)],
            17: [seen_on(9, FIX)],
            18: [seen_on(15, click(250, 150, 0, 5))],
        },
    )
    assert same(late, in_time, 5)[8:15] == [i < 9 for i in range(8, 15)]  # not known before 17
    assert all(same(late, in_time, 5)[18:])
    assert all(same(late, in_time, 9)[8:])
    assert 5 not in late[7]
    assert all(answer[5].visible for answer in in_time[18:20])


@ALL
def test_prompts_for_one_step_add_up_in_whatever_order_they_come(
    settings: TrackerSettings,
) -> None:
    more = click(120, 250, 0, 5)
    in_time = run(settings, {3: [BOX], 9: [FIX, more], 11: [click(260, 260, 1, 5)]})
    late = run(
        settings,
        {
            3: [BOX],
            11: [click(260, 260, 1, 5)],
            12: [seen_on(9, FIX)],
            14: [seen_on(9, more)],
        },
    )
    assert all(same(late, in_time, 5)[14:])


@ALL
def test_correcting_one_object_changes_no_bit_of_another(settings: TrackerSettings) -> None:
    alone = run(settings, {2: [OTHER]})
    among = run(
        settings,
        {
            2: [OTHER],
            7: [seen_on(4, BOX)],
            10: [seen_on(5, FIX), PinStep(9)],
            12: [UndoPrompt(5)],
            13: [seen_on(11, FIX), CycleCandidate(5)],
            14: [CommitMask(5)] if settings.trust_prompts else [],
            20: [seen_on(9, click(50, 60, 1, 5))],
            21: [RemoveObject(5)],
        },
    )
    assert all(same(among, alone, 9))
    assert sum(5 in answer for answer in among) == 14


@ALL
def test_an_undone_prompt_was_never_given(settings: TrackerSettings) -> None:
    without = run(settings, {3: [BOX], 9: [FIX]})
    late = click(10, 10, 1, 5)
    undone = run(
        settings,
        {3: [BOX], 9: [FIX, late], 11: [seen_on(5, late)], 12: [UndoPrompt(5), UndoPrompt()]},
    )
    assert not all(same(undone, without, 5)[9:12])
    assert all(same(undone, without, 5)[12:])


def test_the_first_prompt_undone_leaves_no_object() -> None:
    with Tracker(sensitive_networks(), preset("default")) as tracker:
        tracker.prompt(BOX)
        assert tracker.undo() == "object 5: last prompt taken back"  # it waited for its picture
        assert tracker.step(frame(0, PICTURES[0])).objects == ()
        tracker.prompt(BOX)
        tracker.prompt(OTHER)
        for index in range(1, 4):
            tracker.step(frame(index, PICTURES[index]))
        said = tracker.undo(5)
        assert said == "object 5: last prompt taken back, it is not tracked any more"
        assert tracker.object_ids == (9,)
        with pytest.raises(ValueError, match="object 5: nothing left to take back"):
            tracker.apply(UndoPrompt(5))
        tracker.prompt(seen_on(2, BOX))  # and comes back as a new one
        assert [a.object_id for a in tracker.step(frame(4, PICTURES[4])).objects] == [5, 9]


def steps_of(tracker: Tracker, index: int) -> tuple[int, ...]:
    (answer,) = tracker.step(frame(index, PICTURES[index % STEPS])).objects
    return answer.memory_steps


def test_an_undo_beyond_the_history_takes_the_memory_out_and_says_so() -> None:
    with Tracker(fake_networks(decoder=Script().decode), preset("default")) as tracker:
        tracker.prompt(click(300, 200))
        for index in range(30):
            if index in (10, 10.0):
                tracker.prompt(click(300, 200))
                tracker.prompt(click(310, 200))
            steps = steps_of(tracker, index)
        assert steps[:2] == (0, 10)
        said = tracker.undo(1)
        assert said == (
            "object 1: its last 2 prompts taken back; that picture is no longer kept: masks since "
            "then stay"
        )
        assert steps_of(tracker, 30)[:2] == (0, 29)
        assert tracker.undo(1).endswith("it is not tracked any more")
        assert tracker.object_ids == ()


def test_undo_is_bounded() -> None:
    with Tracker(fake_networks(decoder=Script().decode), preset("default")) as tracker:
        for index in range(MAX_UNDO + 20):
            tracker.prompt(click(300, 200))
            tracker.step(frame(index))
        done = 0
        with pytest.raises(ValueError, match="nothing left to take back"):
            for _ in range(MAX_UNDO + 20):
                tracker.undo()
                done += 1
        assert 0 < done <= MAX_UNDO


def test_older_than_the_history_means_the_nearest_kept_step_and_is_said() -> None:
    with Tracker(sensitive_networks(), preset("default")) as tracker:
        assert tracker.prompt(seen_on(40, OTHER)) is None  # not processed yet: the next one
        for index in range(14):
            tracker.step(frame(index, PICTURES[index]))
        said = tracker.prompt(seen_on(2, BOX))
        assert said == "object 5: that picture is no longer kept, used on one 4 steps later"
        late = tracker.step(frame(14, PICTURES[14])).objects[0]
    answer = run(preset("default"), {6: [BOX]})[14][5]
    assert late.memory_steps[0] == 6
    assert late.predicted_iou != answer.predicted_iou or late.motion_iou is None  # other times
    with Tracker(sensitive_networks(), replace(preset("default"), prompt_history=0)) as tracker:
        tracker.step(frame(0, PICTURES[0]))
        said = tracker.prompt(seen_on(0, BOX))
        assert said == "object 5: that picture is no longer kept, used on the next one"
        assert tracker.step(frame(1, PICTURES[1])).objects[0].memory_steps == ()
        with pytest.raises(ValueError, match="prompt_history of at least 1"):
            tracker.apply(CommitMask(5))
        with pytest.raises(ValueError, match="no picture is kept"):
            tracker.apply(PinStep(0))
        assert "no longer kept" in tracker.undo(5)


def test_without_catching_up_only_the_memory_enters() -> None:
    settings = replace(preset("default"), catch_up="none")
    networks = RecordingNetworks(fake_networks(decoder=Script().decode))
    with Tracker(networks, settings) as tracker:
        tracker.prompt(click(300, 200))
        for index in range(8):
            steps_of(tracker, index)
        networks.calls.clear()
        tracker.prompt(seen_on(3, click(310, 200)))
        tracker.prompt(seen_on(3, click(320, 200)))
        steps = steps_of(tracker, 8)
        assert steps == (0, 3, 7, 6, 5, 4, 2, 1)
        # step 3 tracked and answered, step 8 tracked: nothing in between
        assert [len(call.tpos) for call in networks.calls.attended] == [3, 8]
        assert len(networks.calls.decoded) == 3
        assert len(networks.calls.images) == 1
        tracker.undo(1)
        assert steps_of(tracker, 9)[:2] == (0, 3)  # the other click stays
        tracker.undo(1)
        assert steps_of(tracker, 10) == (0, 9, 8, 7, 6, 5, 4)
        # a new object goes on from where it was seen
        tracker.prompt(seen_on(6, click(100, 100, object_id=2)))
        answers = tracker.step(frame(11)).objects
        assert [answer.object_id for answer in answers] == [1, 2]
        assert answers[1].memory_steps == (6,)
        tracker.undo(2)
        assert tracker.object_ids == (1,)


@ALL
def test_without_catching_up_the_next_corrections_see_the_memory(
    settings: TrackerSettings,
) -> None:
    """A correction on a later past step is answered with the memory of the earlier one."""
    networks = RecordingNetworks(fake_networks(decoder=Script().decode))
    with Tracker(networks, replace(settings, catch_up="none")) as tracker:
        tracker.step(frame(0))
        for index in range(1, 6):
            tracker.step(frame(index))
        tracker.prompt(seen_on(1, click(300, 200)))
        tracker.step(frame(6))
        networks.calls.clear()
        tracker.prompt(seen_on(3, click(300, 210)))
        tracker.step(frame(7))
        assert networks.calls.attended[0].tpos == (0,)
        assert networks.calls.attended[0].ptr_tpos == (2.0,)


def test_a_pinned_step_answers_however_old_it_is() -> None:
    networks = RecordingNetworks(fake_networks(decoder=Script().decode))
    with Tracker(networks, preset("default")) as tracker:
        tracker.prompt(click(300, 200))
        for index in range(6):
            steps_of(tracker, index)
        assert tracker.apply(PinStep(4)) is None
        for index in range(6, 40):
            steps_of(tracker, index)
        assert tracker.prompt(seen_on(4, click(310, 200))) is None
        networks.calls.clear()
        assert steps_of(tracker, 40) == (0, 4, 39, 38, 37, 36, 35, 34)
        assert networks.calls.attended[0].ptr_tpos == (4.0, 1.0, 2.0, 3.0)  # as of step 4
        assert tracker.prompt(seen_on(4, click(100, 90, object_id=2))) is None
        assert tracker.step(frame(41)).objects[1].memory_steps == (4,)
        assert tracker.undo(2).endswith("not tracked any more")
        assert tracker.undo(1) == "object 1: last prompt taken back"
        assert 4 not in steps_of(tracker, 42)
        assert tracker.apply(PinStep(None)) is None
        said = tracker.prompt(seen_on(4, click(310, 200)))
        assert said is not None
        assert "30 steps later" in said
        said = tracker.apply(PinStep(1))
        assert said == "picture 35 kept for prompts, not 1"


@ALL
def test_a_pinned_step_that_is_still_recent_is_tracked_from_again(
    settings: TrackerSettings,
) -> None:
    in_time = run(settings, {3: [BOX], 9: [FIX]})
    late = run(settings, {3: [BOX], 11: [PinStep(9)], 15: [seen_on(9, FIX)]})
    assert all(same(late, in_time, 5)[15:])


def test_candidates_go_from_small_to_large_and_around() -> None:
    script = Script(masks=((0, 0, 40), (20, 20, 10), (20, 20, 30), (20, 20, 4)))
    with Tracker(fake_networks(decoder=script.decode), preset("default")) as tracker:
        tracker.prompt(click(300, 200))
        widths = []
        for index in range(5):
            if index:
                said = tracker.apply(CycleCandidate(1))
                assert said is not None
                assert said.endswith("of 3, small to large")
            (answer,) = tracker.step(frame(index)).objects
            first = tracker._edits._history.since(0)[0].objects[1]
            mask = first.candidates.index(first.token if first.token is not None else -1)
            widths.append(mask)
            assert answer.visible
        assert widths == [1, 2, 0, 1, 2]
        tracker.apply(CycleCandidate(1, -2))
        assert first.token == 3  # the smallest
        assert [prompt.candidate for prompt in first.prompts] == [3]
        tracker.prompt(seen_on(0, click(310, 200)))
        tracker.step(frame(5))
        assert first.candidates == (3, 1, 2, 0)  # two points: the single-mask token answers too
        assert first.token == 0
        for token in (3, 1, 2, 0):
            tracker.apply(CycleCandidate(1))
            assert first.token == token


@ALL
def test_a_candidate_is_as_one_asked_for_in_time(settings: TrackerSettings) -> None:
    with Tracker(sensitive_networks(), settings) as tracker:
        tracker.prompt(FIX)
        tracker.step(frame(0, PICTURES[0]))
        first = tracker._edits._history.since(0)[0].objects[5]
        order, token = first.candidates, first.token
    assert token is not None
    following = order[(order.index(token) + 1) % len(order)]
    in_time = run(settings, {0: [replace(FIX, candidate=following)]})
    late = run(settings, {0: [FIX], 5: [CycleCandidate(5)]})
    assert all(same(late, in_time, 5)[5:])
    assert not all(same(late, in_time, 5))


def test_what_has_no_candidates_is_refused() -> None:
    with Tracker(fake_networks(decoder=Script().decode), preset("default")) as tracker:
        with pytest.raises(ValueError, match="object 1: no click of it"):
            tracker.apply(CycleCandidate(1))
        mask = np.zeros(SIZE[::-1], np.bool_)
        mask[100:200, 100:200] = True
        tracker.prompt(Prompt(mask=mask))
        tracker.step(frame(0))
        with pytest.raises(ValueError, match="expected a click or box"):
            tracker.apply(CycleCandidate(1))
        tracker.prompt(click(300, 200))
        for index in range(1, 12):
            tracker.step(frame(index))
        with pytest.raises(ValueError, match="no longer kept; click again"):
            tracker.apply(CycleCandidate(1))
        with pytest.raises(ValueError, match=r"candidate: expected 0\.\.3, got 4"):
            tracker.prompt(replace(click(1, 1), candidate=4))


@ALL
def test_a_committed_mask_stays_in_memory(settings: TrackerSettings) -> None:
    networks = RecordingNetworks(fake_networks(decoder=Script().decode))
    with Tracker(networks, settings) as tracker:
        tracker.prompt(click(300, 200))
        for index in range(5):
            steps_of(tracker, index)
        networks.calls.clear()
        assert tracker.apply(CommitMask(1)) == "object 1: mask committed to memory"
        assert [call.is_prompted for call in networks.calls.remembered] == [True]
        assert tracker.apply(CommitMask(1)) == "object 1: mask committed to memory"
        assert len(networks.calls.remembered) == 1
        for index in range(5, 40):
            steps = steps_of(tracker, index)
        assert steps[:2] == (0, 4)
        assert "taken back" in tracker.undo()
        assert steps_of(tracker, 40)[:2] == (0, 39)


@ALL
def test_an_undone_commit_was_never_made(settings: TrackerSettings) -> None:
    without = run(settings, {3: [BOX]})
    visible = [index for index, answer in enumerate(without) if index > 4 and answer[5].visible]
    when = visible[0] + 1
    committed = run(settings, {3: [BOX], when: [CommitMask(5)], when + 2: [UndoPrompt(5)]})
    assert not all(same(committed, without, 5)[when : when + 2])
    assert all(same(committed, without, 5)[when + 2 :])


def test_what_is_not_to_be_seen_cannot_be_committed() -> None:
    script = Script()
    with Tracker(fake_networks(decoder=script.decode), preset("default")) as tracker:
        with pytest.raises(ValueError, match="object 1: not tracked"):
            tracker.apply(CommitMask(1))
        tracker.prompt(click(300, 200))
        tracker.step(frame(0))
        script.score = -4.0
        tracker.step(frame(1))
        with pytest.raises(ValueError, match="object 1: not visible now"):
            tracker.apply(CommitMask(1))


def test_prompts_on_a_past_step_are_checked_against_it() -> None:
    with Tracker(fake_networks(decoder=Script().decode), preset("default")) as tracker:
        tracker.step(frame(0))
        with pytest.raises(ValueError, match="not known on that picture"):
            tracker.prompt(seen_on(0, click(10, 10, 0)))
        with pytest.raises(ValueError, match="lies outside"):
            tracker.prompt(seen_on(0, click(1000, 10)))
        assert tracker.step(frame(1)).objects == ()
        for _ in range(MAX_PROMPTS_PER_STEP):
            tracker.prompt(seen_on(0, click(10, 10)))
        with pytest.raises(ValueError, match="64 prompts on one picture"):
            tracker.prompt(seen_on(0, click(10, 10)))


def test_catching_up_encodes_no_picture_twice() -> None:
    networks = RecordingNetworks(fake_networks(decoder=Script().decode))
    with Tracker(networks, preset("default")) as tracker:
        for index in range(12):
            tracker.step(frame(index))
        assert not networks.calls.images  # nothing to track, nothing computed
        tracker.prompt(seen_on(4, click(300, 200)))
        tracker.step(frame(12))
        assert len(networks.calls.images) == 9
        tracker.prompt(seen_on(6, click(300, 200)))
        tracker.step(frame(13))
        assert len(networks.calls.images) == 10


@ALL
def test_hovering_changes_no_bit(settings: TrackerSettings) -> None:
    plan: Plan = {3: [BOX], 9: [FIX], 14: [seen_on(10, FIX)], 16: [UndoPrompt(5), PinStep(12)]}

    def hover(tracker: Tracker, result: FrameResult) -> None:
        for step in (result.step, result.step - 3, 12, 400):
            for object_id in (5, 77):
                for x in (50.0, 300.0):
                    tracker.hover(HoverRequest(object_id, step, x, 200.0))

    assert all(same(run(settings, plan, after=hover), run(settings, plan), 5))


@ALL
def test_hovering_shows_what_the_click_gives(settings: TrackerSettings) -> None:
    with Tracker(sensitive_networks(), settings) as tracker:
        for index in range(10):
            if index == 2:
                tracker.prompt(BOX)
            tracker.step(frame(index, PICTURES[index]))
        for object_id, step in ((5, 9), (7, 9)):
            answer = tracker.hover(HoverRequest(object_id, step, 310, 210))
            assert answer is not None
            tracker.prompt(seen_on(step, click(310, 210, object_id=object_id)))
            assert tracker.hover(HoverRequest(object_id, step, 1, 1)) is not None  # answers it
            past = tracker._edits._history.find(step)
            assert past is not None
            assert past.objects[object_id].visible == bool((answer.mask_logits > 0).any())
        again = tracker.hover(HoverRequest(5, 9, 320, 220))
        assert again is not None
        assert again.predicted_iou != answer.predicted_iou


def test_moving_the_mouse_over_one_picture_costs_one_decoder_call_each() -> None:
    networks = RecordingNetworks(fake_networks(decoder=Script().decode))
    with Tracker(networks, preset("default")) as tracker:
        tracker.prompt(click(300, 200))
        for index in range(4):
            tracker.step(frame(index))
        networks.calls.clear()
        for x in range(10):
            assert tracker.hover(HoverRequest(1, 2, 10.0 * x, 50.0)) is not None
        assert len(networks.calls.attended) == 1
        assert len(networks.calls.decoded) == 11  # and the tracked mask beneath, once
        assert not networks.calls.images
        assert tracker.hover(HoverRequest(1, 2, -1.0, 50.0)) is None
        assert tracker.hover(HoverRequest(1, 99, 1.0, 50.0)) is None
