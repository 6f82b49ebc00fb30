"""The settings of what controls a run from outside its window: `control.*` and `hotkeys.*`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from live.config_fields import setting

DEFAULT_KEYS = {
    "<ctrl>+<alt>+h": "hide",
    "<ctrl>+<alt>+e": "effect next",
    "<ctrl>+<alt>+u": "undo",
    "<ctrl>+<alt>+r": "reset",
    "<ctrl>+<alt>+c": "commit 1",
}


@dataclass(frozen=True, slots=True)
class ControlSettings:
    """`run_live.py ctl`."""

    socket: bool = setting(True, "Take commands from `run_live.py ctl` of the same user.")


@dataclass(frozen=True, slots=True)
class HotkeySettings:
    """Keys that work while another window has the focus."""

    enabled: str = setting(
        "auto",
        "auto: on where they can work, off on macOS; true: on macOS too.",
        choices=("auto", "true", "false"),
    )
    keys: Mapping[str, str] = setting(
        DEFAULT_KEYS, "Keys and the `ctl` command that each sends; replaces the whole list."
    )
