"""The tracker's steps: what it asks of the networks, and what it answers."""

from __future__ import annotations

import traceback
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from samcam.engines.base import DeviceTensor, EngineError
from samcam.engines.fake_backend import fake_manifest, fake_networks
from samcam.engines.graph_table import MASK_DECODER
from samcam.live.frames import NOMINAL_STEP_S, Frame, ObjectState, Prompt
from samcam.live.tracker.history import MAX_STEP_S, step_seconds
from samcam.live.tracker.presets import PRESETS, TrackerSettings, preset
from samcam.live.tracker.step import STAGES
from samcam.live.tracker.tracker import Tracker
from samcam.memory import Tier
from tests.conftest import REPO_ROOT
from tests.helpers.tracker_networks import (
    SIZE,
    Calls,
    RecordingNetworks,
    Script,
    box_prompt,
    click,
    frame,
)

TRACKER_ROOM = REPO_ROOT / "live" / "tracker"
ALL = pytest.mark.parametrize("settings", PRESETS.values(), ids=PRESETS.keys())


def recorded(settings: TrackerSettings, script: Script | None = None) -> tuple[Tracker, Calls]:
    """Return a tracker on scripted or disc networks, and what it will ask of them."""
    networks = RecordingNetworks(fake_networks(decoder=None if script is None else script.decode))
    return Tracker(networks, settings), networks.calls


@ALL
def test_a_click_is_decoded_on_bare_features(settings: TrackerSettings) -> None:
    tracker, calls = recorded(settings, Script())
    tracker.prompt(click(320, 240))
    result = tracker.step(frame(0))
    assert not calls.attended
    (decoded,) = calls.decoded
    assert decoded.pix_feat is decoded.features.pix_feat_no_mem
    assert decoded.mask_input is None
    np.testing.assert_array_equal(decoded.points_xy, [[128, 128]])
    np.testing.assert_array_equal(decoded.labels, [1])
    (remembered,) = calls.remembered
    assert remembered.is_prompted
    (answer,) = result.objects
    assert answer.predicted_iou == pytest.approx(0.9)  # the best of the candidates 1..3
    assert answer.state is ObjectState.TRACKING
    assert answer.admitted
    assert answer.memory_steps == ()
    assert answer.box_xyxy_px == pytest.approx((200, 150, 300, 225))


@ALL
def test_a_tracked_frame_gets_one_pad_point_and_the_memory(settings: TrackerSettings) -> None:
    tracker, calls = recorded(settings, Script())
    tracker.prompt(click(320, 240))
    tracker.step(frame(0))
    calls.clear()
    result = tracker.step(frame(1))
    (attended,) = calls.attended
    assert attended.tpos == (0,)
    assert attended.ptr_tpos == (1.0,)
    np.testing.assert_array_equal(attended.obj_ptrs[0], np.ones(16))  # token 1's pointer
    (decoded,) = calls.decoded
    assert decoded.mask_input is None
    backend = tracker._networks.backends[MASK_DECODER]
    shapes = {dict(shape)["point_labels"] for shape in backend.input_shapes}  # type: ignore[attr-defined]
    assert shapes == {(1, 1)}
    assert not calls.remembered[0].is_prompted
    assert result.objects[0].memory_steps == (0,)


def test_a_box_is_two_corner_points_and_answered_by_the_single_mask_token() -> None:
    script = Script(masks=((5, 5, 8), (20, 20, 10), (20, 20, 10), (20, 20, 10)))
    tracker, calls = recorded(preset("sam2"), script)
    tracker.prompt(box_prompt(50, 60, 150, 160))
    tracker.prompt(click(100, 100, label=0))
    (answer,) = tracker.step(frame(0)).objects
    np.testing.assert_array_equal(calls.decoded[0].labels, [2, 3, 0])
    assert answer.box_xyxy_px == pytest.approx((50, 37.5, 130, 97.5))
    assert answer.predicted_iou == pytest.approx(0.1)
    calls.clear()
    tracker.step(frame(1))
    np.testing.assert_array_equal(calls.attended[0].obj_ptrs[0], np.zeros(16))


