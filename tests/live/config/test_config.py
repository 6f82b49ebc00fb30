"""config.yaml, --set and their checks."""

from __future__ import annotations

import json
import re
from dataclasses import FrozenInstanceError, fields, is_dataclass
from pathlib import Path

import jsonschema
import pytest
import yaml
from jsonschema import Draft202012Validator

from samcam.live.cli.plan import plan_request
from samcam.live.config import Request
from samcam.live.config.load import load_settings
from samcam.live.config.schema import Settings, known_keys
from samcam.live.errors import ConfigError
from samcam.system import describe, leaves
from tools.settings_pages import pages


def problems_of(path: Path | None, *overrides: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load_settings(path, overrides)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return caught.value.problems


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_config_yaml_equals_the_defaults(repo_root: Path) -> None:
    assert load_settings(repo_root / "config.yaml") == Settings()


def test_the_pages_are_the_generated_ones() -> None:
    for path, text in pages().items():
        assert path.read_text(encoding="utf-8") == text, "run python -m tools.settings_pages"


def test_every_key_has_a_meaning_and_a_comment_with_unit_and_range(repo_root: Path) -> None:
    """In config.yaml each stands above its key, in the reference in its row."""
    text = (repo_root / "config.yaml").read_text(encoding="utf-8")
    words = " ".join(re.sub("^ *#", "", text, flags=re.MULTILINE).split())
    rows = (repo_root / "docs" / "configuration.md").read_text(encoding="utf-8").splitlines()
    found = dict(leaves(Settings))
    assert list(found) == list(known_keys())
    for key, schema in found.items():
        assert len(schema["description"]) > 10, f"{key}: no meaning"
        said = f"{schema['description']} Allowed: {describe(schema)} {key.rpartition('.')[2]}:"
        assert said in words, f"config.yaml: {said}"
        assert any(row.startswith(f"| `{key}` |") for row in rows), f"{key}: no row"


def test_config_yaml_fits_the_schema(repo_root: Path) -> None:
    schema = json.loads((repo_root / "docs/schemas/config.schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    document = yaml.safe_load((repo_root / "config.yaml").read_text(encoding="utf-8"))
    jsonschema.validate(document, schema)
    document["source"]["fps"] = 0
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, schema)


def test_settings_are_frozen_all_the_way_down() -> None:
    settings = Settings()
    with pytest.raises(FrozenInstanceError):
        settings.source = settings.source  # type: ignore[misc]
    sections = [settings]
    while sections:
        section = sections.pop()
        assert is_dataclass(section)
        assert type(section).__dataclass_params__.frozen  # type: ignore[attr-defined]
        children = [getattr(section, item.name) for item in fields(section)]
        sections += [child for child in children if is_dataclass(child)]


def test_every_default_passes_its_own_check() -> None:
    overrides = []
    settings = Settings()
    for key in known_keys():
        value: object = settings
        for name in key.split("."):
            value = getattr(value, name)
        shown = list(value) if isinstance(value, tuple) else value
        text = yaml.safe_dump(shown, default_flow_style=True).removesuffix("...\n").strip()
        overrides.append(f"{key}={text}")
    assert load_settings(None, overrides) == settings


def test_file_and_overrides(tmp_path: Path) -> None:
    """The command line wins over the file, its last word over its first; the rest is default."""
    path = write(
        tmp_path / "config.yaml", "source:\n  fps: 12.5\n  mirror: true\noutput:\nengine: {}\n"
    )
    settings = load_settings(path, ["source.fps=5", "source.fps=6", "source.camera_fps=1e1"])
    assert settings.source.fps == 6.0
    assert isinstance(settings.source.fps, float)
    assert settings.source.mirror is True
    assert settings.source.camera_fps == 10.0
    assert settings.output == Settings().output
    assert load_settings(write(path, "")) == Settings()


def test_unknown_keys_name_the_nearest(tmp_path: Path) -> None:
    path = write(tmp_path / "c.yaml", "source:\n  fsp: 3\nsauce:\n  mirror: true\n3: x\n")
    assert problems_of(path, "widow.fps=3", "nothing.like.it=3") == (
        f"{path}, line 2: source.fsp: unknown key; the nearest valid one is source.fps",
        f"{path}, line 3: sauce: unknown key; the nearest valid one is source",
        f"{path}, line 5: 3: unknown key",
        "--set: widow.fps: unknown key; the nearest valid one is window",
        "--set: nothing.like.it: unknown key",
    )


def test_the_preset_is_no_key_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "c.yaml", "preset: long\ntracker:\n  preset: dam\n")
    hint = "no setting; expected on the command line: --preset NAME"
    assert problems_of(path, "model=nano") == (
        f"{path}, line 1: preset: {hint}",
        f"{path}, line 3: tracker.preset: {hint}",
        f"--set: model: {hint.replace('preset', 'model')}",
    )


def test_problems_come_in_the_order_of_the_file_and_only_near_keys_are_offered(
    tmp_path: Path,
) -> None:
    path = write(
        tmp_path / "c.yaml",
        "source: &s {fps: 0, width: 640, heigth: 480}\neffect:\n  rotate: 90\n  fps: 3\n"
        "  chroma: {colour: [1, 2, 3]}\nsource.: 5\nwindow:\n  <<: *s\n  max_width: 1\n",
    )
    with pytest.raises(ConfigError) as caught:
        plan_request(
            Request(effect="replace", overrides=("effect.replace.picture=nope.jpg",)), path
        )
    lines = [line.removeprefix(f"{path}, ") for line in caught.value.problems]
    assert lines == [
        "line 1: source.fps: 0: expected a number 0.1..1000 (frames/s)",
        "line 1: source.heigth: unknown key; the nearest valid one is source.height",
        "line 1: window.fps: unknown key",
        "line 1: window.width: unknown key; the nearest valid one is window.max_width",
        "line 1: window.heigth: unknown key",
        "line 3: effect.rotate: unknown key",
        "line 4: effect.fps: unknown key",
        "line 5: effect.chroma.colour: unknown key; the nearest valid one is effect.chroma.color",
        "line 6: source.: unknown key",
        "line 9: window.max_width: 1: expected a whole number 160..16384 (px)",
        "line 1: source.width: 640 with source.height: null: expected both or neither",
        "--set: effect.replace.picture: nope.jpg: cannot be read: No such file or directory; "
        "expected a picture file",
    ]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("1:30", "1:30: a number in base 60; expected base 10"),
        ("010", "010: a number in base 8; expected base 10"),
        ("'1:30'", "'1:30': expected a number"),
        ("1\n---\n2", "expected a single document in the stream, but found another document"),
    ],
)
def test_numbers_that_yaml_reads_otherwise_and_two_documents(text: str, part: str) -> None:
    (line,) = problems_of(None, f"source.fps={text}")
    assert part in line


