"""What a recording that somebody else made names: model folders, backgrounds, hotkeys, profiles."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import cv2
import jsonschema
import numpy as np
import pytest

from run_live import main
from samcam.engines.base import EngineError
from samcam.live.commands import SetEffect
from samcam.live.config.load import load_settings
from samcam.live.config.request import Request
from samcam.live.config.schema import Settings, flat
from samcam.live.errors import CaptureError
from samcam.live.recording.fingerprint import fingerprint
from samcam.live.recording.header import read_header, write_header
from samcam.live.recording.named_files import PROVIDERS, mark_files, names_other_files
from samcam.live.recording.replay import Recording
from samcam.live.remote.command_text import PromptContext
from samcam.live.remote.hotkey_names import parse_bindings
from samcam.live.sources.options import SourceOptions
from samcam.system.files.places import on_another_machine
from tests.conftest import RunCli
from tests.helpers.recordings import add_command, one_step

PICTURE, VIDEO = "effect.replace.picture", "effect.replace.video"


def change(folder: Path, **header: Any) -> None:
    path = folder / "recording.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | header))


def settings_of(folder: Path, *sets: str, **request: Any) -> Settings:
    """Return the settings that a replay runs with."""
    asked = Request(replay=folder, overrides=sets, **request)
    replayed = Recording.open(folder).request(asked)
    return load_settings(None, replayed.overrides, replayed.recorded)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    one_step(tmp_path / "r")
    return tmp_path / "r"


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / ("long" * 20) / "back.png"  # messages show it whole
    path.parent.mkdir()
    cv2.imwrite(str(path), np.full((4, 6, 3), 90, np.uint8))
    return path


def name_background(folder: Path, path: Path, marked: bool, effect: str = "replace") -> None:
    values = flat(Settings()) | {PICTURE: str(path)}
    values, files = mark_files(values)
    rows = {key: {"sha256": f.sha256, "files": [], "bytes": f.bytes} for key, f in files.items()}
    change(folder, settings=values, effect=effect, files=rows if marked else {})


@pytest.mark.parametrize(
    "name", ["/etc", "~nosuchuser/x", "lib", "nano/../nano", "a\0b", "x" * 300]
)
def test_a_foreign_model_folder_is_not_loaded(name: str, recording: Path) -> None:
    """A header may name any folder; the replay loaded what stood there."""
    change(recording, model=name)
    with pytest.raises(EngineError, match=r"model .*; name a model with --model MODEL"):
        Recording.open(recording).request(Request(replay=recording))
    request = Request(replay=recording, model="nano", given=frozenset(["--model"]))
    assert Recording.open(recording).request(request).model == "nano"


def test_a_model_folder_of_the_recorded_content_is_loaded(recording: Path, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "manifest.json").write_text("{}")
    sha = fingerprint(tmp_path / "m" / "manifest.json").sha256
    change(recording, model=str(tmp_path / "m"), manifest_sha256=sha)
    request = Recording.open(recording).request(Request(replay=recording))
    assert request.model == str(tmp_path / "m")
    (tmp_path / "m" / "manifest.json").write_text("{ }")
    with pytest.raises(EngineError, match=r"is not the recorded one: manifest\.json has SHA-256"):
        Recording.open(recording).request(Request(replay=recording))


def test_the_program_does_not_open_a_foreign_model(run_cli: RunCli, recording: Path) -> None:
    """Also not to look at it: --doctor and --check-config say the same."""
    change(recording, model="/dev")
    for more in (["--output", "none"], ["--doctor"], ["--check-config"]):
        done = run_cli("--replay", recording, *more)
        assert done.returncode == 4, done.stderr
        assert done.stderr.count("error: ") == 1
        assert "Traceback" not in done.stderr


def test_a_background_of_the_recorded_content_is_shown(recording: Path, picture: Path) -> None:
    name_background(recording, picture, marked=True)
    assert settings_of(recording).effect.replace.picture == str(picture)
    header = read_header(recording)
    assert header.files[PICTURE].bytes == picture.stat().st_size


def test_the_background_is_in_the_schema(recording: Path, picture: Path, repo_root: Path) -> None:
    name_background(recording, picture, marked=True)
    write_header(recording, read_header(recording))
    schema = json.loads((repo_root / "docs/schemas/recording.schema.json").read_text())
    jsonschema.validate(json.loads((recording / "recording.json").read_text()), schema)


@pytest.mark.parametrize("given", [{"effect": "replace"}, {"per_object": {"1": "replace"}}, {}])
def test_another_background_is_not_read(
    given: dict[str, Any], recording: Path, picture: Path
) -> None:
    """Whatever the setting named was opened: any file of the user, or one without an end."""
    name_background(recording, picture, marked=True, effect=given.get("effect", "blur"))
    header = json.loads((recording / "recording.json").read_text())
    if "per_object" in given:
        change(recording, settings=header["settings"] | {"effect.per_object": {"1": "replace"}})
    elif not given:
        add_command(recording, 0, {"type": "SetEffect", "name": None, "object_id": None})
    picture.write_bytes(picture.read_bytes() + b"x")
    said = f'{PICTURE}: "{picture}" is not the recorded one: .* bytes, expected .*--set {PICTURE}='
    with pytest.raises(CaptureError, match=said):
        settings_of(recording)
    assert settings_of(recording, f"{PICTURE}=null").effect.replace.picture is None
    assert settings_of(recording, f"{PICTURE}={picture}").effect.replace.picture == str(picture)


@pytest.mark.parametrize("name", ["/dev/zero", "PIPE", "LOOP", "a\0b", "x" * 300, "~nosuchuser/x"])
def test_a_background_without_a_mark_is_not_opened(
    name: str, recording: Path, tmp_path: Path
) -> None:
    """So are those of recordings of earlier versions, which named them only."""
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "PIPE")
        (tmp_path / "LOOP").symlink_to("LOOP")
    path = name if name[0] in "/~" else str(tmp_path / name)
    for mark in ({}, {VIDEO: {"sha256": "0" * 64, "files": [], "bytes": 5}}):
        values = flat(Settings()) | {VIDEO: path}
        change(recording, settings=values, effect="replace", files=mark)
        with pytest.raises(CaptureError, match=f"{VIDEO}: .*; name it with --set {VIDEO}="):
            settings_of(recording)


def test_a_background_that_is_not_shown_is_left_out(
    recording: Path, picture: Path, caplog: pytest.LogCaptureFixture
) -> None:
    name_background(recording, picture, marked=False, effect="blur")
    assert settings_of(recording).effect.replace.picture is None
    assert f"{PICTURE}: left out" in caplog.text
    add_command(recording, 0, {"type": "SetEffect", "name": "replace", "object_id": None})
    with pytest.raises(CaptureError, match="recorded without its SHA-256"):
        settings_of(recording)
    # what is given on the command line leaves the recorded changes out
    given = {"effect": "blur", "given": frozenset(["--effect"])}
    assert settings_of(recording, **given).effect.replace.picture is None
    assert Recording.open(recording).commands[0].command == SetEffect("replace")


def test_hotkeys_that_name_files_are_left_out(
    recording: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The file of a hotkey's mask was read at the start, before anybody pressed it."""
    keys = {
        "<f1>": "prompt mask=/dev/zero",
        "<f2>": "prompt @/dev/zero",
        "<f3>": "prompt 'bbox_txt=/etc/passwd'",
        "<f4>": "profile save /tmp/evil/",
        "<f5>": "prompt point=1,2",
        "<f6>": "hide on",
    }
    change(recording, settings=flat(Settings()) | {"hotkeys.keys": keys})
    assert set(settings_of(recording).hotkeys.keys) == {"<f5>", "<f6>"}
    assert caplog.text.count("names a file") == 4
    kept = settings_of(recording, 'hotkeys.keys={"<f4>": "profile save x"}').hotkeys.keys
    assert dict(kept) == {"<f4>": "profile save x"}


