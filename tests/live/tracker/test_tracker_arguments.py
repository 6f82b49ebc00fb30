"""What is handed to the Python API and cannot be right: one line that names it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from samcam import EngineError, Prompt, Tracker, open_source
from samcam.engines import fake_networks
from samcam.live.commands import CommitMask, CycleCandidate, HoverRequest, PinStep
from samcam.live.tracker import PRESETS
from tests.helpers.results import textured

MASK = np.ones((4, 6), np.uint8)


def refused(call: Callable[[], object], kind: type[Exception], said: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(kind, match=said) as one:
            call()
    assert "\n" not in str(one.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"object_id": 1.5}, r"object_id: expected a whole number 1\.\.254, got 1\.5"),
        ({"object_id": True}, "object_id: .*got True"),
        ({"object_id": "1"}, "object_id: .*got '1'"),
        ({"object_id": None}, "object_id: .*got None"),
        ({"object_id": 255}, "object_id: .*got 255"),
        ({"step": -1}, "step: expected a whole number of at least 0, got -1"),
        ({"frame_index": -1}, "frame_index: .*got -1"),
        ({"frame_index": 2.0}, r"frame_index: .*got 2\.0"),
        ({"candidate": "x"}, "candidate: .*got 'x'"),
        ({"labels": [0.5]}, "labels: expected 1 values of 0 or 1"),
        ({"labels": [[1], [1, 0]]}, "labels: expected 1 values of 0 or 1"),
        ({"points_xy_px": [["a", 2]]}, r"points_xy_px: .*got \[\['a', 2\]\]"),
        ({"points_xy_px": [[1, 2], [3]]}, "points_xy_px: expected pairs"),
        ({"points_xy_px": [[1, 1e39]]}, "expected finite numbers"),
        ({"box_xyxy_px": "1,2,3,4"}, "box_xyxy_px: expected numbers X1,Y1,X2,Y2"),
    ],
)
def test_fields_of_a_prompt(given: dict[str, Any], said: str) -> None:
    fields = {"points_xy_px": [[1, 2]], "labels": [1]} | given
    refused(lambda: Prompt(**fields), ValueError, said)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: Prompt.click("a", 2), "x: expected a number, got 'a'"),  # type: ignore[arg-type]
        (lambda: Prompt.click(1, None), "y: expected a number, got None"),  # type: ignore[arg-type]
        (lambda: Prompt.click(10**400, 1), "expected finite numbers"),
        (lambda: Prompt.click(1, 1, positive=0.5), "labels: expected"),  # type: ignore[arg-type]
        (lambda: Prompt.box(1e39, 1, 2, 2), "object 1: coordinates: expected finite numbers"),
        (lambda: Prompt.box(1, 1, 2, True), "y2: expected a number, got True"),
        (lambda: Prompt(mask=MASK * np.float32(np.nan)), r"mask: .*got \(4, 6\) float32"),
        (lambda: Prompt(mask=MASK * 7), r"got \(4, 6\) uint8 with other values"),
        (lambda: Prompt(mask=np.dstack([MASK] * 3)), r"mask: .*got \(4, 6, 3\) uint8"),
        (lambda: Prompt(mask="mask.png"), r"mask: expected \(H, W\) bool"),  # type: ignore[arg-type]
    ],
)
def test_prompts(call: Callable[[], Prompt], said: str) -> None:
    refused(call, ValueError, said)


@pytest.mark.parametrize("given", [MASK, MASK * 255, MASK > 0, MASK.astype(np.int64), [[0, 1]]])
def test_masks_as_programs_have_them(given: Any) -> None:
    mask = Prompt(mask=given).mask
    assert mask is not None
    assert mask.dtype == np.bool_
    np.testing.assert_array_equal(mask, np.asarray(given) > 0)


def test_numbers_of_numpy_are_numbers() -> None:
    prompt = Prompt.click(np.float32(3.5), np.int64(4), np.int64(7), step=np.int32(2))  # type: ignore[arg-type]
    np.testing.assert_array_equal(prompt.points_xy_px, [[3.5, 4]])
    assert type(prompt.object_id) is type(prompt.step) is int


@pytest.mark.parametrize(
    ("call", "kind", "said"),
    [
        (lambda t, p: t.step(p, 1e300), ValueError, r"time_s: expected seconds, got 1e\+300"),
        (lambda t, p: t.step(p, 10**400), ValueError, "time_s: expected seconds"),
        (lambda t, p: t.step(p, "x"), ValueError, "time_s: expected a number, got 'x'"),
        (lambda t, p: t.step(p[0]), ValueError, r"picture: expected \(H, W, 3\) uint8, got"),
        (lambda t, p: t.prompt(3), TypeError, "prompt: expected a Prompt, got int"),
        (lambda t, p: t.apply(3), TypeError, "command: expected a Prompt, or a command"),
        (lambda t, p: t.hover(3), TypeError, "request: expected a HoverRequest, got int"),
        (lambda t, p: t.remove("a"), ValueError, "object_id: expected a whole number"),
        (lambda t, p: t.undo(1.5), ValueError, "object_id: expected a whole number"),
        (lambda t, p: t.suggest("a"), ValueError, "step: expected a whole number"),
        (lambda t, p: t.apply(CycleCandidate("a")), ValueError, "object_id: expected"),
        (lambda t, p: t.apply(CycleCandidate(1, "x")), ValueError, "by: expected"),
        (lambda t, p: t.apply(CommitMask(None)), ValueError, "object_id: expected"),
        (lambda t, p: t.apply(PinStep("a")), ValueError, "step: expected"),
        (lambda t, p: t.hover(HoverRequest(1, 0, "x", 2)), ValueError, "x: expected a number"),
    ],
)
def test_calls(call: Callable[[Any, Any], object], kind: type[Exception], said: str) -> None:
    picture = textured((96, 64))
    with Tracker(fake_networks(), PRESETS["default"]) as tracker:
        tracker.prompt(Prompt.click(30, 30))
        tracker.step(picture)
        refused(lambda: call(tracker, picture), kind, said)
        assert tracker.step(picture).objects


class NoBackend:
    """A class without what is asked of it."""

    def __init__(self, *_: object) -> None:
        pass


class NoRun(NoBackend):
    """It has everything, and nothing of it is right."""

    inputs = outputs = 3

    def run(self, _: object) -> None: ...

    def close(self) -> None: ...


def failing(*_: object) -> None:
    raise RuntimeError("no such chip\nat all")


@pytest.mark.parametrize(
    ("given", "kind", "said"),
    [
        ({"model": 3}, TypeError, "model: expected a name such as nano, or the path of a folder"),
        ({"model": Path("nano")}, EngineError, r"model \./nano: expected nano, .*no folder"),
        (
            {"preset": 3},
            TypeError,
            "preset: expected a name of PRESETS or TrackerSettings, got int",
        ),
        ({"preset": None}, TypeError, "preset: expected .*got NoneType"),
        ({"options": 3}, TypeError, "options: expected EngineOptions, got int"),
        ({"backend": 3}, TypeError, "backend: expected a name or a class, got int"),
        (
            {"backend": NoBackend},
            EngineError,
            "backend NoBackend: has no inputs, outputs, run, close",
        ),
        ({"backend": NoRun}, EngineError, "backend NoRun: failed: TypeError"),
        ({"backend": failing}, EngineError, "backend failing: failed: RuntimeError: no such chip"),
    ],
)
def test_opening(given: dict[str, Any], kind: type[Exception], said: str) -> None:
    refused(lambda: Tracker.open(**given), kind, said)


def test_a_gate_without_methods() -> None:
    settings: Any = replace(PRESETS["default"], make_gate=lambda _: object())
    with fake_networks() as networks:
        said = "make_gate: its gate has no box, moved, fork"
        refused(lambda: Tracker(networks, settings), TypeError, said)


def test_paths(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A path is a file or folder, also one called as something built in."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").mkdir()
    cv2.imwrite("demo/1.png", textured((96, 64)))
    for spec in (Path("demo"), tmp_path / "demo"):
        source = open_source(spec)
        assert source.info.size_wh == (96, 64)
        source.close()
    refused(lambda: open_source(0), TypeError, "source: expected a text .*, or a path, got int")  # type: ignore[arg-type]
    refused(lambda: open_source("demo", 3), TypeError, "options: expected SourceOptions, got int")  # type: ignore[arg-type]
