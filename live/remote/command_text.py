"""Commands as text: one grammar for `ctl`, for the hotkeys of `config.yaml` and for their help.

`FORMS` lists all commands; `parse_command` turns a line into the values of
`live.commands`, `parse_words` what a shell made of one. `PinStep` has no word: it serves the window
alone, which knows what is on screen.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from samcam.live.commands import (
    Command,
    CommitMask,
    CycleCandidate,
    GuideBox,
    HideFeed,
    RemoveObject,
    SaveProfile,
    SetEffect,
    UndoPrompt,
)
from samcam.live.effects import EFFECT_NAMES, NO_EFFECT
from samcam.live.errors import ConfigError
from samcam.live.frames import MAX_OBJECT_ID, MIN_OBJECT_ID, Prompt
from samcam.live.profiles import absolute_name, name_problems
from samcam.live.prompts import (
    AT_START,
    KEYS,
    PromptFiles,
    TextLimits,
    check_prompt_texts,
    is_prompt_text,
    names_file,
    parse_prompts,
)
from samcam.live.sources import MAX_MEGAPIXELS

MAX_CYCLE: Final = 9
_SHOWN_PROBLEMS: Final = 8

_OBJECT_IDS: Final = range(MIN_OBJECT_ID, MAX_OBJECT_ID + 1)
_OBJECT: Final = f"an object {MIN_OBJECT_ID}..{MAX_OBJECT_ID}"
_SHIFTS: Final = tuple(n for n in range(-MAX_CYCLE, MAX_CYCLE + 1) if n)
_SHIFT: Final = f"a number -{MAX_CYCLE}..{MAX_CYCLE} but 0"


@dataclass(frozen=True, slots=True)
class Quit:
    """End the run as the window's quit key does."""


@dataclass(frozen=True, slots=True)
class AskStatus:
    """Give the state of the run; changes nothing."""


RemoteCommand: TypeAlias = Command | Quit | AskStatus


class CommandError(ValueError):
    """A text that is not a command; one line: what, which value, what was expected."""


@dataclass(frozen=True, slots=True)
class PromptContext:
    """What a prompt's text is read against.

    Attributes:
        size_wh: Width and height of the source picture; coordinates must lie inside.
        folder: Where relative file names start.
        pipes: Whether a file may be a pipe or device, which can be waited for without end.
        max_megapixels: Larger pictures are refused.
        limits: How much of a text is read.
        frame_count: Length of the source; None: unknown, or without end.
    """

    size_wh: tuple[int, int]
    folder: Path = Path()
    pipes: bool = True
    max_megapixels: float = MAX_MEGAPIXELS
    limits: TextLimits = AT_START
    frame_count: int | None = None


@dataclass(frozen=True, slots=True)
class Form:
    """One word of the grammar.

    Attributes:
        word: What the command begins with.
        arguments: How what follows is written.
        meaning: One line.
    """

    word: str
    arguments: str
    meaning: str

    @property
    def usage(self) -> str:
        """The whole command as it is written."""
        return f"{self.word} {self.arguments}".rstrip()


FORMS: Final = (
    Form("prompt", '"SPEC"', "point at an object, as --prompt does; at once, unless frame=N"),
    Form("reset", "[ID]", "remove an object, or all"),
    Form("undo", "[ID]", "take back the last prompt of an object, or of any"),
    Form("cycle", "ID [N]", "the next larger mask for the last click, or N further (-1: smaller)"),
    Form("commit", "ID", "keep the object's present mask in memory, like a prompt"),
    Form("guide-box", '"SPEC"', "where a detector has it: object=ID box=X1,Y1,X2,Y2 [step=N]"),
    Form(
        "effect",
        "NAME|next [ID]",
        "change the effect, or an object's own; none ID: leave it as it is",
    ),
    Form("hide", "[on|off]", "hide everything that is sent, or show it again"),
    Form("profile", "save NAME", "save source, effect and visible objects for --profile NAME"),
    Form("quit", "", "end the run"),
    Form("status", "", "the state of the run as JSON"),
)
_USAGE: Final = {form.word: form.usage for form in FORMS}


def join_problems(problems: Sequence[str]) -> str:
    """Return all problems as one line; of many the first ones and how many more there are."""
    shown = "; ".join(problems[:_SHOWN_PROBLEMS])
    more = len(problems) - _SHOWN_PROBLEMS
    return f"{shown}; and {more} more" if more > 0 else shown


def describe_commands() -> list[str]:
    """Return one line for each command."""
    width = max(len(form.usage) for form in FORMS)
    return [f"{form.usage:<{width}}  {form.meaning}" for form in FORMS]