@ALL
def test_a_mask_is_its_own_answer(settings: TrackerSettings) -> None:
    tracker, calls = recorded(settings, Script())
    mask = np.zeros(SIZE[::-1], np.bool_)
    mask[100:300, 200:440] = True
    tracker.prompt(Prompt(mask=mask))
    (answer,) = tracker.step(frame(0)).objects
    (decoded,) = calls.decoded
    assert decoded.pix_feat is decoded.features.pix_feat
    assert decoded.mask_input is not None
    assert answer.box_xyxy_px == pytest.approx((200, 100, 440, 300), abs=8)
    assert answer.predicted_iou == 1
    assert answer.object_score == 10
    assert calls.remembered[0].is_prompted
    calls.clear()
    tracker.step(frame(1))
    np.testing.assert_array_equal(calls.attended[0].obj_ptrs[0], np.zeros(16))  # token 0's


@pytest.mark.parametrize(("name", "tpos"), [("sam2", (0, 1, 2)), ("default", (0, 0, 1))])
def test_a_correction_starts_from_the_tracked_mask(name: str, tpos: tuple[int, ...]) -> None:
    tracker, calls = recorded(preset(name), script := Script())
    tracker.prompt(click(320, 240))
    tracker.step(frame(0))
    tracker.step(frame(1))
    calls.clear()
    script.masks = ((20, 20, 12),) * 4
    tracker.prompt(click(240, 200))
    tracker.prompt(click(10, 10, label=0))
    (answer,) = tracker.step(frame(2)).objects
    assert len(calls.attended) == 1
    tracked, corrected = calls.decoded
    assert tracked.mask_input is None
    assert corrected.pix_feat is tracked.pix_feat
    assert corrected.mask_input is not None
    np.testing.assert_array_equal(corrected.mask_input > 0, script.decode({}).low_res_masks[1] > 0)
    np.testing.assert_array_equal(corrected.labels, [1, 0])
    (remembered,) = calls.remembered  # the tracked mask leaves nothing
    assert remembered.is_prompted
    assert answer.memory_steps == (0, 1)
    assert answer.reason == "prompted on this frame"
    calls.clear()
    tracker.step(frame(3))
    assert calls.attended[0].tpos == tpos


def test_previous_logits_are_clamped() -> None:
    script = Script(score=-3.0)
    tracker, calls = recorded(preset("sam2"), script)
    tracker.prompt(click(320, 240))
    tracker.step(frame(0))
    calls.clear()
    tracker.prompt(click(320, 240))
    tracker.step(frame(1))
    mask_input = calls.decoded[1].mask_input
    assert mask_input is not None
    np.testing.assert_array_equal(mask_input, np.full((64, 64), -32))


def test_ours_corrects_an_unseen_object_without_its_mask() -> None:
    tracker, calls = recorded(preset("default"), script := Script())
    tracker.prompt(click(320, 240))
    tracker.step(frame(0))
    script.score = -3.0
    tracker.step(frame(1))
    calls.clear()
    tracker.prompt(click(320, 240))
    (answer,) = tracker.step(frame(2)).objects
    assert calls.decoded[1].mask_input is None
    assert answer.visible  # whatever the score: the user points at it
    assert answer.object_score == -3
    assert calls.remembered[0].score == 10


def test_in_sam2_the_score_outranks_the_prompt() -> None:
    tracker, calls = recorded(preset("sam2"), Script(score=-3.0))
    tracker.prompt(click(320, 240))
    (answer,) = tracker.step(frame(0)).objects
    assert not answer.visible
    assert answer.box_xyxy_px is None
    assert answer.state is ObjectState.LOST
    assert answer.admitted
    np.testing.assert_array_equal(calls.remembered[0].low_res_mask, np.full((64, 64), -1024))
    assert calls.remembered[0].score == -3


def test_an_absent_object_is_remembered_by_sam2_and_not_by_gated_presets() -> None:
    for name, admitted in (("sam2", True), ("samurai-paper", False), ("default", False)):
        tracker, calls = recorded(preset(name), script := Script())
        tracker.prompt(click(320, 240))
        tracker.step(frame(0))
        script.score = 0.0  # absent at the threshold itself
        calls.clear()
        (answer,) = tracker.step(frame(1)).objects
        assert not answer.visible
        assert answer.admitted is admitted
        assert len(calls.remembered) == admitted
        calls.clear()
        tracker.step(frame(2))
        if name == "default":  # its pointers are gated as well
            assert calls.attended[0].ptr_tpos == (2.0,)
            continue
        np.testing.assert_array_equal(calls.attended[0].obj_ptrs[1], np.full(16, -1))
        assert calls.attended[0].ptr_tpos == (2.0, 1.0)


