"""Which key means what: the one table for the window and its help."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

ESCAPE: Final = "\x1b"
DELETE: Final = "\x7f"
# As global hotkeys spell those keys that may stand there without Ctrl or Alt.
_HOTKEY_NAMES: Final = {ESCAPE: "<esc>", DELETE: "<delete>", " ": "<space>"}


class Key(Enum):
    """What a key asks for, by the characters that do."""

    QUIT = f"q{ESCAPE}"
    HELP = "h"
    REMOVE = f"x{DELETE}"
    RESET = "r"
    RESET_ALL = "k"
    UNDO = "u"
    COMMIT = "c"
    SMALLER = "["
    LARGER = "]"
    NEW_OBJECT = "n"
    PREVIOUS_OBJECT = ","
    NEXT_OBJECT = "."
    EFFECT = "e"
    PANIC = "p"
    FREEZE = " "
    SUGGEST = "a"
    MEMORY = "m"


_KEYS: Final = {character: key for key in Key for character in key.value}
HELP_LINES: Final = (
    ("left click", "this is the object"),
    ("right click", "this is not"),
    ("drag", "box around the object"),
    ("wheel or [ ]", "smaller or larger mask for the last click"),
    ("middle click", "remove the object under the pointer"),
    ("Delete or x", "remove this object"),
    ("1 .. 9", "which object the next click is for"),
    (", and .", "the object before, the next one"),
    ("n", "a new object"),
    ("u", "take back the last prompt"),
    ("r", "reset this object"),
    ("Shift+r or k", "reset all objects"),
    ("c", "keep the present mask in memory"),
    ("space", "freeze this picture to click in, let it go"),
    ("a", "suggest objects to click: left takes one, right drops it"),
    ("m", "what is in memory of this object"),
    ("e", "next effect"),
    ("p", "panic: hide all that leaves, show it again"),
    ("h", "this list"),
    ("q or Esc", "quit"),
)


@dataclass(frozen=True, slots=True)
class KeyPress:
    """A key that went down; once for as long as it is held.

    Attributes:
        character: What it types, `ESCAPE`, `DELETE`, or "" for one that types nothing.
        base: What it types without modifiers.
        held: The modifiers, as global hotkeys spell them: `<ctrl>`, `<alt>`, `<alt_gr>`,
            `<shift>`, `<cmd>`.
        shortcut: Whether one of them makes it a command to somebody else, and no character.
    """

    character: str
    base: str = ""
    held: frozenset[str] = frozenset()
    shortcut: bool = False

    def is_one_of(self, hotkeys: Iterable[frozenset[str]]) -> bool:
        """Whether a global hotkey acts on it; more modifiers than it names do not stop one."""
        keys = self.held | {_HOTKEY_NAMES.get(self.base, self.base)}
        return any(hotkey <= keys for hotkey in hotkeys)


def key_of(press: KeyPress) -> Key | int | None:
    """Return what a key asks for: a digit 1..9 for itself, None where it has no meaning here."""
    character = press.character
    if press.shortcut or not character:
        return None
    if character in "123456789":
        return int(character)
    # Capitals come with Caps Lock too, so only the key itself makes a difference.
    meaning = _KEYS.get(character.lower())
    if meaning is Key.RESET and "<shift>" in press.held:
        return Key.RESET_ALL
    return meaning
