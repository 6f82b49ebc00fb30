"""Commands as text: every word, every form, every error."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import pytest

from samcam.live.commands import (
    Command,
    CommitMask,
    CycleCandidate,
    GuideBox,
    HideFeed,
    PinStep,
    RemoveObject,
    SaveProfile,
    SetEffect,
    UndoPrompt,
)
from samcam.live.frames import Prompt
from samcam.live.remote.command_text import (
    FORMS,
    AskStatus,
    CommandError,
    PromptContext,
    Quit,
    RemoteCommand,
    describe_commands,
    parse_command,
    parse_words,
)

CONTEXT = PromptContext((640, 360))

WORDS: list[tuple[str, RemoteCommand]] = [
    ("reset 1", RemoveObject(1)),
    ("reset", RemoveObject(None)),
    ("profile save desk", SaveProfile("desk")),
    ("undo", UndoPrompt(None)),
    ("undo 254", UndoPrompt(254)),
    ("cycle 2", CycleCandidate(2, 1)),
    ("cycle 2 3", CycleCandidate(2, 3)),
    ("cycle 2 -1", CycleCandidate(2, -1)),
    ("commit 7", CommitMask(7)),
    ("guide-box object=2 box=1,2.5,30,40", GuideBox(2, 1, 2.5, 30, 40)),
    ("guide-box step=7 box=1,2,30,40 object=9", GuideBox(9, 1, 2, 30, 40, 7)),
    ("effect blur", SetEffect("blur", None)),
    ("effect blur 3", SetEffect("blur", 3)),
    ("effect next", SetEffect(None, None)),
    ("effect next 3", SetEffect(None, 3)),
    ("effect none 3", SetEffect("none", 3)),
    ("hide", HideFeed(None)),
    ("hide on", HideFeed(True)),
    ("hide off", HideFeed(False)),
    ("quit", Quit()),
    ("status", AskStatus()),
    ("  reset   1  ", RemoveObject(1)),
]


@pytest.mark.parametrize(("text", "command"), WORDS)
def test_every_word(text: str, command: RemoteCommand) -> None:
    assert parse_command(text) == (command,)
    assert parse_command(text, CONTEXT) == (command,)


def test_every_command_has_a_word() -> None:
    """A new command must get a word, or a reason in the module's text."""
    said = {type(command) for _, command in WORDS} | {Prompt}
    assert set(get_args(Command)) - said == {PinStep}
    assert {text.split()[0] for text, _ in WORDS} | {"prompt"} == {form.word for form in FORMS}


def test_one_line_of_help_for_each() -> None:
    lines = describe_commands()
    assert len(lines) == len(FORMS)
    for line, form in zip(lines, FORMS, strict=True):
        assert line.startswith(form.usage)
        assert line.endswith(form.meaning)
        assert len(line) <= 100


@pytest.mark.parametrize("quoted", ['"{}"', "'{}'", "{}"])
def test_prompts(quoted: str) -> None:
    """The SPEC's own grammar, quoted or not; the next frame, not frame 0, which is long gone."""
    text = "prompt " + quoted.format("object=2 point=320,240 neg=5.5,6")
    (prompt,) = parse_command(text, CONTEXT)
    assert isinstance(prompt, Prompt)
    assert prompt.object_id == 2
    assert prompt.points_xy_px.tolist() == [[320, 240], [5.5, 6]]
    assert prompt.labels.tolist() == [1, 0]
    assert prompt.frame_index is None
    assert prompt.step is None


def test_a_guides_box_may_be_quoted_as_a_whole() -> None:
    whole = parse_words(["guide-box", "object=1 box=1,2,3,4"])
    assert whole == parse_words(["guide-box", "object=1", "box=1,2,3,4"])
    assert whole == (GuideBox(1, 1, 2, 3, 4),)


def test_a_prompt_for_a_frame_to_come() -> None:
    (prompt,) = parse_command("prompt box=1,2,30,40 frame=500", CONTEXT)
    assert isinstance(prompt, Prompt)
    assert prompt.frame_index == 500


def test_a_prompt_for_a_frame_that_never_comes() -> None:
    """It was ok, and waited for the end; the command line refuses it."""
    context = replace(CONTEXT, frame_count=500)
    with pytest.raises(CommandError, match=r"frame=500: the source has 500 frames; expected 0\.\."):
        parse_command("prompt box=1,2,30,40 frame=500", context)
    assert parse_command("prompt box=1,2,30,40 frame=499", context)


@pytest.mark.parametrize("text", ["prompt box=1,2,30,40 frame=0", "prompt @p.jsonl"])
def test_frame_0_that_was_said_is_no_next_frame(text: str, tmp_path: Path) -> None:
    """`ctl` took it for "not said"; the tracker says that it has passed."""
    (tmp_path / "p.jsonl").write_text('{"point": [5, 6], "frame": 0}\n')
    (prompt,) = parse_command(text, replace(CONTEXT, folder=tmp_path))
    assert isinstance(prompt, Prompt)
    assert prompt.frame_index == 0


