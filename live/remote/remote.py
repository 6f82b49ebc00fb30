"""What controls a run from outside its window: the socket of `ctl` and the global hotkeys."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Final

from samcam.live.config import Settings
from samcam.live.control import Controls
from samcam.live.errors import ConfigError
from samcam.live.remote.command_text import PromptContext, RemoteCommand
from samcam.live.remote.desk import CommandDesk
from samcam.live.remote.hotkey_names import parse_bindings
from samcam.live.remote.hotkeys import Hotkeys, wanted
from samcam.live.remote.server import ControlServer
from samcam.live.sources import SourceInfo

log = logging.getLogger(__name__)

_STOP_S: Final = 2.0  # for both together


def read_bindings(settings: Settings, info: SourceInfo) -> dict[str, tuple[RemoteCommand, ...]]:
    """Return the hotkeys with their commands; none where they are off.

    Raises:
        ConfigError: A prompt of theirs does not fit the source; all problems at once.
    """
    if not wanted(settings.hotkeys.enabled):
        return {}
    bindings, problems = parse_bindings(settings.hotkeys.keys, _context(settings, info))
    if problems:
        raise ConfigError(problems)
    return bindings


def _context(settings: Settings, info: SourceInfo) -> PromptContext:
    limit = settings.source.max_megapixels
    return PromptContext(info.size_wh, max_megapixels=limit, frame_count=info.frame_count)


class RemoteControls:
    """Both of them while its `with` block runs; what cannot start is logged, never fatal."""

    def __init__(
        self,
        controls: Controls,
        settings: Settings,
        info: SourceInfo,
        bindings: Mapping[str, tuple[RemoteCommand, ...]],
    ) -> None:
        """Prepare, before the run's threads start.

        Args:
            controls: Takes the commands.
            settings: Which of both are wanted.
            info: The source.
            bindings: From `read_bindings`.
        """
        self._desk = CommandDesk(controls, _context(settings, info))
        self._server = (
            ControlServer(self._desk.answer, info.name) if settings.control.socket else None
        )
        self._hotkeys = Hotkeys(bindings, controls, settings.hotkeys.enabled == "true")

    def __enter__(self) -> RemoteControls:
        if self._server is not None:
            try:
                self._server.start()
            except OSError as error:
                log.warning("ctl does not work for this run: %s", error)
        self._hotkeys.start()
        return self

    def __exit__(self, *_: object) -> None:
        deadline_s = time.monotonic() + _STOP_S
        self._desk.close()
        if self._server is not None:
            self._server.stop(deadline_s - time.monotonic())
        self._hotkeys.stop(max(0.0, deadline_s - time.monotonic()))
