"""Which key means what: the one table for the window and its help."""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

_ESCAPE: Final = "\x1b"
# What waitKeyEx gives for Delete: X11's keysym (also the keypad's), macOS, Windows.
_DELETE: Final = frozenset({0xFFFF, 0xFF9F, 0xF728})
_DELETE_WINDOWS: Final = 0x2E0000


class Key(Enum):
    """What a key asks for."""

    QUIT = auto()
    HELP = auto()
    REMOVE = auto()
    RESET = auto()
    RESET_ALL = auto()
    UNDO = auto()
    COMMIT = auto()
    SMALLER = auto()
    LARGER = auto()
    NEW_OBJECT = auto()
    PREVIOUS_OBJECT = auto()
    NEXT_OBJECT = auto()
    EFFECT = auto()
    PANIC = auto()
    FREEZE = auto()
    SUGGEST = auto()


# OpenCV's Qt windows tell no capital letters, and some builds no Delete: hence k and x.
_CHARACTERS: Final = {
    "q": Key.QUIT,
    _ESCAPE: Key.QUIT,
    "h": Key.HELP,
    "x": Key.REMOVE,
    "r": Key.RESET,
    "R": Key.RESET_ALL,
    "k": Key.RESET_ALL,
    "u": Key.UNDO,
    "c": Key.COMMIT,
    "[": Key.SMALLER,
    "]": Key.LARGER,
    "n": Key.NEW_OBJECT,
    ",": Key.PREVIOUS_OBJECT,
    ".": Key.NEXT_OBJECT,
    "e": Key.EFFECT,
    "p": Key.PANIC,
    " ": Key.FREEZE,
    "a": Key.SUGGEST,
}

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
    ("e", "next effect"),
    ("p", "panic: hide all that leaves, show it again"),
    ("h", "this list"),
    ("q or Esc", "quit"),
)


def key_of(code: int) -> Key | int | None:
    """Return what a key asks for.

    Args:
        code: As `cv2.waitKeyEx` gives it; GTK adds the state of Shift and Num Lock above bit 15.

    Returns:
        A digit 1..9 for itself; None for a key without a meaning.
    """
    if code < 0:
        return None
    low = code & 0xFFFF
    if low in _DELETE or code == _DELETE_WINDOWS:
        return Key.REMOVE
    character = chr(low)
    if character in "123456789":
        return int(character)
    # capitals come with Caps Lock too: all but R, which alone means something else
    return _CHARACTERS.get(character) or _CHARACTERS.get(character.lower())
