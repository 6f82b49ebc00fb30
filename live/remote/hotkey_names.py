"""Names of hotkeys, such as `<ctrl>+<alt>+h`, and their valid combinations; needs no package.

The names are pynput's, whose `HotKey.parse` reads them in the end. Left and right modifiers count
as one there, so their own names are left out; so are numbers of keys, which differ by system.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from itertools import permutations
from typing import Final

from samcam.live.remote.command_text import (
    AskStatus,
    CommandError,
    PromptContext,
    RemoteCommand,
    opens_file,
    parse_command,
)

MODIFIERS: Final = ("ctrl", "alt", "shift", "cmd", "alt_gr")
NAMED_KEYS: Final = (
    *("space", "enter", "tab", "backspace", "esc", "delete", "insert", "home", "end"),
    *("page_up", "page_down", "left", "right", "up", "down"),
    *("caps_lock", "num_lock", "scroll_lock", "print_screen", "pause", "menu"),
    *(f"f{number}" for number in range(1, 21)),
    *("media_play_pause", "media_volume_mute", "media_volume_down", "media_volume_up"),
    *("media_previous", "media_next"),
)
_TYPED: Final = ("<space>", "<enter>", "<tab>", "<backspace>")
_STRONG: Final = {"<ctrl>", "<alt>", "<cmd>", "<alt_gr>"}
_FUNCTION_KEYS: Final = {f"<f{number}>" for number in range(1, 21)}
_FORM: Final = "expected keys such as <ctrl>+<alt>+h"
MAX_BINDINGS: Final = 64


def parse_bindings(
    keys: Mapping[str, str],
    context: PromptContext | None = None,
    platform: str = sys.platform,
    opens: bool = True,
) -> tuple[dict[str, tuple[RemoteCommand, ...]], list[str]]:
    """Read the section `hotkeys.keys`.

    Args:
        keys: Keys to the command that they send.
        context: What prompts are checked against; None: only their form is.
        platform: As `sys.platform`.
        opens: Whether commands may open files of chosen names; else these are problems, unopened.

    Returns:
        Keys in one spelling with their commands, of use only without problems; and all problems,
        one line each.
    """
    problems: list[str] = []
    bindings: dict[str, tuple[RemoteCommand, ...]] = {}
    written: dict[frozenset[str], str] = {}
    if len(keys) > MAX_BINDINGS:
        problems.append(f"hotkeys.keys: {len(keys)} entries; expected at most {MAX_BINDINGS}")
    for text, command in keys.items():
        where = f"hotkeys.keys: {text}"
        parts: tuple[str, ...] = ()
        try:
            parts = split_keys(text)
            _check_parts(parts, platform)
        except ValueError as error:
            problems.append(f"{where}: {error}")
        else:
            twin = written.setdefault(frozenset(parts), text)
            if twin != text:
                problems.append(f"{where}: the same keys as {twin}; expected each once")
        try:
            if not opens and opens_file(command):
                raise CommandError("names a file, which a recording may not; expected another")
            bindings["+".join(parts)] = _read_command(command, context)
        except CommandError as error:
            problems.append(f"{where}: {error}")
    problems += _contained(written)
    return bindings, problems


def _read_command(text: str, context: PromptContext | None) -> tuple[RemoteCommand, ...]:
    try:
        commands = parse_command(text, context)
    except CommandError as error:  # which may offer the one that is refused below
        raise CommandError(str(error).removesuffix(", status")) from error
    if commands == (AskStatus(),):
        raise CommandError("status: has no answer here; expected a command that does something")
    return commands


def split_keys(text: str) -> tuple[str, ...]:
    """Return the keys of a combination in one spelling and order, modifiers first.

    Raises:
        ValueError: It is none; the text says why.
    """
    parts = [_spell(part) for part in _split(text.strip())]
    if len(set(parts)) < len(parts):
        raise ValueError(f"a key stands twice; {_FORM}")
    order = {f"<{name}>": n for n, name in enumerate(MODIFIERS)}
    return tuple(sorted(parts, key=lambda part: (order.get(part, len(order)), part)))


def _split(text: str) -> Iterator[str]:
    """Give what stands between the plus signs; a plus sign may be a key itself."""
    start = 0
    for position, character in enumerate(text):
        if character == "+" and position != start:
            yield text[start:position]
            start = position + 1
    if start == len(text):
        raise ValueError(f"a key is missing; {_FORM}")
    yield text[start:]


def _spell(part: str) -> str:
    part = part.strip()
    if len(part) == 1:
        return part.lower()
    name = part[1:-1].lower()
    if (part[:1], part[-1:]) == ("<", ">") and name in (*MODIFIERS, *NAMED_KEYS):
        return f"<{name}>"
    base = name.rpartition("_")[0]
    if name.endswith(("_l", "_r")) and base in MODIFIERS:
        raise ValueError(f"{part}: expected <{base}>, which is both of them")
    if part.lower() in (*MODIFIERS, *NAMED_KEYS):
        raise ValueError(f"{part}: unknown key; expected <{part.lower()}>")
    raise ValueError(
        f"{part or 'nothing'}: unknown key; expected one character, or one of "
        f"{' '.join(f'<{known}>' for known in MODIFIERS)} <space> <page_up> <f1> and so on"
    )


def _check_parts(parts: tuple[str, ...], platform: str) -> None:
    """Refuse combinations that would act while the user types, or never.

    Raises:
        ValueError: It would; the text says why.
    """
    modifiers = [part for part in parts if part[1:-1] in MODIFIERS]
    others = [part for part in parts if part[1:-1] not in MODIFIERS]
    if len(others) != 1:
        raise ValueError(f"{len(others)} keys beside the modifiers; expected one")
    (key,) = others
    if (len(key) == 1 or key in _TYPED) and not _STRONG.intersection(modifiers):
        raise ValueError(f"would act while you type; expected <ctrl>, <alt> or <cmd> with {key}")
    switches = {"<ctrl>", "<alt>"} <= set(modifiers) and key in _FUNCTION_KEYS
    if switches and platform.startswith("linux"):
        raise ValueError(f"Linux itself takes <ctrl>+<alt>+{key}; expected other keys")


def _contained(written: Mapping[frozenset[str], str]) -> Iterator[str]:
    """Give the problem with keys that press others on the way: both would act."""
    for smaller, larger in permutations(written, 2):
        if smaller < larger:
            yield (
                f"hotkeys.keys: {written[larger]}: contains {written[smaller]}, so both would "
                "act; expected keys that do not contain each other"
            )