def parse_command(text: str, context: PromptContext | None = None) -> tuple[RemoteCommand, ...]:
    """Read one line.

    Args:
        text: Such as `reset 1` or `prompt "object=2 point=320,240"`; the quotes may be left out.
        context: What prompts are checked against. None: only their form is, and nothing comes back
            for them.

    Returns:
        One command; several where a prompt is `@FILE.jsonl`.

    Raises:
        CommandError: It is not a command, or names something impossible.
    """
    word, rest = _first_word(text)
    if word == "prompt":
        return _read_prompt(_without_quotes(rest), context)
    return _parse(word, _split(rest), context)


def opens_file(text: str) -> bool:
    """Whether a line that `parse_command` takes reads or writes a file of a chosen name."""
    word, rest = _first_word(text)
    return word == "profile" or (word == "prompt" and names_file(_without_quotes(rest)))


def _first_word(text: str) -> tuple[str, str]:
    """Return the word of a command and what follows it."""
    word, _, rest = text.strip().partition(" ")
    return word, rest.strip()


def parse_words(
    words: Sequence[str], context: PromptContext | None = None
) -> tuple[RemoteCommand, ...]:
    """Read a command as a shell gives it: a blank in a word was quoted and belongs to it.

    Args:
        words: Such as `profile`, `save`, `my guitar`; a single one is read as a line.
        context: As for `parse_command`.

    Raises:
        CommandError: As for `parse_command`.
    """
    if len(words) < 2:
        return parse_command("".join(words), context)
    word, *rest = words
    if word != "prompt":
        return _parse(word, rest, context)
    if rest[0].startswith("@"):
        return _read_prompt(" ".join(rest), context)
    spec = _without_quotes(rest[0]) if len(rest) == 1 else " ".join(rest)
    if not is_prompt_text(spec):  # the shell took the quotes of a file name
        spec = " ".join(one if _is_written_out(one) else _quoted_pair(one) for one in rest)
    return _read_prompt(spec, context)


def _parse(
    word: str, rest: Sequence[str], context: PromptContext | None
) -> tuple[RemoteCommand, ...]:
    """Read a command other than a prompt."""
    if not word:
        raise CommandError(f"no command given; expected one of {', '.join(_USAGE)}")
    if word not in _READERS:
        raise CommandError(f"{word}: unknown command; expected one of {', '.join(_USAGE)}")
    words = _Words(word, rest, Path() if context is None else context.folder)
    commands = _READERS[word](words)
    words.end()
    return (commands,)


def _split(text: str) -> list[str]:
    """Split at blanks that are not in quotes; a quote that is not closed is a letter."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars="")
    lexer.whitespace_split, lexer.escape, lexer.commenters = True, "", ""
    try:
        return list(lexer)
    except ValueError:
        return text.split()


def _without_quotes(spec: str) -> str:
    """Take off quotes around a whole prompt."""
    if len(spec) > 1 and spec[0] in "\"'" and spec.find(spec[0], 1) == len(spec) - 1:
        return spec[1:-1].strip()
    return spec


def _is_written_out(word: str) -> bool:
    """Whether a word holds several pairs, so that its blanks belong to no single name."""
    pairs = sum(part.partition("=")[0] in KEYS for part in word.split() if "=" in part)
    return pairs > 1 or is_prompt_text(word)


def _quoted_pair(word: str) -> str:
    """Write `mask=my file.png` so that it stays one pair."""
    key, _, value = word.partition("=")
    return f"{key}={shlex.quote(value)}" if value else shlex.quote(word)


class _Words:
    """The words after a command's first one, taken from the left."""

    def __init__(self, word: str, rest: Sequence[str], folder: Path) -> None:
        self.folder = folder
        self._word = word
        self._rest = list(rest)

    def take(self) -> str | None:
        """Return the next one, None where there is none."""
        return self._rest.pop(0) if self._rest else None

    def take_object(self) -> int | None:
        """Return the next one as an object's number, None where there is none."""
        text = self.take()
        return None if text is None else self._whole(text, _OBJECT, _OBJECT_IDS)

    def need_object(self) -> int:
        """Return the next one as an object's number."""
        return self._whole(self.take() or "", _OBJECT, _OBJECT_IDS)

    def take_shift(self) -> int:
        """Return the next one as how far to cycle, 1 where there is none."""
        text = self.take()
        return 1 if text is None else self._whole(text, _SHIFT, _SHIFTS)

    def end(self) -> None:
        """Refuse what is left over."""
        if self._rest:
            raise self.error(" ".join(self._rest), "nothing more")

    def error(self, value: str, expected: str) -> CommandError:
        """Return the error about a value."""
        shown = f"{self._word} {value}".rstrip()
        return CommandError(f"{shown}: expected {expected}, as in: {_USAGE[self._word]}")

    def _whole(self, text: str, expected: str, allowed: Collection[int]) -> int:
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdigit() and len(digits) < 10):
            raise self.error(text, expected)
        if int(text) not in allowed:
            raise self.error(text, expected)
        return int(text)


