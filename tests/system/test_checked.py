"""Settings made in Python: types, ranges and choices hold there as in a file."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from samcam import PRESETS, CropSettings, EngineError, EngineOptions, SourceOptions
from samcam.engines import TorchOptions

DEFAULT = PRESETS["default"]
WHOLE = r"expected a whole number 0\.\.64, got "


@pytest.mark.parametrize(
    ("base", "given", "said"),
    [
        (DEFAULT, {"prompt_history": 1000}, f"prompt_history: {WHOLE}1000"),
        (DEFAULT, {"prompt_history": -1}, f"prompt_history: {WHOLE}-1"),
        (DEFAULT, {"prompt_history": "8"}, f"prompt_history: {WHOLE}'8'"),
        (DEFAULT, {"prompt_history": True}, f"prompt_history: {WHOLE}True"),
        (DEFAULT, {"prompt_history": 8.0}, rf"prompt_history: {WHOLE}8\.0"),
        (DEFAULT, {"catch_up": "x"}, "catch_up: expected retrack or none, got 'x'"),
        (
            DEFAULT,
            {"presence_threshold": math.nan},
            "presence_threshold: expected a number -32.*nan",
        ),
        (DEFAULT, {"trust_prompts": 1}, "trust_prompts: expected True or False, got 1"),
        (DEFAULT, {"name": None}, "name: expected text, got None"),
        (DEFAULT, {"crop": 3}, "crop: expected CropSettings or None, got 3"),
        (DEFAULT, {"bank": None}, "bank: expected BankPolicy, got None"),
        (DEFAULT, {"make_gate": 3}, "make_gate: expected a function or class, got 3"),
        (DEFAULT.gate, {"hold_steps": -1}, "hold_steps: expected"),
        (DEFAULT.bank, {"recent_order": "rank"}, "recent_order: expected RecentOrder"),
        (DEFAULT.admission, {"motion_iou": 1.1}, r"motion_iou: expected a number -1\.\.1"),
        (DEFAULT.state, {"lost_s": math.inf}, "lost_s: expected"),
        (CropSettings(), {"zoom": -2}, r"zoom: expected a number 1\.2\.\.20, got -2"),
        (CropSettings(), {"zoom": math.nan}, "zoom: .*got nan"),
        (CropSettings(), {"zoom": "3"}, "zoom: .*got '3'"),
        (
            SourceOptions(),
            {"width": 3},
            r"width: expected a whole number 16\.\.16384 or None, got 3",
        ),
        (SourceOptions(), {"demo_size": (64, 8)}, r"demo_size: expected .* got \(64, 8\)"),
        (SourceOptions(), {"demo_size": (64,)}, "demo_size: expected a tuple"),
        (SourceOptions(), {"rotate": 91}, "rotate: expected 0, 90, 180 or 270, got 91"),
        (SourceOptions(), {"loop": "yes"}, "loop: expected True or False, got 'yes'"),
    ],
)
def test_what_cannot_be_right(base: Any, given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said) as one:
        replace(base, **given)
    assert "\n" not in str(one.value)


@pytest.mark.parametrize(
    ("base", "given", "said"),
    [
        (
            EngineOptions(),
            {"threads": 1.5},
            r"^threads: expected a whole number 0\.\.256, got 1\.5",
        ),
        (
            EngineOptions(),
            {"providers": "CPU"},
            "^providers: expected a list of one or more, each a name or .*, got 'CPU'",
        ),
        (EngineOptions(), {"providers": [("OpenVINO", {})]}, "^providers: expected a list of one"),
        (EngineOptions(), {"providers": [{"cpu": {}, "cuda": {}}]}, "^providers: expected a list"),
        (
            EngineOptions(),
            {"providers": [{"openvino": {"cache_dir": ["x"]}}]},
            "^providers: expected for openvino {OPTION: VALUE} with texts, numbers or truth values",
        ),
        (
            EngineOptions(),
            {"providers": ["cpu", "CPUExecutionProvider"]},
            "^providers: expected each provider once, not CPUExecutionProvider twice",
        ),
        (EngineOptions(), {"torch": None}, "^torch: expected TorchOptions, got None"),
        (TorchOptions(), {"device": 0}, "^torch device: expected auto, cpu, cuda or cuda:N, got 0"),
    ],
)
def test_engine_errors(base: Any, given: dict[str, Any], said: str) -> None:
    with pytest.raises(EngineError, match=said):
        replace(base, **given)


def test_lists_are_tuples_as_in_files() -> None:
    assert SourceOptions(demo_size=[64, 48]).demo_size == (64, 48)  # type: ignore[arg-type]
    assert EngineOptions(["CPUExecutionProvider"]) == EngineOptions()  # type: ignore[arg-type]


def test_presets_need_no_pydantic() -> None:
    code = "import sys, samcam; samcam.PRESETS; sys.exit('pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