def test_a_prompt_that_finds_nothing_is_not_remembered_by_ours() -> None:
    tracker, calls = recorded(preset("default"), script := Script(masks=((0, 0, 0),) * 4))
    tracker.prompt(click(320, 240))
    (answer,) = tracker.step(frame(0)).objects
    assert not answer.visible
    assert answer.reason == "the prompt gave no mask"
    assert not calls.remembered
    calls.clear()
    (answer,) = tracker.step(frame(1)).objects
    assert answer.state is ObjectState.LOST
    assert not answer.admitted
    assert not calls.attended
    assert not calls.decoded
    script.masks = ((20, 20, 10),) * 4
    tracker.prompt(click(320, 240))
    (answer,) = tracker.step(frame(2)).objects
    assert answer.visible
    assert answer.admitted
    assert calls.decoded[0].pix_feat is calls.decoded[0].features.pix_feat_no_mem


@ALL
def test_an_object_is_learnt_from_another_picture(settings: TrackerSettings) -> None:
    tracker, calls = recorded(settings, Script())
    reference = np.full((60, 80, 3), 9, np.uint8)
    mask = np.zeros((60, 80), np.bool_)
    mask[20:40, 30:50] = True
    tracker.prompt(Prompt(mask=mask, reference_bgr=reference))
    (answer,) = tracker.step(frame(0)).objects
    assert [picture.shape for picture in calls.images] == [(480, 640, 3), (60, 80, 3)]
    learnt, tracked = calls.decoded
    assert learnt.mask_input is not None
    assert tracked.features is not learnt.features
    (attended,) = calls.attended
    assert attended.tpos == (0,)
    assert attended.ptr_tpos == (0.0,)
    assert calls.remembered[0].features is learnt.features
    assert calls.remembered[0].is_prompted
    assert answer.memory_steps == (0,)
    assert answer.box_xyxy_px == pytest.approx((200, 150, 300, 225))


def test_objects_come_by_ascending_id_and_share_one_encoding() -> None:
    tracker, calls = recorded(preset("default"))
    for object_id in (9, 2, 254):
        tracker.prompt(click(100 + object_id, 200, object_id=object_id))
    result = tracker.step(frame(0))
    assert [answer.object_id for answer in result.objects] == [2, 9, 254]
    assert len(calls.images) == 1
    assert tracker.object_ids == (2, 9, 254)


def test_prompts_wait_for_their_frame() -> None:
    tracker, calls = recorded(preset("default"))
    tracker.prompt(click(320, 240, at=3))
    assert tracker.step(frame(1)).objects == ()
    assert not calls.images
    assert tracker.pending_prompts == 1
    assert tracker.step(frame(4)).objects[0].visible
    assert tracker.pending_prompts == 0


def test_steps_count_processed_frames_and_results_carry_their_frame() -> None:
    tracker, _ = recorded(preset("default"))
    tracker.prompt(click(320, 240))
    for step, index in enumerate((0, 3, 4, 11)):
        shown = frame(index)
        result = tracker.step(shown)
        assert result.step == step
        assert result.frame is shown
        assert set(result.stage_ms) == set(STAGES)
        assert result.stage_ms["encode"] > 0
    assert result.objects[0].memory_steps == (0, 2, 1)  # steps, not frame indices
    assert result.objects[0].memory_tiers == (Tier.CONDITIONING, Tier.WORKING, Tier.WORKING)


def test_masks_cannot_be_written() -> None:
    tracker, _ = recorded(preset("default"))
    tracker.prompt(click(320, 240))
    for index in range(2):
        logits = tracker.step(frame(index)).objects[0].mask_logits
        assert logits is not None
        assert logits.base is None
        with pytest.raises(ValueError, match="read-only"):
            logits[0, 0] = 1