_GUIDE_BOX: Final = "guide-box object=1 box=300,150,420,300"
_EFFECT_WORDS: Final = (*EFFECT_NAMES, "next", NO_EFFECT)


def _read_effect(words: _Words) -> RemoteCommand:
    name = words.take()
    if name not in _EFFECT_WORDS:
        raise words.error(name or "", " | ".join(_EFFECT_WORDS))
    object_id = words.need_object() if name == NO_EFFECT else words.take_object()
    return SetEffect(None if name == "next" else name, object_id)


def _read_guide_box(words: _Words) -> RemoteCommand:
    given: dict[str, str] = {}
    while (text := words.take()) is not None:
        for word in text.split():  # a shell's quotes may hold all of them
            key, equals, value = word.partition("=")
            if key not in ("object", "box", "step") or not equals or key in given:
                raise _guide_box_error(word, "object=, box= or step=, each once")
            given[key] = value
    shown = " ".join(f"{key}={value}" for key, value in given.items())
    missing = [f"{key}=" for key in ("object", "box") if key not in given]
    if missing:
        raise _guide_box_error(shown, f"also {' and '.join(missing)}")
    try:
        x1, y1, x2, y2 = (float(value) for value in given["box"].split(","))
    except ValueError as error:
        raise _guide_box_error(f"box={given['box']}", "four numbers, in pixels") from error
    object_id = _whole_of(given, "object")
    step = _whole_of(given, "step") if "step" in given else None
    try:
        return GuideBox(object_id, x1, y1, x2, y2, step)
    except ValueError as error:
        raise CommandError(f"guide-box {shown}: {error}") from error


def _whole_of(given: Mapping[str, str], key: str) -> int:
    try:
        return int(given[key])
    except ValueError as error:
        raise _guide_box_error(f"{key}={given[key]}", "a whole number") from error


def _guide_box_error(value: str, expected: str) -> CommandError:
    shown = f"guide-box {value}".rstrip()
    return CommandError(f"{shown}: expected {expected}, as in: {_GUIDE_BOX}")


def _read_hide(words: _Words) -> RemoteCommand:
    switch = words.take()
    if switch not in (None, "on", "off"):
        raise words.error(switch, "on or off, or nothing for the other of both")
    return HideFeed(None if switch is None else switch == "on")


def _read_profile(words: _Words) -> RemoteCommand:
    verb, name = words.take(), words.take()
    if verb != "save" or name is None:
        raise words.error(" ".join(filter(None, (verb, name))), "save and a name")
    words.end()
    name = absolute_name(name, words.folder)
    problems = name_problems(name)
    if problems:
        raise CommandError(join_problems([p.removeprefix("--") for p in problems]))
    return SaveProfile(name)


_READERS: Final[dict[str, Callable[[_Words], RemoteCommand]]] = {
    "reset": lambda words: RemoveObject(words.take_object()),
    "undo": lambda words: UndoPrompt(words.take_object()),
    "cycle": lambda words: CycleCandidate(words.need_object(), words.take_shift()),
    "commit": lambda words: CommitMask(words.need_object()),
    "guide-box": _read_guide_box,
    "effect": _read_effect,
    "hide": _read_hide,
    "profile": _read_profile,
    "quit": lambda words: Quit(),
    "status": lambda words: AskStatus(),
}


def _read_prompt(spec: str, context: PromptContext | None) -> tuple[Prompt, ...]:
    if not spec:
        raise CommandError(
            f"prompt: expected what to point at, such as point=320,240, as in: {_USAGE['prompt']}"
        )
    try:
        if context is None:
            check_prompt_texts([spec])
            return ()
        files = PromptFiles(context.folder, context.pipes, context.max_megapixels, context.limits)
        # A running stream has long passed frame 0: without frame=N it is the next one.
        prompts = parse_prompts(
            [spec], context.size_wh, context.frame_count, files, default_frame=None
        )
    except ConfigError as error:
        # one line: the reader of a socket, or of a log, gets no more
        raise CommandError(join_problems([p.removeprefix("--") for p in error.problems])) from error
    if not prompts:
        raise CommandError(f"prompt {spec}: the file has no prompt; expected one or more lines")
    return tuple(prompts)
