"""What was hidden a moment ago stays hidden, whoever asks for the other state."""

from __future__ import annotations

import numpy as np
import pytest

from samcam.live.commands import Command, HideFeed
from samcam.live.control.controls import Controls
from samcam.live.control.script import CommandScript, ScriptedCommand
from samcam.live.effects.effects import Effect
from samcam.live.feed.compositor import Compositor
from samcam.live.feed.control import PANIC_GUARD_S, FeedControl
from samcam.live.frames import Frame, FrameResult


@pytest.mark.parametrize("first", [HideFeed(), HideFeed(on=True)])
def test_what_was_just_hidden_is_not_shown_by_asking_for_the_other_state(first: HideFeed) -> None:
    """Hotkey, `ctl` and the window's key in any order: haste only hides, but "off" shows."""
    now_s = 100.0
    noted: list[Command] = []
    controls, compositor = Controls(4), Compositor(Effect())
    controls.watch(lambda command, step: noted.append(command))
    control = FeedControl(controls, compositor, Effect, clock=lambda: now_s)

    def hidden_after(command: HideFeed, passed_s: float = 0.0) -> bool:
        nonlocal now_s
        now_s += passed_s
        controls.send(command)
        control.apply(0)
        return compositor.panic

    assert hidden_after(first)
    for _ in range(4):  # hammered, for longer than the guard lasts
        assert hidden_after(HideFeed(), PANIC_GUARD_S / 2)
    assert noted == [first], "what did nothing is not recorded"
    assert controls.notice is not None
    assert "hidden less than 1 s ago" in controls.notice.text
    assert not hidden_after(HideFeed(on=False))
    assert hidden_after(HideFeed()), "hiding has to wait for nothing"
    assert not hidden_after(HideFeed(), PANIC_GUARD_S)
    assert hidden_after(HideFeed(), PANIC_GUARD_S / 4), "nor right after it was shown"


def test_a_replay_shows_again_as_fast_as_it_runs() -> None:
    controls, compositor = Controls(4), Compositor(Effect())
    hide, show = (ScriptedCommand(HideFeed(), step, step) for step in range(2))
    controls.script = CommandScript([hide, show], [0, 1], True)
    control = FeedControl(controls, compositor, Effect, clock=lambda: 0.0)
    seen = []
    for step in range(2):
        frame = Frame(step, 0, 0, np.zeros((4, 4, 3), np.uint8))
        control.follow_script(FrameResult(frame, step, ()))
        seen.append(compositor.panic)
    assert seen == [True, False]
