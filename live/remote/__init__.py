"""A run from outside its window: the socket of `ctl`, and global hotkeys.

Loaded on first use: a key press waits for `ctl`, which needs nothing of the rest.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from samcam.live.remote.command_text import opens_file
    from samcam.live.remote.ctl import run_ctl
    from samcam.live.remote.endpoints import ControlFolderError, make_folder
    from samcam.live.remote.hotkey_names import parse_bindings
    from samcam.live.remote.hotkeys import NoHotkeysError, load_keyboard, wanted
    from samcam.live.remote.remote import RemoteControls, read_bindings

__all__ = [
    "ControlFolderError",
    "NoHotkeysError",
    "RemoteControls",
    "load_keyboard",
    "make_folder",
    "opens_file",
    "parse_bindings",
    "read_bindings",
    "run_ctl",
    "wanted",
]

_FILES = {
    "command_text": ("opens_file",),
    "ctl": ("run_ctl",),
    "endpoints": ("ControlFolderError", "make_folder"),
    "hotkey_names": ("parse_bindings",),
    "hotkeys": ("NoHotkeysError", "load_keyboard", "wanted"),
    "remote": ("RemoteControls", "read_bindings"),
}


def __getattr__(name: str) -> Any:
    for file, names in _FILES.items():
        if name in names:
            return getattr(import_module(f"samcam.live.remote.{file}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
