"""`--doctor` as a process: the table, the commands, the exit code."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from run_live import main
from samcam.live.cli import doctor
from samcam.live.cli.doctor import (
    Finding,
    Report,
    State,
    check_camera,
    check_control_folder,
    check_hotkeys,
)
from samcam.live.config.schema import ControlSettings, HotkeySettings
from samcam.live.sinks.virtualcam import fix_command
from samcam.live.sources.camera import list_cameras, open_camera
from tests.conftest import REPO_ROOT, CliResult, RunCli
from tests.helpers.bounds import RUN_TIMEOUT_S
from tests.helpers.fake_camera import FakeDevices

ROW = re.compile(r"^(\S.*?) +(ok|problem|absent) +(\S.*)$")
NO_SUCH = ("--output", "virtualcam:no such device")


def rows(text: str) -> dict[str, tuple[str, str, str]]:
    """Name -> state, details, and the line with what fixes it, of every row."""
    found: dict[str, tuple[str, str, str]] = {}
    last = ""
    for line in text.splitlines()[:-1]:  # the last one sums up
        match = ROW.match(line)
        if match:
            last = match[1]
            found[last] = (match[2], match[3], "")
        elif line.lstrip().startswith("-> "):
            found[last] = (*found[last][:2], line.strip().removeprefix("-> "))
    return found


def table_of(result: CliResult) -> dict[str, tuple[str, str, str]]:
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stderr == ""
    found = rows(result.stdout)
    for name, (state, _, fix) in found.items():
        assert fix or state != "problem", f"{name}: a problem needs what fixes it"
        assert not (fix and state == "ok"), f"{name}: nothing is to be done"
    return found


def test_the_table(run_cli: RunCli, control_folder: Path) -> None:
    """What was asked for and is not there is a problem; what is just not there is none, and can
    still be had. Everything else works: exit code 0."""
    result = run_cli("--doctor", *NO_SUCH)
    found = table_of(result)
    assert list(found) == [
        *("camera", "virtual camera", "display", "hotkeys", "ctl", "model nano"),
        *("guide nanotrack", "ONNX Runtime", "CUDA", "TensorRT", "TensorRT for RTX"),
    ]
    assert found["model nano"][:2] == ("ok", f"5 files verified in {REPO_ROOT / 'engines/nano'}")
    assert found["ONNX Runtime"][0] == "ok"
    assert "CPUExecutionProvider" in found["ONNX Runtime"][1]
    assert found["virtual camera"][0] == "problem"
    assert found["virtual camera"][2] == fix_command()
    assert found["ctl"] == ("ok", f"{control_folder} is yours alone", "")
    if sys.platform == "linux":
        assert found["display"][0] == "absent"
        assert "run_live.py --output video:out.mp4" in found["display"][2]
        hide = f"python {REPO_ROOT / 'run_live.py'} ctl hide"  # as it was started: from elsewhere
        hotkeys = ("absent", "there is no display", hide)
        assert found["hotkeys"] == hotkeys
    assert result.stdout.splitlines()[-1] == "1 problem; the rest works without"


def test_a_healthy_machine_without_a_screen_has_no_problem(run_cli: RunCli) -> None:
    """It used to count four: camera, virtual camera, display and hotkeys, asked for by nobody."""
    if list_cameras() or any(Path("/sys/module").glob("v4l2loopback")):
        pytest.skip("this machine has a camera, real or virtual")
    result = run_cli("--doctor")
    found = table_of(result)
    assert {state for state, _, _ in found.values()} == {"ok", "absent"}
    assert result.stdout.splitlines()[-1] == "no problem found; what is absent is optional"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems always have a display")
def test_what_is_asked_for_and_not_there_is_a_problem(run_cli: RunCli) -> None:
    asked = ("--source", "77", "--output", "window", "--set", "hotkeys.enabled=true")
    found = table_of(run_cli("--doctor", *asked, *NO_SUCH))
    wrong = [name for name, (state, _, _) in found.items() if state == "problem"]
    assert wrong == ["camera", "virtual camera", "display", "hotkeys"]


def test_a_damaged_model_is_exit_code_4(
    nano_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(nano_dir, folder)
    with (folder / "mask_decoder.onnx").open("r+b") as file:
        file.seek(1000)
        file.write(b"\0\1\2\3")
    assert main(["--doctor", "--model", str(folder)]) == 4
    found = rows(capsys.readouterr().out)
    state, details, fix = found[f"model {folder}"]
    assert state == "problem"
    assert "mask_decoder.onnx: not the model's file" in details
    assert "copy this folder again" in fix
    assert found["model nano"][0] == "ok"


@pytest.mark.parametrize(
    ("args", "code", "name", "fix"),
    [
        (
            ["--model", "sam2.1-tiny@512"],
            4,
            "model sam2.1-tiny@512",
            "run: python -m export sam2.1-t",
        ),
        (["--set", "engine.providers=[None]"], 4, "ONNX Runtime", "set engine.providers to those"),
        (
            ["--set", "output.require_virtual_camera=true", *NO_SUCH],
            *(5, "virtual camera", fix_command()),
        ),
    ],
)
def test_what_a_run_needs_decides_the_exit_code(
    args: list[str],
    code: int,
    name: str,
    fix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for variable in ("XDG_DATA_HOME", "LOCALAPPDATA", "HOME"):
        monkeypatch.setenv(variable, str(tmp_path))  # no models of the user's
    assert main(["--doctor", *args]) == code
    text = capsys.readouterr().out
    state, _, found = rows(text)[name]
    assert state == "problem"
    assert found.startswith(fix)
    assert text.splitlines()[-1].endswith(f"exit code {code}")


def test_wrong_settings_come_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--doctor", "--set", "source.fps=0"]) == 2
    text = capsys.readouterr()
    assert text.out == ""
    assert "source.fps: 0: expected" in text.err


def test_a_virtual_camera_that_works(tmp_path: Path) -> None:
    program = (sys.executable, "-m", "tests.helpers.virtualcam_program")
    done = subprocess.run(
        [*program, str(tmp_path / "sent.npz"), "0", "--doctor"],
        cwd=REPO_ROOT,
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert rows(done.stdout)["virtual camera"] == ("ok", "memory (memory)", "")


def test_cameras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The named one, else the first; one without pictures is a problem with a command."""
    devices = FakeDevices(tmp_path)
    at = {"platform": "linux", "sysfs": tmp_path, "device": devices.open}
    monkeypatch.setattr(doctor, "list_cameras", partial(list_cameras, **at))
    monkeypatch.setattr(doctor, "open_camera", partial(open_camera, **at))
    assert check_camera("0").state is State.ABSENT
    assert check_camera("0", asked=True).state is State.PROBLEM
    devices.plug(0, "HD Webcam")
    devices.plug(4, "Capture Card")
    assert check_camera(None).details.startswith("0 gives 96x64 at 25 fps; found: 0 'HD Webcam', 4")
    assert check_camera("4").details.startswith("4 gives 96x64")
    assert check_camera("7").state is State.OK, "the default's number is nobody's wish"
    assert check_camera("7", asked=True).details.startswith("no camera 7; found: 0 'HD Webcam', 4")
    assert all(device.released for device in devices.opened)
    devices.failing_grabs = 100
    broken = check_camera("4")
    assert broken.state is State.PROBLEM
    assert "gives no picture" in broken.details
    assert broken.fix


