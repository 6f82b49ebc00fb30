"""What docs/schemas/config.schema.json takes is what the program takes, and the other way round."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from samcam.live.config.load import load_settings
from samcam.live.errors import ConfigError
from tools.schemas import schema_text

SCHEMA = Draft202012Validator(json.loads(schema_text("config")))
RIGHT = """
{}
{source: null, tracker: {crop: null}}
{source: {fps: 20, rotate: 90.0, demo_frames: 20.0, demo_size: [640.0, 480]}}
{source: {width: null}}
{engine: {threads: 2.0, providers: [CPUExecutionProvider]}}
{engine: {providers: [{openvino: {device_type: CPU, num_of_threads: 2, x: 0.5, y: true}}, cpu]}}
{engine: {torch: {device: cuda}}}
{engine: {torch: {device: cuda:12}}}
{effect: {per_object: {1: blur, 20: censor, 254: none}}}
{effect: {per_object: {"7": blur}}}
{effect: {per_object: null, replace: {color: [0, 255.0, 3]}}}
{tracker: {crop: {enabled: true}}}
{tracker: {crop: {enabled: "false"}}}
{hotkeys: {enabled: false}}
{hotkeys: {enabled: auto, keys: {}}}
{output: {delay_ms: auto, on_lost: hold, crf: 20.0}}
{output: {virtual_camera_size: [640, 480]}}
{window: {object_names: [dog]}}
"""
WRONG = """
{engine: {torch: {device: "cuda:x"}}}
{engine: {torch: {device: "cuda:123"}}}
{engine: {providers: []}}
{engine: {providers: X}}
{engine: {providers: [1]}}
{engine: {providers: [{}]}}
{engine: {providers: [{openvino: CPU}]}}
{engine: {providers: [{openvino: {x: [1]}}]}}
{engine: {providers: [{openvino: {x: null}}]}}
{engine: {providers: [{openvino: {}, cpu: {}}]}}
{engine: {threads: 2.5}}
{engine: {threads: true}}
{effect: {per_object: {0: blur}}}
{effect: {per_object: {255: blur}}}
{effect: {per_object: {"07": blur}}}
{effect: {per_object: {x: blur}}}
{effect: {per_object: {2.0: blur}}}
{effect: {per_object: {300: blur}}}
{effect: {per_object: {3: nothing}}}
{effect: {replace: {color: [0, 255]}}}
{effect: {replace: {color: [0, 255, 256]}}}
{source: {rotate: 45}}
{source: {rotate: "90"}}
{source: {mirror: 1}}
{source: {mirror: null}}
{source: {fps: "20"}}
{source: [fps]}
{tracker: {crop: {enabled: 1}}}
{hotkeys: {enabled: "on"}}
{hotkeys: {keys: [x]}}
{output: {on_lost: true}}
{output: {delay_ms: later}}
{output: {crf: 20.5}}
{window: {object_names: []}}
{nothing: {}}
"""


@pytest.mark.parametrize(
    ("text", "right"),
    [(text, lines is RIGHT) for lines in (RIGHT, WRONG) for text in lines.split("\n") if text],
)
def test_schema_and_program_agree(tmp_path: Path, text: str, right: bool) -> None:
    document = json.loads(json.dumps(yaml.safe_load(text)))  # keys as JSON has them
    assert SCHEMA.is_valid(document) == right
    path = tmp_path / "config.yaml"
    path.write_text(text)
    if right:
        load_settings(path)
    else:
        with pytest.raises(ConfigError):
            load_settings(path)
