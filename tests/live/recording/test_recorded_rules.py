"""A recording has the rules of its preset: what later versions make of the preset changes nothing
in a replay."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import field, fields, is_dataclass, make_dataclass, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from samcam.live.cli.plan import plan_request
from samcam.live.config import Request
from samcam.live.errors import CaptureError
from samcam.live.recording.header import read_header, write_header
from samcam.live.recording.replay import Recording
from samcam.live.recording.rules import _BEFORE, _CODE, preset_of, rules_of
from samcam.live.tracker import NO_GUIDE, PRESETS, TrackerSettings
from samcam.memory import DistractorTest
from tests.helpers.recordings import one_step


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A recording of one step, as if another version had other rules for `default`."""
    one_step(tmp_path / "rec")
    default = PRESETS["default"]
    assert default.gate is not None
    gate = replace(default.gate, weight=0.4, start_iou=0.9)
    rules = rules_of(replace(default, gate=gate, recovery=None, camera_motion=False))
    write_rules(tmp_path / "rec", rules)
    return tmp_path / "rec"


def write_rules(folder: Path, rules: dict[str, Any] | None) -> None:
    write_header(folder, replace(read_header(folder), rules=rules))


def tracker_of(folder: Path, *overrides: str, **given: str) -> TrackerSettings:
    names = frozenset(f"--{name}" for name in given)
    asked = Request(replay=folder, overrides=overrides, given=names, **given)  # type: ignore[arg-type]
    return plan_request(Recording.open(folder).request(asked), None).tracker


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_the_same_after_json(name: str) -> None:
    rules = json.loads(json.dumps(rules_of(PRESETS[name]), allow_nan=False))
    assert preset_of(name, rules) == PRESETS[name]


def test_a_replay_goes_by_the_recorded_rules(folder: Path) -> None:
    tracker = tracker_of(folder)
    assert tracker.gate is not None
    assert (tracker.gate.weight, tracker.gate.start_iou) == (0.4, 0.9)
    assert (tracker.recovery, tracker.camera_motion) == (None, False)


def test_what_is_set_now_counts_instead(folder: Path) -> None:
    tracker = tracker_of(folder, "tracker.gate.weight=0.1")
    assert tracker.gate is not None
    assert (tracker.gate.weight, tracker.gate.start_iou) == (0.1, 0.9)
    assert tracker_of(folder, preset="default").gate == PRESETS["default"].gate
    assert tracker_of(folder, preset="sam2").gate is None


def test_a_rule_that_came_later_is_off(folder: Path) -> None:
    rules = rules_of(PRESETS["default"])
    del rules["recovery"], rules["drop_far_parts"], rules["gate"]["slack"]
    write_rules(folder, rules)
    tracker = tracker_of(folder)
    assert tracker.gate is not None
    assert (tracker.recovery, tracker.drop_far_parts, tracker.gate.slack) == (None, False, 0)
    write_rules(folder, None)
    assert tracker_of(folder).recovery is not None


def test_a_rule_that_came_later_to_a_section_is_as_before(folder: Path) -> None:
    rules = rules_of(PRESETS["default"])
    del rules["recovery"]["motion_s"], rules["recovery"]["shown"]
    write_rules(folder, rules)
    recovery = tracker_of(folder).recovery
    assert recovery is not None
    assert (recovery.motion_s, recovery.shown, recovery.sure) == (0, 0, 0.6)


# Recordings have these rules, by section of the preset. A rule that is not among them came later:
# leave these lines as they are.
RECORDED = {
    "tracker": "bank memory anchors admission gate state presence_threshold corrections_condition "
    "trust_prompts prompt_history catch_up camera_motion drop_far_parts crop guide recovery rivals",
    "tracker.bank": "max_cond recent_order gate_pointers clamp_pointer_offset keep_previous "
    "max_recent max_memories recent_stride working_most working_least anchoring max_anchors top_k",
    "tracker.memory": "enable_long_term enable_short_term min_mid_term_frames max_mid_term_frames "
    "max_long_term_elements mem_every top_k",
    "tracker.anchors": "predicted_iou area_change min_gap distractor_iou",
    "tracker.admission": "predicted_iou object_score motion_iou",
    "tracker.gate": "weight stable_steps stable_iou reset_when_weak start_iou follow_iou "
    "hold_steps hold_s slack",
    "tracker.state": "uncertain_iou certain_iou doubt_steps lost_steps lost_s recover_steps "
    "recovered_s",
    "tracker.crop": "zoom min_share growth",
    "tracker.recovery": "sure remembered doubt_s shown regained motion_s speed",
}


def changed_rules(cls: Any, path: str = "tracker") -> Iterator[str]:
    """Give the rules of a section that recordings no longer fit: that are gone, or that came later
    and are neither off by their default nor among what was before."""
    names, hints = RECORDED[path].split(), get_type_hints(cls)
    made = {item.name: item for item in fields(cls) if item.name not in _CODE}
    yield from (f"{path}.{name}: gone" for name in names if name not in made)
    for name, item in made.items():
        key = f"{path}.{name}"
        if name not in names:
            if key not in _BEFORE and item.default not in (None, False, 0, NO_GUIDE):
                yield f"{key}: not off in recordings that do not have it"
        elif inner := [
            kind for kind in (hints[name], *get_args(hints[name])) if is_dataclass(kind)
        ]:
            yield from changed_rules(inner[0], key)


def test_rules_that_come_later_are_off_in_a_replay() -> None:
    assert [*changed_rules(TrackerSettings)] == []


def test_a_rule_that_would_be_on_in_older_replays_is_noticed() -> None:
    new = [("off", float, field(default=0.0)), ("on", float, field(default=0.5)), ("named", int)]
    later = make_dataclass("Later", new[:2], bases=(DistractorTest,), frozen=True)
    assert [*changed_rules(later, "tracker.anchors")] == [
        "tracker.anchors.on: not off in recordings that do not have it"
    ]
    less = make_dataclass("Less", [new[2]], frozen=True)
    assert [line.rpartition(": ")[2] for line in changed_rules(less, "tracker.crop")] == [
        *["gone"] * 3,
        "not off in recordings that do not have it",
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"made_up": 1}, "rules.made_up: unknown to this version"),
        ({"bank": {"made_up": 1}}, "rules.bank.made_up: unknown to this version"),
        ({"bank": {"max_cond": 500}}, "rules.bank.max_cond: expected a whole number 1..4"),
        ({"bank": {"recent_order": "any"}}, "rules.bank.recent_order: expected "),
        ({"gate": {"weight": 0.5}}, "rules.gate.stable_steps: missing"),
        ({"gate": 5}, "rules.gate: expected "),
        ({"catch_up": "never"}, "rules.catch_up: expected retrack or none"),
        ({"make_gate": "os.system"}, "rules.make_gate: unknown to this version"),
    ],
)
def test_rules_that_do_not_fit_are_refused(
    folder: Path, changes: dict[str, Any], said: str
) -> None:
    write_rules(folder, rules_of(PRESETS["default"]) | changes)
    with pytest.raises(CaptureError) as caught:
        tracker_of(folder)
    assert said in str(caught.value)
    assert str(caught.value).endswith("to use the rules of this one: --preset default")
    assert "\n" not in str(caught.value)
