"""Prompts on past steps, undo, candidates, commits and pins: as if given in time, or said so."""

from __future__ import annotations

from dataclasses import replace

import pytest

from samcam.engines.fake_backend import fake_networks
from samcam.live.commands import CommitMask, CycleCandidate, PinStep, RemoveObject, UndoPrompt
from samcam.live.tracker.presets import PRESETS, TrackerSettings, preset
from samcam.live.tracker.timeline import MAX_PROMPTS_PER_STEP, MAX_UNDO
from samcam.live.tracker.tracker import Tracker
from tests.helpers.tracker_networks import (
    RecordingNetworks,
    Script,
    click,
    frame,
    sensitive_networks,
)
from tests.helpers.tracker_plans import (
    BOX,
    FIX,
    OTHER,
    PICTURES,
    run,
    same,
    seen_on,
    steps_of,
    taking_any,
)

ALL = pytest.mark.parametrize(
    "settings", [taking_any(one) for one in PRESETS.values()], ids=PRESETS.keys()
)


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
    assert any(answer[5].visible for answer in in_time[16:])


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


def test_an_undo_beyond_the_history_takes_the_memory_out_and_says_so() -> None:
    with Tracker(fake_networks(decoder=Script().decode), preset("default")) as tracker:
        tracker.prompt(click(300, 200))
        for index in range(30):
            if index == 10:
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
        for _ in range(MAX_UNDO):
            assert tracker.undo().endswith(("taken back", "masks since then stay"))
        with pytest.raises(ValueError, match="nothing left to take back"):
            tracker.undo()


def test_a_frame_that_has_passed_is_said() -> None:
    """`ctl prompt "point=300,200 frame=2"` at frame 3 was ok, and nobody knew what it did."""
    with Tracker(sensitive_networks(), preset("default")) as tracker:
        for index in range(4):
            tracker.step(frame(index))
        said = tracker.prompt(replace(click(300, 200), frame_index=2))
        assert said is not None
        assert said.endswith("frame 2 has passed (frame 3 was the last one), used on the next one")
        assert tracker.prompt(replace(click(300, 200), frame_index=4)) is None
        assert tracker.step(frame(4)).objects


def test_the_newest_frame_is_prompted_while_its_step_is_kept() -> None:
    """A file waits on frame 0, but a prompt with frame=0 was used on frame 1."""
    prompt = replace(click(300, 200), frame_index=1)
    answers = []
    for given in (replace(prompt, frame_index=None, step=1), prompt):
        with Tracker(sensitive_networks(), taking_any(preset("default"))) as tracker:
            for index in range(2):
                tracker.step(frame(index, PICTURES[index]))
            assert tracker.prompt(given) is None
            (answer,) = tracker.step(frame(2, PICTURES[2])).objects
            answers.append(answer.mask_logits.tobytes())
    assert answers[0] == answers[1]
    with Tracker(sensitive_networks(), replace(preset("default"), prompt_history=0)) as tracker:
        tracker.step(frame(0))
        assert str(tracker.prompt(replace(prompt, frame_index=0))).endswith("used on the next one")


def test_older_than_the_history_means_the_nearest_kept_step_and_is_said() -> None:
    with Tracker(sensitive_networks(), preset("default")) as tracker:
        assert tracker.prompt(seen_on(40, OTHER)) is None  # not processed yet: the next one
        for index in range(14):
            tracker.step(frame(index, PICTURES[index]))
        said = tracker.prompt(seen_on(2, BOX))
        assert said == "object 5: that picture is no longer kept, used on one 4 steps later"
        assert tracker.step(frame(14, PICTURES[14])).objects[0].memory_steps[0] == 6
    late, nearest = (run(preset("default"), plan) for plan in ({14: [seen_on(2, BOX)]}, {6: [BOX]}))
    assert all(same(late, nearest, 5)[14:])
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
    every_step = replace(preset("default").bank, recent_stride=1)
    settings = replace(preset("default"), catch_up="none", bank=every_step)
    networks = RecordingNetworks(fake_networks(decoder=Script().decode))
    with Tracker(networks, settings) as tracker:
        tracker.prompt(click(300, 200))
        for index in range(8):
            steps_of(tracker, index)
        networks.calls.clear()
        tracker.prompt(seen_on(3, click(310, 200)))
        tracker.prompt(seen_on(3, click(320, 200)))
        steps = steps_of(tracker, 8)
        assert steps == (0, 3, 7, 6, 5, 4, 2)
        # step 3 tracked and answered, step 8 tracked: nothing in between
        assert [len(call.tpos) for call in networks.calls.attended] == [3, 7]
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
    with Tracker(networks, taking_any(preset("default"))) as tracker:
        tracker.prompt(click(300, 200))
        for index in range(6):
            steps_of(tracker, index)
        assert tracker.apply(PinStep(4)) is None
        for index in range(6, 40):
            steps_of(tracker, index)
        assert tracker.prompt(seen_on(4, click(310, 200))) is None
        networks.calls.clear()
        assert steps_of(tracker, 40) == (0, 4, 39, 36, 31, 26, 21, 16)
        assert networks.calls.attended[0].ptr_tpos == (4.0, 1.0, 2.0, 3.0)  # as of step 4
        assert tracker.prompt(seen_on(4, click(100, 90, object_id=2))) is None
        assert tracker.step(frame(41)).objects[1].memory_steps == (4,)
        assert tracker.undo(2).endswith("not tracked any more")
        assert tracker.undo(1) == "object 1: last prompt taken back"
        assert 4 not in steps_of(tracker, 42)
        assert tracker.apply(PinStep(None)) is None
        said = tracker.prompt(seen_on(4, click(310, 200)))
        assert said is not None
        assert "31 steps later" in said
        said = tracker.apply(PinStep(1))
        assert said == "picture 35 kept for prompts, not 1"


@ALL
def test_a_pinned_step_that_is_still_recent_is_tracked_from_again(
    settings: TrackerSettings,
) -> None:
    in_time = run(settings, {3: [BOX], 9: [FIX]})
    late = run(settings, {3: [BOX], 11: [PinStep(9)], 15: [seen_on(9, FIX)]})
    assert all(same(late, in_time, 5)[15:])


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
        with pytest.raises(ValueError, match="62 prompts on one picture"):
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
