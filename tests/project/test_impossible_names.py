"""Names that no file can have and links in a circle are errors of one line, never a traceback."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from run_live import main
from samcam.engines.base import EngineError
from samcam.engines.model_folder import find_model
from samcam.live.cli.plan import plan_request
from samcam.live.cli.recording_options import check_recording_options
from samcam.live.config.request import Request
from samcam.live.errors import CaptureError, ConfigError, SinkError
from samcam.live.metrics.file import MetricsWriter
from samcam.live.profiles import ProfileError, load_profile, save_profile
from samcam.live.prompts.text import parse_prompts
from samcam.live.recording.recorder import prepare_folder
from samcam.live.recording.replay import Recording
from samcam.live.remote.command_text import CommandError, PromptContext, parse_words
from samcam.live.sinks.choose import same_place
from samcam.live.sinks.masks import MasksSink
from samcam.live.sinks.suggestions_file import SuggestionsFile
from samcam.live.sinks.video import VideoOptions, VideoSink
from samcam.live.sources.choose import open_source
from samcam.live.sources.options import SourceOptions
from samcam.system.files.bounded_files import one_line
from samcam.system.files.places import is_file, is_folder, is_loop, is_there, resolved

TOO_LONG = "n" * 300


@pytest.fixture
def loop(tmp_path: Path) -> Path:
    (tmp_path / "other").symlink_to("loop")
    (tmp_path / "loop").symlink_to("other")
    return tmp_path / "loop"


def test_questions_have_an_answer_for_every_name(loop: Path, tmp_path: Path) -> None:
    for path in (loop, loop / "x", tmp_path / TOO_LONG, Path("a\0b")):
        assert not is_there(path)
        assert not is_file(path)
        assert not is_folder(path)
        assert resolved(path).is_absolute()
        assert not same_place(path, tmp_path)
    assert is_loop(loop)


OPENERS: tuple[Callable[[Path], object], ...] = (
    lambda path: VideoSink(path / "x.mp4", 30.0, VideoOptions()),
    lambda path: VideoSink(path.with_name(path.name + ".mp4") / "x.mp4", 30.0, VideoOptions()),
    MasksSink,
    MetricsWriter,
    prepare_folder,
    Recording.open,
    lambda path: SuggestionsFile(path, "s", "m"),
    lambda path: find_model(str(path)),
)


@pytest.mark.parametrize("opener", OPENERS[:1] + OPENERS[2:])
def test_whoever_opens_a_circle_says_why(opener: Callable[[Path], object], loop: Path) -> None:
    with pytest.raises((SinkError, CaptureError, EngineError), match=re.escape(str(loop))):
        opener(loop)
    assert loop.is_symlink()


@pytest.mark.parametrize("opener", OPENERS)
def test_whoever_opens_too_long_a_name_says_why(
    opener: Callable[[Path], object], tmp_path: Path
) -> None:
    with pytest.raises((SinkError, CaptureError, EngineError), match=TOO_LONG):
        opener(tmp_path / TOO_LONG)


def test_the_checks_before_the_run_take_them(loop: Path, tmp_path: Path) -> None:
    for name in (str(loop), str(tmp_path / TOO_LONG)):
        request = Request(
            outputs=(f"masks:{name}", f"video:{name}/x.mp4"),
            metrics=Path(name),
            record=Path(name + "r"),
        )
        check_recording_options(request)
        plan_request(request, None)
    with pytest.raises(ConfigError, match="given twice"):
        plan_request(Request(outputs=(f"masks:{loop}", f"masks:{loop}")), None)


@pytest.mark.parametrize("name", ["a\0b.png", "~a\0b", "a\0b#2", "\ud800.png"])
@pytest.mark.parametrize("row", [{"mask": "?"}, {"bbox_txt": "?"}, {"mask": "x.png", "image": "?"}])
def test_a_name_that_no_file_can_have_in_a_prompt(
    name: str, row: dict[str, str], tmp_path: Path
) -> None:
    """It was "embedded null byte", and in a mask without the value."""
    given = {key: name if value == "?" else value for key, value in row.items()}
    (tmp_path / "p.jsonl").write_text(json.dumps(given))
    with pytest.raises(ConfigError) as caught:
        parse_prompts([f"@{tmp_path / 'p.jsonl'}"], (32, 18))
    (line,) = caught.value.problems
    key = list(given)[-1]
    assert f"p.jsonl, line 1: {key}=" in line
    assert "not a name that a file can have" in line
    words = ["prompt", *(f"{key}={value}" for key, value in given.items())]
    with pytest.raises(CommandError, match="not a name that a file can have"):
        parse_words(words, PromptContext((32, 18), tmp_path, pipes=False))


@pytest.mark.parametrize(
    "words", [["prompt", "@a\0b"], ["profile", "save", "a\0/b"], ["profile", "save", "~a\0/b"]]
)
def test_ctl_refuses_a_name_that_no_file_can_have(words: list[str], tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="not a name that a file can have"):
        parse_words(words, PromptContext((32, 18), tmp_path, pipes=False))
    with pytest.raises(CommandError, match="not a name that a file can have"):
        parse_words(
            ["prompt", "mask=b.png"], PromptContext((32, 18), tmp_path / "a\0", pipes=False)
        )


@pytest.mark.parametrize("key", ["picture", "video"])
def test_a_setting_with_a_name_that_no_file_can_have(key: str) -> None:
    """A traceback."""
    wrong = f'effect.replace.{key}="a\\0b"'
    with pytest.raises(ConfigError, match=f"effect.replace.{key}: .*not a name that a file can"):
        plan_request(Request(effect="replace", overrides=(wrong,)), None)


@pytest.mark.parametrize("spec", ["a\0b", "/a\0b.png", "~a\0b"])
def test_a_source_with_a_name_that_no_file_can_have(spec: str) -> None:
    """As a profile may say it."""
    with pytest.raises(CaptureError, match="not a name that a file can have"):
        open_source(spec, SourceOptions())


def test_a_profile_with_a_name_that_no_file_can_have() -> None:
    options = dict.fromkeys(("source", "model", "preset", "effect"), "x")
    picture = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(ProfileError, match="not a name that a file can have"):
        save_profile("a\0/b", options, picture, {1: np.ones((4, 4), np.bool_)})
    with pytest.raises(ConfigError, match="not a name that a file can have"):
        load_profile("a\0/b")


OPTIONS = (
    ("--source", "?"),
    ("--model", "?"),
    ("--prompt", "mask=?"),
    ("--prompt", "bbox_txt=?"),
    ("--prompt", "@?"),
    ("--output", "video:?/x.mp4"),
    ("--output", "masks:?"),
    ("--record", "?"),
    ("--replay", "?"),
    ("--metrics", "?"),
    ("--config", "?"),
    ("--save-profile", "?/x"),
    ("--profile", "?/x"),
    ("--suggest", "?"),
    ("--effect=replace", "--set=effect.replace.picture=?"),
    ("--effect=replace", "--set=effect.replace.video=?"),
)


@pytest.mark.parametrize("options", OPTIONS, ids=" ".join)
def test_every_option_answers_for_itself(
    options: tuple[str, ...], loop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No catch-all at the end: each says what the name was for, with its own exit code."""
    demo = () if options[0] in ("--replay", "--source") else ("--source", "demo")
    quick = () if options[0] == "--replay" else ("--set", "source.demo_frames=1")
    for name in (str(loop), TOO_LONG):
        given = [word.replace("?", name) for word in options]
        more = () if options[0] == "--suggest" else ("--output", "none")
        assert main([*demo, *quick, *more, *given]) in (2, 3, 4, 5)
        lines = [line for line in capsys.readouterr().err.splitlines() if "error: " in line]
        assert len(lines) == 1
        assert name in lines[0]


def test_a_model_whose_manifest_names_a_file_that_cannot_be(
    nano_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Too long a name in it was a traceback but for the catch-all."""
    shutil.copytree(nano_dir, tmp_path / "m")
    path = tmp_path / "m" / "manifest.json"
    row = json.loads(path.read_text())
    for name in (TOO_LONG, "a\0b"):
        row["files"]["mask_decoder"]["file"] = name
        path.write_text(json.dumps(row))
        given = ["--source", "demo", "--model", str(tmp_path / "m"), "--output", "none"]
        assert main(given) == 4
        assert f"{one_line(name)}: missing" in capsys.readouterr().err.splitlines()[-1]