def test_hotkeys_and_ctl_that_are_off(capsys: pytest.CaptureFixture[str]) -> None:
    off = ("--set", "hotkeys.enabled=false", "--set", "control.socket=false")
    assert main(["--doctor", *off]) == 0
    found = rows(capsys.readouterr().out)
    assert found["hotkeys"] == ("absent", "off; keys work in the window, and ctl", "")
    assert found["ctl"] == ("absent", "off: control.socket", "")
    assert "hotkeys.enabled: true" in check_hotkeys(HotkeySettings(), "darwin").details


@pytest.mark.skipif(sys.platform == "win32", reason="modes of Unix")
def test_a_folder_of_ctl_that_others_can_open(control_folder: Path) -> None:
    control_folder.mkdir()
    control_folder.chmod(0o750)
    found = check_control_folder(ControlSettings())
    assert found.state is State.PROBLEM
    assert "mode 750" in found.details
    subprocess.run(found.fix, shell=True, check=True)  # the command fixes it
    assert check_control_folder(ControlSettings()).state is State.OK


def test_hotkeys_name_what_fixes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.delenv("XDG_SESSION_TYPE", raising=False)
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    wayland = check_hotkeys(HotkeySettings(), "linux")
    assert wayland.state is State.ABSENT
    assert check_hotkeys(HotkeySettings("true"), "linux").state is State.PROBLEM
    assert wayland.fix == "bind a desktop shortcut to: python run_live.py ctl hide"
    monkeypatch.delenv("WAYLAND_DISPLAY")
    monkeypatch.setitem(sys.modules, "pynput", None)  # as if it were not installed
    missing = check_hotkeys(HotkeySettings(), "linux")
    assert missing.details == "there is no package pynput"
    assert missing.fix == 'pip install -c constraints.txt -e ".[hotkeys]"'


def test_only_problems_count() -> None:
    good = Finding("a", State.OK, "fine", exit_code=4)
    absent = Finding("b", State.ABSENT, "not there")
    assert Report((good, absent)).exit_code == 0
    assert Report((good,)).table().endswith("no problem found")
    assert Report((good, absent)).table().endswith("no problem found; what is absent is optional")
    bad = Finding("c", State.PROBLEM, "broken", "fix it", exit_code=5)
    assert Report((good, bad)).exit_code == 5
