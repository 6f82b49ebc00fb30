"""Global hotkeys: keys that work while another window has the focus; the one user of pynput.

pynput is LGPL-3.0 and optional: it is imported inside one function, when hotkeys are on. Where
they cannot work, one line says why; the window's own keys and `ctl` do not depend on them.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from samcam.live.control import Controls
from samcam.live.remote.command_text import AskStatus, Quit, RemoteCommand
from samcam.live.remote.hotkey_names import split_keys
from samcam.system import FixableError, install, program

log = logging.getLogger(__name__)

THREAD_NAME: Final = "hotkeys"
_AGAIN_S: Final = 0.05


class NoHotkeysError(FixableError):
    """They cannot work here; an alternative to them counts as a fix.

    Attributes:
        broken: Whether something is there that fails, instead of not being there.
    """

    def __init__(self, reason: str, fix: str, broken: bool = False) -> None:
        super().__init__(reason, fix)
        self.broken = broken


def wanted(enabled: str, platform: str = sys.platform) -> bool:
    """Whether the setting `hotkeys.enabled` asks for them."""
    return enabled == "true" or (enabled == "auto" and platform != "darwin")


def load_keyboard(environment: Mapping[str, str] = os.environ, platform: str = sys.platform) -> Any:
    """Return the module `pynput.keyboard`.

    Args:
        environment: As `os.environ`.
        platform: As `sys.platform`.

    Raises:
        NoHotkeysError: The session has no way to hear keys, or the package is missing.
    """
    if platform.startswith("linux"):
        session = environment.get("XDG_SESSION_TYPE", "")
        if session == "wayland" or environment.get("WAYLAND_DISPLAY"):
            reason = "a Wayland session lets no program hear another window's keys"
            raise NoHotkeysError(reason, f"bind a desktop shortcut to: {_use_ctl()}")
        if not environment.get("DISPLAY"):
            raise NoHotkeysError("there is no display", _use_ctl())
    try:
        from pynput import keyboard
    except ModuleNotFoundError as error:
        reason = f"there is no package {error.name}"
        raise NoHotkeysError(reason, install("hotkeys")) from error
    except Exception as error:  # pynput connects while it is imported
        raise NoHotkeysError(_first_line(error), _use_ctl(), broken=True) from error
    return keyboard


def _use_ctl() -> str:
    return f"{program()} ctl hide"


def _first_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]


class Hotkeys:
    """Listens on a thread of its own until `stop`."""

    def __init__(
        self,
        bindings: Mapping[str, tuple[RemoteCommand, ...]],
        controls: Controls,
        asked_for: bool = False,
        load: Callable[[], Any] = load_keyboard,
    ) -> None:
        """Prepare; nothing is loaded yet.

        Args:
            bindings: From `live.remote.hotkey_names.parse_bindings`.
            controls: Takes the commands.
            asked_for: Whether it is a warning when they cannot work; else only logged.
            load: Gives pynput's module; on the thread, because it may take a while.
        """
        self._bindings = bindings
        self._controls = controls
        self._level = logging.WARNING if asked_for else logging.INFO
        self._load = load
        self._lock = threading.Lock()
        self._ending = False
        self._listener: Any = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to listen; what is in the way is logged, once, by the thread."""
        if self._bindings:
            self._thread = threading.Thread(target=self._listen, name=THREAD_NAME, daemon=True)
            self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Stop listening. Idempotent; never raises."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        deadline_s = time.monotonic() + timeout_s
        with self._lock:
            self._ending, listener = True, self._listener
        if listener is not None:
            # pynput waits without end for a listener that never came up: not on this thread
            threading.Thread(
                target=_end,
                args=(listener, thread, deadline_s),
                name=f"{THREAD_NAME}-end",
                daemon=True,
            ).start()
        thread.join(max(0.0, deadline_s - time.monotonic()))
        if thread.is_alive():
            log.warning("hotkeys: the thread %s is left behind", THREAD_NAME)

    def _listen(self) -> None:
        try:
            keyboard = self._load()
            actions = {
                keys: partial(self._act, keys, commands)
                for keys, commands in self._bindings.items()
            }
            listener = keyboard.GlobalHotKeys(actions)
            with self._lock:
                if self._ending:
                    return
                self._listener = listener
            self._controls.global_keys = tuple(frozenset(split_keys(k)) for k in self._bindings)
            log.info("hotkeys: %s", ", ".join(self._bindings))
            # Not `start`: an error would end its thread unseen, with a traceback on stderr.
            listener.run()
            if not self._ending:
                self._log_off("the listener ended", _use_ctl())
        except NoHotkeysError as error:
            self._log_off(error.reason, error.fix)
        except Exception as error:
            if not self._ending:
                self._log_off(_first_line(error), _use_ctl())
        finally:
            self._controls.global_keys = ()

    def _act(self, keys: str, commands: tuple[RemoteCommand, ...]) -> None:
        if Quit() in commands:
            self._controls.stop.set()
        sent = [one for one in commands if not isinstance(one, Quit | AskStatus)]
        if not self._controls.send_all(sent):
            self._controls.say(f"{keys}: too many commands are waiting: not taken")
            log.warning("hotkey %s: too many commands are waiting: not taken", keys)

    def _log_off(self, reason: str, fix: str) -> None:
        text = "global hotkeys are off: %s; window keys still work; %s"
        log.log(self._level, text, reason, fix)


def _end(listener: Any, thread: threading.Thread, deadline_s: float) -> None:
    """Stop a listener at once, also one that is only coming up.

    pynput's own `stop` leaves its request to the X server in a queue until the next key is
    pressed (1.8.2 with python-xlib 0.33), so the same is asked for on its other connection.
    """
    while thread.is_alive() and time.monotonic() < deadline_s:
        with contextlib.suppress(Exception):
            listener.stop()
            display = getattr(listener, "_display_stop", None)
            if display is not None:
                display.record_disable_context(listener._context)
                display.flush()
        thread.join(_AGAIN_S)
