"""A recording has the rules of its preset: what later versions make of the preset changes nothing
in a replay."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from samcam.live.cli.plan import plan_request
from samcam.live.config import Request
from samcam.live.errors import CaptureError
from samcam.live.recording.header import read_header, write_header
from samcam.live.recording.replay import Recording
from samcam.live.recording.rules import preset_of, rules_of
from samcam.live.tracker import PRESETS, TrackerSettings
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
