"""`ctl` and global hotkeys on the real program, as processes of their own."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import jsonschema
import numpy as np
import pytest

from samcam.live.frames import U8
from tests.conftest import REPO_ROOT, RunCli, skip_or_fail
from tests.helpers.live_run import (
    END_TIMEOUT_S,
    ENDLESS,
    SMALL,
    middle_of_an_object,
    running,
    without_display,
)
from tests.helpers.xvfb import Display, wait_until


def decode(path: Path) -> list[U8]:
    with av.open(str(path)) as container:
        frames = container.decode(video=0)
        return [np.asarray(frame.to_ndarray(format="bgr24"), np.uint8) for frame in frames]


def is_covered(image: U8) -> bool:
    """Whether nothing of the scene is left: one grey, up to the codec's rounding."""
    return bool(np.ptp(image.reshape(-1, 3), axis=0).max() <= 4)


@pytest.mark.slow
def test_every_command_on_a_real_run(
    run_cli: RunCli, control_folder: Path, nano_dir: Path, tmp_path: Path
) -> None:
    """What a Stream Deck or a script of OBS does: effect, prompt, refusal, panic, quit."""
    arguments = (*ENDLESS, *SMALL, "--output", "video:feed.mp4", "--model", str(nano_dir))
    with running(arguments, run_cli, tmp_path, without_display()) as run:
        (socket_file,) = control_folder.iterdir()
        assert socket_file.name == f"{run.process.pid}.sock"
        done = run.ctl("effect", "dim")
        assert (done.returncode, done.stdout, done.stderr) == (0, "ok: effect dim\n", "")
        done = run.ctl("prompt", f"object=2 {middle_of_an_object()}")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("ok")

        def knows_two() -> bool:
            status = run.status()
            return status is not None and [o["object_id"] for o in status["objects"]] == [2]

        wait_until(knows_two, "object 2")
        answers = [run.ctl("prompt", "object=2 point=5,5 frame=0").stdout]
        while answers[-1].startswith("ok: taken") and len(answers) < 20:  # its outcome came late
            answers.append(run.ctl("prompt", "object=2 point=5,5 frame=0").stdout)
        assert "object 2: frame 0 has passed" in answers[-1]
        status = run.status()
        assert status is not None
        schema = json.loads((REPO_ROOT / "docs/schemas/status.schema.json").read_text())
        jsonschema.Draft202012Validator.check_schema(schema)
        jsonschema.validate(status, schema)
        assert status["effect"] == "dim"
        assert status["hidden"] is False
        for words, part in (
            (("prompt", "object=3 neg=5,5"), "object 3: the first prompt needs a positive point"),
            (("prompt", "point=320,5"), "320x180"),
            (("prompt", "point=3,5 frame=x"), "frame=x: expected a whole number of at least 0"),
            (("panic",), "panic: unknown command; expected one of prompt, reset"),
            (("effect", "glow"), "effect glow: expected highlight"),
        ):
            refused = run.ctl(*words)
            for _ in range(20):  # the tracker's own comes with its next picture, after 1 s unseen
                if refused.returncode != 0:
                    break
                refused = run.ctl(*words)
            assert refused.returncode == 2, refused.stdout
            assert refused.stdout == ""
            assert refused.stderr.startswith("refused: ")
            assert part in refused.stderr
        assert run.ctl("reset", "2").returncode == 0
        wait_until(lambda: (run.status() or {}).get("objects") == [], "object 2 gone")
        done = run.ctl("hide")
        assert done.stdout == "ok: hidden: nothing leaves until you show it again\n"
        assert run.is_hidden()
        assert run.ctl("--pid", str(run.process.pid), "quit").stdout == "ok\n"
        assert run.process.wait(END_TIMEOUT_S) == 0
        text = run.log.read_text()
        assert "summary: quit" in text
        assert "left behind" not in text
        assert not socket_file.exists()
        assert run.ctl("status").returncode == 3
    feed = decode(tmp_path / "feed.mp4")
    assert not is_covered(feed[0])
    assert is_covered(feed[-1])


