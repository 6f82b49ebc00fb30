"""Global hotkeys while SamCam's own window has the focus, and keys that ask before they quit."""

from __future__ import annotations

import importlib.util
import signal
import time
from pathlib import Path

import pytest

from samcam.live.window.input import QUIT_AGAIN_S
from tests.conftest import skip_or_fail
from tests.helpers.demo_user import DemoUser, demo_user
from tests.helpers.window_user import END_TIMEOUT_S, running_command
from tests.helpers.xvfb import Display, wait_until

pytestmark = [pytest.mark.window, pytest.mark.slow]

SIZE_WH = (640, 360)
ENDLESS = ("--source", "demo", "--set", "source.demo_frames=0", "--output", "window")


def given(user: DemoUser, kind: str) -> list[object]:
    """Return the names or objects of the commands of a kind in the recording."""
    rows = [row["command"] for row in user.rows("commands.jsonl")]
    return [row.get("name", row.get("object_id")) for row in rows if row["type"] == kind]


def test_a_global_hotkey_counts_once(
    display: Display, control_folder: Path, nano_dir: Path, tmp_path: Path
) -> None:
    """Its letter reached the window too: Ctrl+Alt+E stepped two effects, Ctrl+Alt+H hid the feed
    and opened the help, an undo took back two prompts."""
    if importlib.util.find_spec("pynput") is None:
        skip_or_fail("pynput is not installed: pip install -c constraints.txt -e '.[hotkeys]'")
    keys = (
        '{"<f9>": effect blur, "<ctrl>+<alt>+e": effect next, "<ctrl>+<alt>+h": hide on,'
        ' "<ctrl>+<alt>+u": undo, "<delete>": effect dim}'
    )
    arguments = ("--model", str(nano_dir), "--set", f"hotkeys.keys={keys}")
    with demo_user(display, tmp_path, arguments, SIZE_WH) as user:
        window = user.window

        def heard(key: str, name: str | None) -> bool:
            """Press until the listener is there."""
            window.key(key)
            return name in given(user, "SetEffect")

        wait_until(lambda: heard("F9", "blur"), "the listener")
        user.click_object(1)
        user.click_object(2)
        window.key("ctrl+alt+e")
        wait_until(lambda: None in given(user, "SetEffect"), "the next effect")
        window.key("ctrl+alt+u")
        wait_until(lambda: len(given(user, "UndoPrompt")) > 0, "the undo")
        before = window.screenshot()[60:-40].mean()
        window.key("ctrl+alt+h")
        wait_until(lambda: len(given(user, "HideFeed")) > 0, "hidden")
        removed = len(given(user, "RemoveObject"))
        window.key("Delete")
        wait_until(lambda: "dim" in given(user, "SetEffect"), "the key alone")
        user.await_steps(10)  # whatever reached the window would have come by then
        assert given(user, "SetEffect").count(None) == 1
        assert len(given(user, "UndoPrompt")) == 1
        assert len(given(user, "RemoveObject")) == removed
        assert window.screenshot()[60:-40].mean() > 0.7 * before, "no help was opened"
        user.quit()


def test_quitting_asks_while_somebody_is_served(
    display: Display, control_folder: Path, nano_dir: Path, tmp_path: Path
) -> None:
    """Of a recorded run one press of q, or of Esc, was the end."""
    with demo_user(display, tmp_path, ("--model", str(nano_dir)), SIZE_WH) as user:
        for key in ("q", "Escape"):
            user.window.key(key)
            user.await_steps(5)
            assert user.process.poll() is None
            time.sleep(QUIT_AGAIN_S + 0.5)  # the question has gone
        user.window.key("Escape", "q")
        assert user.process.wait(END_TIMEOUT_S) == 0
        assert "summary: quit" in (tmp_path / "log.txt").read_text()


def test_ctl_in_use_asks_too_and_else_nothing_does(
    display: Display, control_folder: Path, nano_dir: Path, tmp_path: Path
) -> None:
    with running_command(display, tmp_path, *ENDLESS, "--model", nano_dir) as (process, window):
        window.key("q")
        assert process.wait(END_TIMEOUT_S) == 0
    with running_command(display, tmp_path, *ENDLESS, "--model", nano_dir) as (process, window):
        user = DemoUser.__new__(DemoUser)
        user.process, user.window, user.folder = process, window, tmp_path
        user.environment = display.environment
        assert user.ctl("status").returncode == 0
        assert user.ctl("reset", "9").returncode == 2
        assert "object 9: not known" in user.ctl("reset", "9").stderr
        window.key("q")
        time.sleep(1.0)
        assert process.poll() is None
        assert user.ctl("status").returncode == 0
        window.ask_to_close()  # nobody closes a window by accident
        assert process.wait(END_TIMEOUT_S) == 0


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_stay_the_programs_own(
    sent: signal.Signals, code: int, display: Display, nano_dir: Path, tmp_path: Path
) -> None:
    """SDL takes signals for itself unless told not to; and its package greets on stdout."""
    with running_command(display, tmp_path, *ENDLESS, "--model", nano_dir) as (process, _):
        process.send_signal(sent)
        assert process.wait(END_TIMEOUT_S) == code
    log = (tmp_path / "log.txt").read_text()
    assert f"interrupted by {sent.name}" in log
    for word in ("pygame", "Traceback", "left behind", "ALSA"):
        assert word not in log