def test_removing_one_and_all() -> None:
    tracker, _ = recorded(preset("default"))
    for object_id in (1, 2, 3):
        tracker.prompt(click(100 * object_id, 200, object_id=object_id))
    tracker.step(frame(0))
    tracker.prompt(click(10, 10, object_id=2, at=99))
    tracker.remove(2)
    tracker.remove(77)
    assert [answer.object_id for answer in tracker.step(frame(1)).objects] == [1, 3]
    assert tracker.pending_prompts == 0
    tracker.remove()
    assert tracker.step(frame(2)).objects == ()


def test_prompts_that_cannot_be_right_are_refused() -> None:
    tracker, calls = recorded(preset("default"))
    with pytest.raises(ValueError, match="the first prompt needs a positive point"):
        tracker.prompt(click(10, 10, label=0))
    tracker.prompt(click(10_000, 10, object_id=4))  # no picture yet: found out by the step
    tracker.prompt(click(10, 10))
    with pytest.raises(ValueError, match="object 4: point 10000,10 lies outside"):
        tracker.step(frame(0))
    assert not calls.images
    result = tracker.step(frame(0))
    assert result.step == 0
    assert [answer.object_id for answer in result.objects] == [1]
    with pytest.raises(ValueError, match="point 640,10 lies outside the picture 640x480"):
        tracker.prompt(click(640, 10))
    tracker.prompt(click(10, 10, label=0))  # a correction may be negative only


def test_a_closed_tracker_says_so() -> None:
    with recorded(preset("default"))[0] as tracker:
        tracker.prompt(click(320, 240))
        tracker.step(frame(0))
    tracker.close()
    for call in (lambda: tracker.step(frame(1)), lambda: tracker.prompt(click(1, 1))):
        with pytest.raises(RuntimeError, match="closed"):
            call()


def test_a_model_with_less_room_is_refused() -> None:
    for manifest, what in (
        (fake_manifest(max_cond=2), "max_cond: model .* at most 2 conditioning memories"),
        (replace(fake_manifest(), num_recent=2), "num_recent: model .* at most 2 recent memories"),
        (replace(fake_manifest(), max_recent_ptrs=3), "at most 3 recent pointers"),
    ):
        with (
            fake_networks(manifest=manifest) as networks,
            pytest.raises(ValueError, match=what),
        ):
            Tracker(networks, preset("default"))


def test_opening_what_is_not_there() -> None:
    with pytest.raises(ValueError, match=r"expected one of default, sam2, .*, got 'dam2'"):
        Tracker.open("nano", preset="dam2")
    with pytest.raises(EngineError, match="no-such-model"):
        Tracker.open("no-such-model")


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (None, 5, NOMINAL_STEP_S),
        (0, 40_000_000, 0.04),
        (10**9, 10**9, NOMINAL_STEP_S),
        (10**9, 0, NOMINAL_STEP_S),
        (0, 300 * 10**9, MAX_STEP_S),
    ],
)
def test_time_between_frames(before: int | None, now: int, expected: float) -> None:
    assert step_seconds(before, now) == pytest.approx(expected)


@ALL
def test_time_may_stand_still_or_run_backwards(settings: TrackerSettings) -> None:
    tracker, _ = recorded(settings)
    tracker.prompt(click(320, 240))
    picture = frame(0).image_bgr
    for index, time_s in enumerate((0, 0, 5, 4, 4, 3, 9_000, 1, 1.5, 2)):
        result = tracker.step(Frame(index, int(time_s * 10**9), 0, picture))
        assert result.objects[0].state is ObjectState.TRACKING


def test_the_attention_is_two_calls_from_the_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """The algorithm can be read in one place: no call of the tracker stands between."""
    networks = fake_networks()
    attend, ways = networks.attend, []

    def watched(*given: Any) -> DeviceTensor:
        calls = traceback.extract_stack()
        ways.append([call.name for call in calls if str(TRACKER_ROOM) in call.filename])
        return attend(*given)

    monkeypatch.setattr(networks, "attend", watched)
    with Tracker(networks, preset("default")) as tracker:
        tracker.prompt(click(320, 180))
        for index in range(3):
            tracker.step(frame(index))
    assert ways == [["step", "step"]] * 2