def test_no_run_and_no_command(run_cli: RunCli, control_folder: Path) -> None:
    nobody = run_cli("ctl", "hide")
    assert nobody.returncode == 3
    start = f"start one: python {REPO_ROOT / 'run_live.py'} "  # from a folder of its own
    assert nobody.stderr.startswith(f"error: ctl: no run to talk to; {start}")
    for words, part in (
        ((), "no command given"),
        (("--pid",), "--pid: expected the number of a process"),
        (("--pid", "x", "hide"), "--pid x: expected"),
        (("panic",), "panic: unknown command"),  # what is wrong first, with or without a run
        (("reset", "0"), "object 1..254"),
    ):
        result = run_cli("ctl", *words)
        assert result.returncode == 2, words
        (line,) = result.stderr.splitlines()
        assert line.startswith("error: ")
        assert part in line
    helped = run_cli("ctl", "--help")
    assert helped.returncode == 0
    for word in ("prompt", "reset", "undo", "cycle", "commit", "effect", "hide", "quit", "status"):
        assert re.search(rf"^  {word}\b.*  \S", helped.stdout, re.MULTILINE), word


def test_ctl_loads_neither_networks_nor_windows() -> None:
    """A key press waits for it: the program's large packages stay out."""
    script = (
        "import sys, samcam.live.remote.ctl; "
        "large = {'cv2', 'numpy', 'av', 'onnxruntime', 'pydantic', 'yaml'}; "
        "print(sorted(large & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPO_ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_a_run_goes_on_where_neither_can_work(
    run_cli: RunCli, control_folder: Path, nano_dir: Path
) -> None:
    """No display, and a folder that others can open: one line each, and the run is fine."""
    control_folder.mkdir()
    control_folder.chmod(0o755)
    three = ("--source", "demo", "--set", "source.demo_frames=3", "--output", "none")
    result = run_cli(*three)
    assert result.returncode == 0, result.stderr
    lines = result.stderr.splitlines()
    (hotkeys,) = [line for line in lines if "hotkeys" in line]
    assert " INFO hotkeys: global hotkeys are off: there is no display; " in hotkeys
    (socket_line,) = [line for line in lines if "ctl does not work" in line]
    assert f"chmod 700 {control_folder}" in socket_line
    off = run_cli(*three, "--set", "control.socket=false", "--set", "hotkeys.enabled=false")
    assert off.returncode == 0
    assert "ctl" not in off.stderr
    assert "hotkeys" not in off.stderr


# --- keys pressed while another window has the focus ------------------------------------------


@pytest.fixture
def display(display: Display) -> Display:
    if importlib.util.find_spec("pynput") is None:
        skip_or_fail("pynput is not installed: pip install -c constraints.txt -e '.[hotkeys]'")
    return display


@contextmanager
def other_window(display: Display) -> Iterator[Any]:
    """A window of another program that has the focus; counts the keys that it gets."""
    from Xlib import X
    from Xlib.display import Display as Connection

    connection = Connection(display.name)
    try:
        screen = connection.screen()
        window = screen.root.create_window(
            *(900, 600, 200, 100, 0, screen.root_depth), event_mask=X.KeyPressMask
        )
        window.map()
        connection.sync()
        window.set_input_focus(X.RevertToParent, X.CurrentTime)
        connection.sync()
        yield connection
    finally:
        connection.close()


@pytest.mark.window
@pytest.mark.slow
def test_the_panic_key_while_another_window_has_the_focus(
    display: Display, run_cli: RunCli, control_folder: Path, nano_dir: Path, tmp_path: Path
) -> None:
    outputs = ("--output", "window", "--output", "video:feed.mp4", "--model", str(nano_dir))
    keys = '{"<ctrl>+<alt>+h": hide on, "<ctrl>+<alt>+e": effect next, "<ctrl>+<alt>+q": quit}'
    arguments = (*ENDLESS, *SMALL, *outputs, "--set", f"hotkeys.keys={keys}")
    environment = {**without_display(), "DISPLAY": display.name}
    with (
        running(arguments, run_cli, tmp_path, environment) as run,
        other_window(display) as other,
    ):
        wait_until(lambda: "hotkeys: <ctrl>+<alt>+h" in run.log.read_text(), "the listener")

        def hidden_by_key() -> bool:
            display.xdotool("key", "ctrl+alt+h")
            return run.is_hidden()

        wait_until(hidden_by_key, "the feed hidden")
        assert other.pending_events() > 0, "the keys went to the other window"
        assert (run.status() or {})["effect"] == "highlight"
        display.xdotool("key", "ctrl+alt+e")
        wait_until(lambda: (run.status() or {})["effect"] == "blur", "the next effect")
        display.xdotool("key", "ctrl+alt+q")
        assert run.process.wait(END_TIMEOUT_S) == 0
        text = run.log.read_text()
        assert "summary: quit" in text
        assert "left behind" not in text
    feed = decode(tmp_path / "feed.mp4")
    assert not is_covered(feed[0])
    assert is_covered(feed[-1])
