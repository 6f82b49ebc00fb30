"""Global hotkeys without a display: how they are written, what is refused, when they are off."""

from __future__ import annotations

import importlib.util
import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from run_live import main
from samcam.live.commands import CommitMask, HideFeed, SetEffect
from samcam.live.config.schema import DEFAULT_KEYS, HotkeySettings, Settings
from samcam.live.control.controls import Controls
from samcam.live.frames import Prompt
from samcam.live.remote.command_text import PromptContext, Quit
from samcam.live.remote.hotkey_names import MODIFIERS, NAMED_KEYS, parse_bindings, split_keys
from samcam.live.remote.hotkeys import THREAD_NAME, Hotkeys, NoHotkeysError, load_keyboard, wanted
from samcam.live.remote.remote import read_bindings
from samcam.live.sources.base import SourceInfo
from tests.conftest import skip_or_fail
from tests.helpers.bounds import WAIT_S
from tests.helpers.xvfb import Display

X11 = {"DISPLAY": ":0"}


def problems_of(keys: Mapping[str, str]) -> list[str]:
    return parse_bindings(keys, platform="linux")[1]


# --- how they are written -------------------------------------------------------------------


def test_the_defaults_are_fine() -> None:
    bindings, problems = parse_bindings(DEFAULT_KEYS, PromptContext((640, 360)))
    assert problems == []
    assert bindings["<ctrl>+<alt>+h"] == (HideFeed(None),)
    assert bindings["<ctrl>+<alt>+e"] == (SetEffect(None),)
    assert bindings["<ctrl>+<alt>+c"] == (CommitMask(1),)
    assert set(Settings().hotkeys.keys) == set(bindings)


def test_one_spelling() -> None:
    for text in ("<ctrl>+<alt>+h", "<alt>+<ctrl>+H", " <ALT> + h + <Ctrl> "):
        assert split_keys(text) == ("<ctrl>", "<alt>", "h")
    assert split_keys("<ctrl>++") == ("<ctrl>", "+")
    assert split_keys("<f9>") == ("<f9>",)


def test_no_settings_share_a_mapping() -> None:
    first, second = HotkeySettings(), HotkeySettings()
    assert first.keys is not second.keys
    assert first.keys is not DEFAULT_KEYS


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "a key is missing"),
        ("<ctrl>+", "a key is missing"),
        ("<ctrl>+<strg>+h", "<strg>: unknown key"),
        ("ctrl+alt+h", "ctrl: unknown key; expected <ctrl>"),
        ("<ctrl>+F9", "F9: unknown key; expected <f9>"),
        ("<ctrl>+hh", "hh: unknown key; expected one character"),
        ("<ctrl_l>+h", "<ctrl_l>: expected <ctrl>, which is both"),
        ("<ctrl>+<65>", "<65>: unknown key"),
        ("<ctrl>+<ctrl>+h", "a key stands twice"),
        ("<ctrl>+<alt>", "0 keys beside the modifiers"),
        ("<ctrl>+a+b", "2 keys beside the modifiers"),
        ("h", "would act while you type"),
        ("<shift>+h", "would act while you type"),
        ("<space>", "would act while you type"),
        ("<ctrl>+<alt>+<f2>", "Linux itself takes"),
    ],
)
def test_wrong_keys(text: str, part: str) -> None:
    (problem,) = problems_of({text: "hide"})
    assert problem.startswith(f"hotkeys.keys: {text}: ")
    assert part in problem
    assert "expected" in problem


def test_linux_alone_takes_its_console_keys() -> None:
    assert parse_bindings({"<ctrl>+<alt>+<f2>": "hide"}, platform="win32")[1] == []


def test_conflicts() -> None:
    (twice,) = problems_of({"<ctrl>+<alt>+h": "hide", "<alt>+<ctrl>+H": "reset"})
    assert "<alt>+<ctrl>+H: the same keys as <ctrl>+<alt>+h" in twice
    (within,) = problems_of({"<ctrl>+h": "hide", "<ctrl>+<alt>+h": "reset"})
    assert "<ctrl>+<alt>+h: contains <ctrl>+h, so both would act" in within
    assert problems_of({"<ctrl>+h": "hide", "<ctrl>+j": "hide"}) == []