def test_no_problem_is_lost_behind_a_hundred_others(tmp_path: Path) -> None:
    """More than a hundred at once, of which only the first came, ended in a traceback."""
    keys = {f"<ctrl>+{number}": number for number in range(150)}
    text = yaml.safe_dump({"hotkeys": {"keys": keys}, "record": {"crf": 99}})
    path = write(tmp_path / "config.yaml", text)
    first, last = problems_of(path)
    assert "hotkeys.keys: {" in first
    assert "record.crf: 99: expected a whole number 0..51" in last
    with pytest.raises(ConfigError) as caught:  # a foreign recording's
        load_settings(None, given={"hotkeys.keys": keys, "record.crf": 99})
    assert len(caught.value.problems) == 2


def test_a_set_is_no_list() -> None:
    """It has no order, which would be width and height here."""
    (problem,) = problems_of(None, "source.demo_size=!!set {320, 240}")
    assert "not valid YAML" in problem


def test_what_wins_over_a_mistake_does_not_hide_it(tmp_path: Path) -> None:
    path = write(tmp_path / "c.yaml", "source: {fps: 0}\n")
    (line,) = problems_of(path, "source.fps=5")
    assert line.startswith(f"{path}, line 1: source.fps: 0: expected a number 0.1..1000")


def test_old_keys_are_refused_with_their_new_names(tmp_path: Path) -> None:
    path = write(tmp_path / "c.yaml", "tracker:\n  window:\n    zoom: 2\n  window.growth: 2\n")
    assert problems_of(path, "tracker.window.zoom=2") == (
        f"{path}, line 2: tracker.window: has a new name; expected tracker.crop",
        f"{path}, line 4: tracker.window.growth: has a new name; expected tracker.crop.growth",
        "--set: tracker.window.zoom: has a new name; expected tracker.crop.zoom",
    )