def test_options_of_providers_are_left_out(
    recording: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One of TensorRT's names a library that it loads."""
    evil = {"tensorrt": {"trt_engine_decryption_lib_path": "/tmp/evil.so"}}
    change(recording, settings=flat(Settings()) | {PROVIDERS: [evil, {"cuda": {}}, "cpu"]})
    assert settings_of(recording).engine.providers == ("tensorrt", "cuda", "cpu")
    assert [x for x in caplog.messages if PROVIDERS in x] == [
        'replay: engine.providers: options of "tensorrt": left out: they may name libraries and '
        "folders; set them with --set engine.providers=..."
    ]
    own = settings_of(recording, f"{PROVIDERS}=[{{cpu: {{use_arena: 0}}}}]").engine.providers
    assert own == ({"cpu": {"use_arena": 0}},)
    older = {key: value for key, value in flat(Settings()).items() if key != PROVIDERS}
    change(recording, settings=older)
    assert settings_of(recording).engine.providers == ("CPUExecutionProvider",)
    for wrong in ([1], "x", [{"a": {}, "b": {}}], [{"cpu": {"x": [1]}, "y": 2}], None):
        change(recording, settings=flat(Settings()) | {PROVIDERS: wrong})
        with pytest.raises(CaptureError, match=PROVIDERS):
            settings_of(recording)


@pytest.mark.parametrize(
    "spec",
    [
        'bbox_""txt=FILE',
        'point=1,2 m"a"sk=FILE',
        "mask=FILE im''age=FILE",
        '"@FILE"',
        "object=1 'bbox_'txt=FILE",
        "\x85 bbox_txt=FILE",
        "\x85@FILE",
    ],
)
def test_a_file_is_not_opened_however_a_hotkey_spells_it(
    spec: str, recording: Path, tmp_path: Path
) -> None:
    """Quotes inside a word, and characters that YAML folds, hid the key from a search in texts."""
    name = tmp_path / "missing"  # that it is read is seen by the error
    keys = {"<f1>": f"prompt {spec}".replace("FILE", str(name)), "<f2>": "hide"}
    change(recording, settings=flat(Settings()) | {"hotkeys.keys": keys})
    settings = settings_of(recording)
    assert list(settings.hotkeys.keys) == ["<f2>"]
    assert parse_bindings(settings.hotkeys.keys, PromptContext((640, 360)), "linux")[1] == []


def test_what_is_not_left_out_of_hotkeys_is_still_not_opened(
    recording: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second look, at what is really read: the settings of the run, before anything is opened."""
    keys = {"<f1>": "prompt @/nowhere", "<f2>": "profile save /nowhere/x", "<f3>": "hide"}
    monkeypatch.setattr("samcam.live.recording.named_files._names_file", lambda command: False)
    change(recording, settings=flat(Settings()) | {"hotkeys.keys": keys}, model="nano")
    asked = ["--replay", str(recording), "--output", "none", "--check-config"]
    assert main(asked) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[3:5] for line in lines if "error: " in line] == [
        [key, "names a file, which a recording may not; expected another"] for key in list(keys)[:2]
    ]
    assert main([*asked, "--set", 'hotkeys.keys={"<f2>": "profile save /nowhere/x"}']) == 0


def test_a_recorded_setting_is_read_as_it_stands(recording: Path) -> None:
    """Characters that YAML folds or refuses: a text was another one after the check of it."""
    text = "".join(map(chr, (*range(0x20, 0x2100), *range(0xFE00, 0x10000), 0x1F600)))
    change(recording, settings=flat(Settings()) | {"hotkeys.keys": {"<f1>": text}})
    assert settings_of(recording).hotkeys.keys == {"<f1>": text}


def test_no_profile_is_saved_for_a_recording(recording: Path, tmp_path: Path) -> None:
    """A row of commands.jsonl had a profile written into any folder."""
    add_command(recording, 0, {"type": "SaveProfile", "name": f"{tmp_path}/evil/"})
    with pytest.raises(
        CaptureError, match=r"commands\.jsonl, line 1: command SaveProfile: .*no recording"
    ):
        Recording.open(recording)


@pytest.mark.parametrize(
    "text", ["#EXTM3U\n#EXTINF:1,\nother.mp4\n", "ffconcat version 1.0\nfile other.mp4\n"]
)
def test_a_list_of_other_files_is_not_opened(
    text: str, recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own fingerprint says nothing of the files that it names."""
    path = tmp_path / "list.mp4"
    path.write_text(text)
    mark = fingerprint(path)
    source = json.loads((recording / "recording.json").read_text())["source"]
    source |= {"kind": "file", "name": "list.mp4", "path": str(path)}
    source["fingerprint"] = {"sha256": mark.sha256, "files": [], "bytes": mark.bytes}
    change(recording, source=source)
    opened = Recording.open(recording)
    options = SourceOptions(fps=25.0)
    with pytest.raises(CaptureError, match=r"a list of other files.*name it with --source"):
        opened.open_source(str(path), options, exact=True)
    monkeypatch.setattr("samcam.live.recording.replay.open_source", lambda place, options: place)
    opened.open_source(str(path), options, exact=True, chosen=True)  # the user may
    shutil.copy(path, tmp_path / "copy.mp4")
    assert names_other_files(tmp_path / "copy.mp4")


def test_a_share_of_another_machine_is_told() -> None:
    assert on_another_machine(r"\\host\share\x", "nt")
    assert on_another_machine("//host/share/x", "nt")
    assert not on_another_machine(r"C:\x", "nt")
    assert not on_another_machine("//host/share/x", "posix")
