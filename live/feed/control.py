"""Feed commands: what they do to the compositor."""

from __future__ import annotations

import logging
import math
import queue
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from samcam.live.commands import FeedCommand, HideFeed, SaveProfile, SetEffect
from samcam.live.control import Controls
from samcam.live.effects import EFFECT_NAMES, NO_EFFECT, OBJECT_EFFECTS, Effect
from samcam.live.errors import ConfigError
from samcam.live.feed.compositor import Compositor
from samcam.live.frames import MAX_OBJECT_ID, MIN_OBJECT_ID, FrameResult

log = logging.getLogger(__name__)

_HIDDEN: Final = "hidden: nothing leaves until you show it again"
_SHOWN: Final = "shown again"
PANIC_GUARD_S: Final = 1.0  # a panic key that is hammered must not show the feed again


class FeedControl:
    """Applies feed commands; render loop only."""

    def __init__(
        self,
        controls: Controls,
        compositor: Compositor,
        build: Callable[[str], Effect],
        save_profile: Callable[[str], str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Connect the parts; `build` makes an effect of a name, `save_profile` saves one and
        says so."""
        self._controls = controls
        self._compositor = compositor
        self._build = build
        self._save_profile = save_profile
        self._clock = clock
        self._hidden_s = -math.inf

    def apply(self, step: int) -> bool:
        """Apply every waiting command before `step` is composed; say whether anything changed."""
        changed = False
        for _ in range(self._controls.feed.qsize()):  # not more: a busy sender must not hold it up
            try:
                command = self._controls.feed.get_nowait()
            except queue.Empty:
                break
            changed |= self._carry_out(command, step)
        return changed

    def follow_script(self, result: FrameResult) -> None:
        """Carry out the commands of a replay that take effect before this result is composed."""
        if self._controls.script is not None:
            for command in self._controls.script.feed_commands(result.frame, result.step):
                self._carry_out(self._as_recorded(command), result.step)

    def _as_recorded(self, command: FeedCommand) -> FeedCommand:
        """Make explicit what a recorded command did: a replay may run faster than the guard
        allows."""
        if command == HideFeed(None):
            return HideFeed(not self._compositor.panic)
        return command

    def _carry_out(self, command: FeedCommand, step: int) -> bool:
        try:
            text = self._apply(command)
        except ValueError as error:  # ConfigError and ProfileError are ones
            self._controls.refused(command, str(error))
            return False
        except Exception as error:  # whatever it is: no command may end a run
            log.exception("a command failed: %s", command)
            self._controls.refused(command, f"it failed: {type(error).__name__}: {error}")
            return False
        self._controls.say(text)
        self._controls.applied(command, step)
        return not isinstance(command, SaveProfile)  # nothing of it is to be seen

    def _apply(self, command: FeedCommand) -> str:
        match command:
            case HideFeed(on):
                self._compositor.panic = self._must_hide(on)
                return _HIDDEN if self._compositor.panic else _SHOWN
            case SetEffect(name, object_id):
                return (
                    self._set_common(name) if object_id is None else self._set_own(object_id, name)
                )
            case SaveProfile(name):
                if self._save_profile is None:
                    raise ValueError(f"profile {name}: this run cannot save profiles")
                return self._save_profile(name)

    def _must_hide(self, on: bool | None) -> bool:
        """Return whether the feed is to be hidden from now on; None asks for the other state.

        Window, hotkeys and `ctl` all mean the same feed, so it is guarded here for all of them.

        Raises:
            ValueError: The other state was asked for too soon; it counts as hiding once more.
        """
        hidden, now_s = self._compositor.panic, self._clock()
        too_soon = on is None and hidden and now_s - self._hidden_s < PANIC_GUARD_S
        hide = too_soon or (not hidden if on is None else on)
        if hide:
            self._hidden_s = now_s
        if too_soon:
            raise ValueError(
                f"hidden less than {PANIC_GUARD_S:g} s ago, it stays so: ask again later"
            )
        return hide

    def _set_common(self, name: str | None) -> str:
        if name is None:
            return _use_next(EFFECT_NAMES, self._compositor.effect.name, self._use)
        if name not in EFFECT_NAMES:
            raise ValueError(f"effect {name}: expected {' | '.join(EFFECT_NAMES)}")
        return self._use(name)

    def _set_own(self, object_id: int, name: str | None) -> str:
        """Give an object its own effect; the common one's name takes the own one away again."""
        if not MIN_OBJECT_ID <= object_id <= MAX_OBJECT_ID:
            raise ValueError(f"object {object_id}: expected {MIN_OBJECT_ID}..{MAX_OBJECT_ID}")
        use = partial(self._use_own, object_id)
        if name is None:
            common = self._compositor.effect.name
            now = self._compositor.own_effects.get(object_id, common)
            return _use_next(OBJECT_EFFECTS, now, use)
        if name not in OBJECT_EFFECTS:
            raise ValueError(f"effect {name}: expected {' | '.join(OBJECT_EFFECTS)}")
        return use(name)

    def _use(self, name: str) -> str:
        self._compositor.use(self._build(name))
        return f"effect {name}"

    def _use_own(self, object_id: int, name: str) -> str:
        if name == self._compositor.effect.name:
            self._compositor.use_common(object_id)
            return f"object {object_id}: effect {name}, as all"
        self._compositor.use_for(object_id, None if name == NO_EFFECT else self._build(name))
        return f"object {object_id}: effect {name}"


def _use_next(names: Sequence[str], now: str, use: Callable[[str], str]) -> str:
    """Go on to the next effect; one that cannot be made must not end the round for good."""
    at = names.index(now)
    left_out = ""
    for name in (*names[at + 1 :], *names[:at]):
        try:
            return use(name) + left_out
        except ConfigError as error:
            left_out += f"; {name} left out: {error}"
    raise ValueError(left_out.removeprefix("; "))