@pytest.mark.parametrize(
    ("command", "part"),
    [
        ("", "no command given"),
        ("panic", "panic: unknown command; expected one of prompt, reset, undo, "),
        ("effect glow", "effect glow: expected highlight"),
        ("status", "status: has no answer here"),
        ("prompt point=1", "expected X,Y"),
    ],
)
def test_wrong_commands(command: str, part: str) -> None:
    (problem,) = problems_of({"<ctrl>+h": command})
    assert not problem.endswith("status"), "it would be refused"
    assert problem.startswith("hotkeys.keys: <ctrl>+h: ")
    assert part in problem


def test_every_problem_at_once_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(
        'hotkeys:\n  enabled: perhaps\n  keys:\n    "<ctrl>+q": panic\n    "<strg>+w": hide\n'
        '    "<ctrl>+<shift>+x": undo\n    "<shift>+<ctrl>+x": reset 999\n'
    )
    assert main(["--check-config", "--config", str(path)]) == 2
    first, *lines = capsys.readouterr().err.splitlines()
    assert "line 2: hotkeys.enabled: perhaps: expected one of auto | true | false" in first
    assert len(lines) == 4
    assert all(line.startswith(f"error: {path}, line 3: hotkeys.keys: ") for line in lines)


@pytest.mark.parametrize("value", ["[1, 2]", "hide", "{1: hide}", '{"<ctrl>+h": 3}'])
def test_the_section_is_a_mapping(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check-config", "--set", f"hotkeys.keys={value}"]) == 2
    assert "hotkeys.keys" in capsys.readouterr().err


def test_a_prompt_is_checked_against_the_source() -> None:
    """Its picture is not known before: nothing runs yet, and the exit code is that of settings."""
    settings = Settings(hotkeys=HotkeySettings("true", {"<ctrl>+p": "prompt point=700,10"}))
    info = SourceInfo("demo", "demo", (640, 360), 30.0, None, False)
    with pytest.raises(ValueError, match=r"<ctrl>\+p.*point=700,10.*640x360"):
        read_bindings(settings, info)
    keys = {"<ctrl>+p": "prompt point=7,10"}
    fine = Settings(hotkeys=HotkeySettings("true", keys))
    ((prompt,),) = read_bindings(fine, info).values()
    assert isinstance(prompt, Prompt)
    assert read_bindings(Settings(hotkeys=HotkeySettings("false", keys)), info) == {}


# --- when they are off ----------------------------------------------------------------------


def test_macos_is_asked_for() -> None:
    assert [wanted(word, "darwin") for word in ("auto", "true", "false")] == [False, True, False]
    for platform in ("linux", "win32"):
        assert [wanted(word, platform) for word in ("auto", "true", "false")] == [True, True, False]


@pytest.mark.parametrize(
    ("environment", "reason", "fix"),
    [
        ({}, "there is no display", "run_live.py ctl hide"),
        ({**X11, "XDG_SESSION_TYPE": "wayland"}, "Wayland", "desktop shortcut"),
        ({**X11, "WAYLAND_DISPLAY": "wayland-0"}, "Wayland", "run_live.py ctl hide"),
    ],
)
def test_sessions_that_cannot(environment: dict[str, str], reason: str, fix: str) -> None:
    with pytest.raises(NoHotkeysError) as caught:
        load_keyboard(environment, "linux")
    assert reason in caught.value.reason
    assert fix in caught.value.fix


def listen(load: Callable[[], Any], caplog: pytest.LogCaptureFixture) -> list[str]:
    """Start, let the thread end by itself, and return its log lines."""
    hotkeys = Hotkeys({"<ctrl>+h": (HideFeed(),)}, Controls(1), load=load)
    with caplog.at_level(logging.INFO):
        hotkeys.start()
        for thread in threading.enumerate():
            if thread.name == THREAD_NAME:
                thread.join(WAIT_S)
        hotkeys.stop(WAIT_S)
        hotkeys.stop(WAIT_S)
    return [record.getMessage() for record in caplog.records]


def test_one_line_says_why_and_what_to_do(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (line,) = listen(lambda: load_keyboard({}, "linux"), caplog)
    assert line == (
        "global hotkeys are off: there is no display; window keys still work; "
        "python run_live.py ctl hide"
    )
    caplog.clear()
    monkeypatch.setitem(__import__("sys").modules, "pynput", None)  # as if it were not installed
    (line,) = listen(lambda: load_keyboard(X11, "linux"), caplog)
    assert "there is no package pynput" in line
    assert line.endswith('pip install -c constraints.txt -e ".[hotkeys]"')


class BrokenListener:
    """What pynput does on an X server without the RECORD extension: `run` raises."""

    def __init__(self, actions: object) -> None:
        self.actions = actions

    def run(self) -> None:
        raise AttributeError("record_create_context")

    def stop(self) -> None:
        raise AssertionError("it never listened")


def test_a_listener_that_fails_is_one_line_too(caplog: pytest.LogCaptureFixture) -> None:
    module = type("Keyboard", (), {"GlobalHotKeys": BrokenListener})
    first, second = listen(lambda: module, caplog)
    assert first == "hotkeys: <ctrl>+h"
    assert "global hotkeys are off: record_create_context" in second


class TiredListener(BrokenListener):
    """What pynput does when the X server closes the connection in an orderly way."""

    def run(self) -> None:
        return


def test_a_listener_that_ends_by_itself_is_said(caplog: pytest.LogCaptureFixture) -> None:
    module = type("Keyboard", (), {"GlobalHotKeys": TiredListener})
    assert "global hotkeys are off: the listener ended" in listen(lambda: module, caplog)[1]


class DeafListener:
    """One that hangs in `stop`, as pynput does where its listener never came up."""

    release = threading.Event()

    def __init__(self, actions: object) -> None:
        self.actions = actions

    def run(self) -> None:
        self.release.wait(WAIT_S)

    def stop(self) -> None:
        self.release.wait(WAIT_S)


def test_a_listener_that_hangs_is_left_behind(caplog: pytest.LogCaptureFixture) -> None:
    module = type("Keyboard", (), {"GlobalHotKeys": DeafListener})
    hotkeys = Hotkeys({"<ctrl>+h": (HideFeed(),)}, Controls(1), load=lambda: module)
    hotkeys.start()
    hotkeys.stop(0.1)
    assert "left behind" in caplog.text
    DeafListener.release.set()  # the guard against leaked threads waits for both


# --- the real package -----------------------------------------------------------------------


@pytest.fixture
def display(display: Display) -> Display:
    if importlib.util.find_spec("pynput") is None:
        skip_or_fail("pynput is not installed: pip install -c constraints.txt -e '.[hotkeys]'")
    return display


@pytest.fixture
def keyboard(display: Display, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("DISPLAY", display.name)
    return load_keyboard({"DISPLAY": display.name}, "linux")


@pytest.mark.window
def test_pynput_knows_every_name_and_hears_and_stops(
    display: Display, keyboard: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """On a real X server: every name is pynput's, keys arrive, and the thread ends unpressed."""
    for name in (*MODIFIERS, *NAMED_KEYS):
        assert keyboard.HotKey.parse(f"<ctrl>+<{name}>" if name != "ctrl" else f"<{name}>+x")
    controls = Controls(8)
    bindings, problems = parse_bindings(
        {"<alt>+<CTRL>+H": "hide", "<f9>": "effect blur", "<ctrl>+<shift>+q": "quit"}
    )
    assert problems == []
    hotkeys = Hotkeys(bindings, controls, load=lambda: keyboard)
    with caplog.at_level(logging.INFO):
        hotkeys.start()
        got: list[object] = []

        def press(*keys: str) -> None:
            """Again and again: when the listener is ready, nothing says."""
            for _ in range(100):
                display.xdotool("key", *keys)
                if controls.stop.wait(0.1) or not controls.feed.empty():
                    return

        press("ctrl+alt+h")
        got.append(controls.feed.get_nowait())
        display.xdotool("key", "h", "alt+h", "ctrl+alt+j")  # none of ours
        press("F9")
        while not controls.feed.empty():
            got.append(controls.feed.get_nowait())
        press("ctrl+shift+q")
        hotkeys.stop(WAIT_S)
    assert got[0] == HideFeed(None)
    assert got[-1] == SetEffect("blur")
    assert set(got) == {HideFeed(None), SetEffect("blur")}
    assert controls.stop.is_set()
    assert bindings["<ctrl>+<shift>+q"] == (Quit(),)
    assert THREAD_NAME not in [thread.name for thread in threading.enumerate()]
    assert "left behind" not in caplog.text


@pytest.mark.window
def test_it_stops_at_whatever_moment(keyboard: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A short run ends while the listener is coming up: pynput's own `stop` does nothing then."""
    for delay_s in (0.0, 0.0, 0.002, 0.005, 0.01, 0.02, 0.04, 0.1):
        hotkeys = Hotkeys({"<ctrl>+h": (HideFeed(),)}, Controls(1), load=lambda: keyboard)
        hotkeys.start()
        threading.Event().wait(delay_s)
        hotkeys.stop(WAIT_S)
        assert THREAD_NAME not in [thread.name for thread in threading.enumerate()]
    assert "left behind" not in caplog.text