def test_all_problems_at_once_with_key_value_and_range(tmp_path: Path) -> None:
    path = write(
        tmp_path / "c.yaml",
        "source:\n  fps: 0\n  mjpg: 1\n  rotate: 45\noutput:\n  crf: 20.5\n  on_lost: show\n",
    )
    lines = problems_of(path, "metrics.period_s=.inf", "source.width=true", "nonsense", "a=[")
    text = "\n".join(lines)
    assert len(lines) == 9
    for part in (
        "source.fps: 0: expected a number 0.1..1000 (frames/s)",
        "source.mjpg: 1: expected true or false",
        "source.rotate: 45: expected one of 0 | 90 | 180 | 270",
        "output.crf: 20.5: expected a whole number 0..51",
        "output.on_lost: show: expected one of hide_all | hold | passthrough, or null",
        "--set: metrics.period_s: .inf: expected a number 0.5..3600 (s)",
        "--set: source.width: true: expected a whole number",
        "--set nonsense: expected KEY=VALUE",
        "--set a=[: the value is not valid YAML",
        f"{path}, line 2: source.fps",
        f"{path}, line 7: output.on_lost",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("source: 3\n", "source: 3: expected a section"),
        ("- a\n- b\n", "expected sections"),
        ("source:\n  fps: [\n", "not valid YAML"),
        ("source:\n  fps: 3\n  fps: 4\n", "fps stands twice"),
        ("source:\n  fps:\n    x: 1\n", "source.fps: {x: 1}: expected a number"),
        ("? [a, b]\n: 3\n", "not valid YAML"),
        ("source:\n  fps: 2024-13-45\n", "not valid YAML: month must be in 1..12"),
        ("bogus: {}\n", "bogus: unknown key"),
    ],
)
def test_files_of_the_wrong_form(tmp_path: Path, text: str, part: str) -> None:
    path = write(tmp_path / "c.yaml", text)
    (line,) = problems_of(path)
    assert part in line
    assert str(path) in line


def test_missing_and_binary_files(tmp_path: Path) -> None:
    (line,) = problems_of(tmp_path / "none.yaml")
    assert "none.yaml" in line
    assert "No such file" in line
    (line,) = problems_of(tmp_path)
    assert "--config" not in line
    assert line.count("expected") == 1
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00\x80")
    (line,) = problems_of(binary)
    assert "cannot be read" in line


def test_cross_field_checks() -> None:
    (line,) = problems_of(None, "source.width=640")
    assert "source.width: 640" in line
    assert "source.height" in line
    assert load_settings(None, ["source.width=640", "source.height=480"]).source.height == 480


def test_torch_devices() -> None:
    for device in ("auto", "cpu", "cuda", "cuda:1"):
        assert load_settings(None, [f"engine.torch.device={device}"]).engine.torch.device == device
    for device in ("gpu", "cuda:", "cuda:x", "cpu "):
        (line,) = problems_of(None, f"engine.torch.device='{device}'")
        expected = f"engine.torch.device: {device}: expected auto, cpu, cuda or cuda:N"
        assert expected in line.replace("'", "")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_a_file_as_windows_writes_it(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes("source:\r\n  fps: 12\r\n".encode(encoding))
    assert load_settings(path).source.fps == 12