def test_files_of_prompts_start_from_the_callers_folder(tmp_path: Path) -> None:
    mask = np.zeros((360, 640), np.uint8)
    mask[10:20, 10:20] = 255
    assert cv2.imwrite(str(tmp_path / "my mask.png"), mask)
    rows = '{"point": [1, 2]}\n{"object": 2, "mask": "my mask.png"}\n'
    (tmp_path / "two.jsonl").write_text(rows)
    context = PromptContext((640, 360), tmp_path)
    (one,) = parse_command("prompt mask='my mask.png'", context)
    assert isinstance(one, Prompt)
    assert one.mask is not None
    assert int(one.mask.sum()) == 100
    two = parse_command("prompt @two.jsonl", context)
    assert [p.object_id for p in two if isinstance(p, Prompt)] == [1, 2]


def test_without_a_picture_only_the_form_of_a_prompt_counts() -> None:
    assert parse_command("prompt point=99999,1") == ()
    with pytest.raises(CommandError, match="point=x,1: expected X,Y"):
        parse_command("prompt point=x,1")
    with pytest.raises(CommandError, match="box 30,10,20,20: empty box"):
        parse_command("prompt box=30,10,20,20")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["no command", "prompt, reset"]),
        ("   ", ["no command"]),
        ("panic", ["panic: unknown command", "hide"]),
        ("Reset 1", ["Reset: unknown"]),
        ("reset x", ["reset x", "object 1..254", "reset [ID]"]),
        ("reset 0", ["reset 0", "object 1..254"]),
        ("reset 255", ["reset 255", "object 1..254"]),
        ("reset 1 2", ["reset 2", "nothing more"]),
        ("reset \u0661", ["object 1..254"]),
        ("reset 99999999999999999999", ["object 1..254"]),
        ("undo one", ["undo one", "object 1..254"]),
        ("undo 1 2", ["nothing more"]),
        ("cycle", ["cycle: expected an object 1..254", "cycle ID [N]"]),
        ("cycle 1 0", ["cycle 0", "-9..9 but 0"]),
        ("cycle 1 --1", ["cycle --1", "-9..9 but 0"]),
        ("cycle 1 10", ["cycle 10", "-9..9"]),
        ("cycle 1 2 3", ["nothing more"]),
        ("commit", ["commit: expected an object 1..254"]),
        ("commit 1 1", ["nothing more"]),
        (
            "guide-box",
            ["guide-box: expected also object= and box=, as in: guide-box object=1 box=300,"],
        ),
        (
            "guide-box object=1",
            ["guide-box object=1: expected also box=, as in: guide-box object=1 box="],
        ),
        ("guide-box 1 box=1,2,3,4", ["guide-box 1: expected object=, box= or step=, each once"]),
        ("guide-box object=1 box=1,2,3", ["guide-box box=1,2,3: expected four numbers, in pixels"]),
        ("guide-box object=1 box=1,2,3,x", ["guide-box box=1,2,3,x: expected four numbers"]),
        ("guide-box object=1 box=1,2,3,4 step=x", ["guide-box step=x: expected a whole number"]),
        ("guide-box object=one box=1,2,3,4", ["guide-box object=one: expected a whole number"]),
        ("guide-box object=300 box=1,2,3,4", ["object_id: expected a whole number 1..254"]),
        ("effect", ["effect: expected highlight | blur"]),
        ("effect glow", ["effect glow", "highlight | blur", "next"]),
        ("effect none", ["effect: expected an object 1..254"]),
        ("effect blur all", ["effect all", "object 1..254"]),
        ("effect blur 1 2", ["nothing more"]),
        ("hide maybe", ["hide maybe", "on or off"]),
        ("hide on now", ["nothing more"]),
        ("quit now", ["quit now", "nothing more"]),
        ("status json", ["status json", "nothing more"]),
        ("prompt", ["prompt: expected", "point=320,240"]),
        ('prompt ""', ["prompt: expected"]),
        ("prompt 320,240", ["320,240: expected key=value"]),
        ("prompt mask=my old mask.jpg object=7", ["quotes: mask='my old mask.jpg'"]),
        ("prompt point=640,0", ["point=640,0", "640x360"]),
        ('prompt "point=1,1', ["a quote is not closed"]),
        ("prompt colour=red x=1", ["colour: unknown key", "; ", "x: unknown key"]),
        ("prompt @none.jsonl", ["none.jsonl", "cannot be read"]),
        ("prompt @empty.jsonl", ["no prompt", "expected a line such as"]),
    ],
)
def test_errors(text: str, parts: list[str], tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(CommandError) as caught:
        parse_command(text, PromptContext((640, 360), tmp_path))
    message = str(caught.value)
    assert "\n" not in message
    assert "--prompt" not in message, "that is the command line's"
    for part in parts:
        assert part in message


def test_a_name_with_blanks_among_other_pairs_is_told_how_to_be_quoted() -> None:
    """The shell's quotes stand around the whole prompt: all of it was taken for the name."""
    with pytest.raises(CommandError, match=r"needs quotes: mask='my mask\.jpg'"):
        parse_words(["prompt", "mask=my mask.jpg object=7"], PromptContext((640, 360)))


@pytest.mark.parametrize("word", ["-x", "point=", "mask"])
def test_what_was_given_is_said_and_no_quotes_with_it(word: str) -> None:
    """`ctl prompt -x` was answered with `prompt "-x''"`."""
    for context in (None, PromptContext((640, 360))):
        with pytest.raises(CommandError) as caught:
            parse_words(["prompt", word], context)
        assert word in str(caught.value)
        assert "''" not in str(caught.value)
