"""Candidates of a click, committed masks, and the mask that a click would give."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from samcam.engines.fake_backend import fake_networks
from samcam.live.commands import CommitMask, CycleCandidate, HoverRequest, PinStep, UndoPrompt
from samcam.live.frames import FrameResult, Prompt
from samcam.live.tracker.presets import PRESETS, TrackerSettings, preset
from samcam.live.tracker.tracker import Tracker
from tests.helpers.tracker_networks import (
    SIZE,
    RecordingNetworks,
    Script,
    click,
    frame,
    sensitive_networks,
)
from tests.helpers.tracker_plans import (
    BOX,
    FIX,
    PICTURES,
    Plan,
    run,
    same,
    seen_on,
    steps_of,
    taking_any,
)

ALL = pytest.mark.parametrize("settings", PRESETS.values(), ids=PRESETS.keys())


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
            first = tracker._timeline._history.since(0)[0].objects[1]
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
        first = tracker._timeline._history.since(0)[0].objects[5]
        order, token = first.candidates, first.token
    assert token is not None
    following = order[(order.index(token) + 1) % len(order)]
    in_time = run(settings, {0: [replace(FIX, candidate=following)]})
    late = run(settings, {0: [FIX], 5: [CycleCandidate(5)]})
    assert all(same(late, in_time, 5)[5:])
    assert not all(same(late, in_time, 5))


@ALL
@pytest.mark.parametrize("late", [False, True])
def test_the_newest_click_has_candidates_for_ever(settings: TrackerSettings, late: bool) -> None:
    """A user looks at the mask for longer than the history is; what came of it goes with it."""
    networks = RecordingNetworks(fake_networks(decoder=Script().decode))
    with Tracker(networks, settings) as tracker:
        tracker.prompt(click(100, 90, object_id=2))
        for index in range(3):
            tracker.step(frame(index))
        tracker.prompt(seen_on(1, click(300, 200)) if late else click(300, 200))
        clicked = 1 if late else 3
        for index in range(3, 40):
            other = tracker.step(frame(index)).objects[1].memory_steps
        assert other[0] == 0
        before = tracker._timeline._clicked
        assert before is not None
        token = before.objects[1].token
        for turn in (1, 2):
            said = tracker.apply(CycleCandidate(1))
            assert said is not None
            assert said.endswith("of 3, small to large")
            one, two = tracker.step(frame(39 + turn)).objects
            assert one.memory_steps == (clicked,), "and nothing that the first mask left"
            assert two.memory_steps[:2] == (0, 38 + turn), "the other object is not touched"
        assert before.objects[1].token != token
        tracker.apply(CycleCandidate(1))
        assert before.objects[1].token == token, "around"
        assert "taken back" in tracker.undo(1)
        assert [answer.object_id for answer in tracker.step(frame(42)).objects] == [2]


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
        tracker.step(frame(1))
        tracker.prompt(click(100, 90, object_id=2))  # its picture is kept instead
        for index in range(2, 14):
            tracker.step(frame(index))
        with pytest.raises(ValueError, match="no longer kept; click again"):
            tracker.apply(CycleCandidate(1))
        tracker.remove(2)
        with pytest.raises(ValueError, match="object 2: no click of it"):
            tracker.apply(CycleCandidate(2))
        with pytest.raises(ValueError, match=r"candidate: expected 0\.\.3, got 4"):
            tracker.prompt(replace(click(1, 1), candidate=4))


@ALL
def test_a_committed_mask_stays_in_memory(settings: TrackerSettings) -> None:
    networks = RecordingNetworks(fake_networks(decoder=Script().decode))
    with Tracker(networks, taking_any(settings)) as tracker:
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
            past = tracker._timeline._history.find(step)
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
