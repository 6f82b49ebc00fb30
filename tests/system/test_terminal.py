"""What is said reaches whoever listens, and a run survives everybody who does not.

Names that a terminal cannot show, readers that have gone, outputs that are closed, terminals that
are closed, users without a home folder: as processes, since that is where it fails.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import av
import pytest

from samcam.live.remote.endpoints import endpoints
from tests.conftest import REPO_ROOT, RunCli
from tests.helpers.live_run import END_TIMEOUT_S, ENDLESS, SMALL, without_display
from tests.helpers.synthetic_video import VideoSpec, write_video
from tests.helpers.xvfb import wait_until

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals, pipes and users of Unix")
PROGRAM = (sys.executable, str(REPO_ROOT / "run_live.py"))
QUIET_COMMANDS = [
    ("--check-config",),
    ("--list-profiles",),
    ("--help",),
    ("--version",),
    ("ctl", "--help"),
]


def start(words: Sequence[str], folder: Path, **more: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen([*PROGRAM, *words], cwd=folder, stdin=subprocess.DEVNULL, **more)


# --- names that cannot be shown -------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "encoding", ["cp1252", pytest.param("ascii:strict", marks=pytest.mark.long)]
)
def test_a_name_that_the_terminal_does_not_know(
    run_cli: RunCli, control_folder: Path, tmp_path: Path, encoding: str
) -> None:
    """A finished run ended with 1 and a traceback: the summary names its outputs."""
    write_video(tmp_path / "видео_🎥.mp4", VideoSpec(count=3))
    words = ("--source", tmp_path / "видео_🎥.mp4", "--output", "video:выход_🎥.mp4")
    done = run_cli(*words, env={"PYTHONIOENCODING": encoding})
    assert done.returncode == 0, done.stderr
    assert "3 of 3 frames" in done.stdout
    assert r"\u0432\u044b\u0445\u043e\u0434_\U0001f3a5.mp4" in done.stdout
    assert "Traceback" not in done.stderr
    assert r"\u0432\u0438\u0434\u0435\u043e" in done.stderr


@posix
def test_names_that_no_terminal_knows(run_cli: RunCli, tmp_path: Path) -> None:
    """Bytes that are no UTF-8, which file systems take."""
    data = tmp_path / "data" / "samcam" / "profiles"
    os.makedirs(os.fsencode(data) + b"/caf\xe9")
    Path(os.fsdecode(os.fsencode(data) + b"/caf\xe9/profile.json")).write_text("{}")
    environment = {"XDG_DATA_HOME": str(tmp_path / "data"), "PYTHONIOENCODING": "ascii:strict"}
    listed = run_cli("--list-profiles", env=environment)
    assert listed.returncode == 0, listed.stderr
    assert r"caf\udce9" in listed.stdout


def test_every_program_prepares_its_outputs() -> None:
    """Also the exporter, the trainer and those that measure print names of files."""
    guard = 'if __name__ == "__main__":\n'
    for folder in ("export", "bench", "training"):
        for path in (REPO_ROOT / folder).glob("*.py"):
            _, found, program = path.read_text(encoding="utf-8").partition(guard)
            assert not found or program.startswith("    prepare_streams()\n"), path.name


# --- readers that are gone ------------------------------------------------------------------------


def outputs_gone() -> IO[bytes]:
    """Return the writing end of a pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    return os.fdopen(writer, "wb")


@posix
@pytest.mark.parametrize("words", [*QUIET_COMMANDS, ("--doctor",), ("--list-cameras",)])
def test_nobody_reads_stdout(words: tuple[str, ...], control_folder: Path, tmp_path: Path) -> None:
    """`... | head -1`: no traceback, nothing on stderr, the code that it would have had."""
    with outputs_gone() as gone:
        process = start(words, tmp_path, stdout=gone, stderr=subprocess.PIPE)
    _, said = process.communicate(timeout=END_TIMEOUT_S)
    assert process.returncode == 0
    assert b"Traceback" not in said
    assert b"BrokenPipe" not in said


@posix
def test_nobody_reads_anything(control_folder: Path, tmp_path: Path) -> None:
    for words, code in ((("--bogus",), 2), (("ctl",), 2)):
        with outputs_gone() as gone:
            process = start(words, tmp_path, stdout=gone, stderr=gone)
        assert process.wait(END_TIMEOUT_S) == code, words


@posix
@pytest.mark.slow
def test_a_run_that_nobody_listens_to(control_folder: Path, tmp_path: Path) -> None:
    """Both outputs lead nowhere, by a broken pipe and by being closed: the video is whole."""
    write_video(tmp_path / "a.mp4", VideoSpec(count=3))
    words = ("--source", "a.mp4", "--output", "video:v.mp4")
    with outputs_gone() as gone:
        process = start(words, tmp_path, stdout=gone, stderr=gone)
    assert process.wait(END_TIMEOUT_S) == 0
    closed = ("sh", "-c", 'exec "$0" "$@" <&- >&- 2>&-', *PROGRAM)
    done = subprocess.run([*closed, *words[:3], "video:w.mp4"], cwd=tmp_path, check=False)
    assert done.returncode == 0
    for name in ("v.mp4", "w.mp4"):
        with av.open(str(tmp_path / name)) as container:
            assert len(list(container.decode(video=0))) == 3


@posix
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize(
    "words",
    [
        ("--check-config",),
        ("--source", "demo", "--set", "source.demo_frames=1", "--output", "none"),
    ],
)
def test_a_full_disk_is_said(words: tuple[str, ...], tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        process = start(words, tmp_path, stdout=full, stderr=subprocess.PIPE)
        _, said = process.communicate(timeout=END_TIMEOUT_S)
    assert process.returncode == 5
    assert said.endswith(b"error: stdout cannot be written: No space left on device\n")


# --- SIGHUP ---------------------------------------------------------------------------------------


def frames_of(path: Path) -> int:
    with av.open(str(path)) as container:
        return len(list(container.decode(video=0)))


def is_under_way(folder: Path) -> bool:
    return len(list(folder.glob("m/*.png"))) > 3


LIVE = (*ENDLESS, *SMALL, "--output", "video:v.mp4", "--output", "masks:m")


@posix
@pytest.mark.slow
def test_a_closed_terminal_ends_a_run_like_sigterm(control_folder: Path, tmp_path: Path) -> None:
    """A real terminal: closing it hangs up on the run, whose stderr is gone in the same moment."""
    ours, theirs = os.openpty()
    process = start(LIVE, tmp_path, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    try:
        wait_until(lambda: is_under_way(tmp_path), "some masks")
        os.close(ours)  # the shell and the system both say so
        for _ in range(3):
            process.send_signal(signal.SIGHUP)
        assert process.wait(END_TIMEOUT_S) == 129
    finally:
        process.kill()
        process.wait()
    assert frames_of(tmp_path / "v.mp4") > 3
    assert (tmp_path / "m" / "tracks.jsonl").is_file()
    assert endpoints() == []


@posix
@pytest.mark.long
def test_nohup_outlives_its_terminal(control_folder: Path, tmp_path: Path) -> None:
    nohup = shutil.which("nohup")
    if nohup is None:
        pytest.skip("nohup is not installed")
    log = (tmp_path / "log.txt").open("wb")
    with log:
        process = subprocess.Popen(
            [nohup, *PROGRAM, *LIVE], cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        wait_until(lambda: is_under_way(tmp_path), "some masks")
        process.send_signal(signal.SIGHUP)
        so_far = len(list(tmp_path.glob("m/*.png")))
        wait_until(lambda: len(list(tmp_path.glob("m/*.png"))) > so_far + 3, "more masks")
        process.send_signal(signal.SIGTERM)
        assert process.wait(END_TIMEOUT_S) == 143
    finally:
        process.kill()
        process.wait()
    assert "interrupted by SIGTERM" in (tmp_path / "log.txt").read_text()


# --- nobody's home --------------------------------------------------------------------------------


def homeless(words: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run as a user whom the system does not list, as containers have them; without HOME."""
    unshare = shutil.which("unshare")
    known = ("HOME", "XDG_DATA_HOME", "USER", "LOGNAME")
    environment: Mapping[str, str] = {k: v for k, v in without_display().items() if k not in known}
    if unshare is None:
        pytest.skip("unshare is not installed")
    command = [unshare, "--user", "--map-user=54321"]
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system gives no user namespaces")
    return subprocess.run(
        [*command, *PROGRAM, *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@posix
@pytest.mark.slow
def test_a_user_without_a_home_folder(control_folder: Path, tmp_path: Path) -> None:
    """No HOME and no entry in the list of users: nothing started, not even --check-config."""
    write_video(tmp_path / "a.mp4", VideoSpec(count=2))
    run = ("--source", "a.mp4", "--output", "masks:m", "--prompt", "box=10,10,60,60")
    done = homeless((*run, "--save-profile", "./p"), tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "p" / "profile.json").is_file()
    for words, part in (
        (("--list-profiles",), "set HOME or XDG_DATA_HOME"),
        ((*run, "--save-profile", "x"), "or give a path such as ./x"),
    ):
        refused = homeless(words, tmp_path)
        assert refused.returncode == 2
        (line,) = refused.stderr.splitlines()
        assert line.startswith("error: ")
        assert part in line


DEMO = ("--source", "demo", "--set", "source.demo_frames=1", "--output", "none")
REPLACE = ("--effect", "replace", "--check-config", "--set")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--source", "~nosuchuser/a.mp4", "--output", "none"), 3),
        ((*DEMO[:4], "--output", "masks:~nosuchuser/m"), 2),
        ((*DEMO[:4], "--output", "video:~nosuchuser/v.mp4"), 2),
        ((*DEMO, "--record", "~nosuchuser/r"), 2),
        ((*DEMO, "--metrics", "~nosuchuser/m.jsonl"), 2),
        ((*DEMO, "--save-profile", "~nosuchuser/p"), 2),
        ((*DEMO, "--model", "~nosuchuser/m"), 4),
        ((*DEMO, "--prompt", "@~nosuchuser/p.jsonl"), 2),
        ((*DEMO, "--prompt", "mask=~nosuchuser/m.png"), 2),
        ((*DEMO, "--prompt", "bbox_txt=~nosuchuser/b.txt"), 2),
        (("--profile", "~nosuchuser/p"), 2),
        (("--replay", "~nosuchuser/r"), 2),
        (("--config", "~nosuchuser/c.yaml"), 2),
        (("--suggest", "~nosuchuser/s.json", "--source", "demo"), 2),
        ((*REPLACE, "effect.replace.picture=~nosuchuser/p.png"), 2),
        ((*REPLACE, "effect.replace.video=~nosuchuser/v.mp4"), 2),
        (("ctl", "profile", "save", "~nosuchuser/p"), 2),
    ],
)
def test_nobodys_home(
    words: tuple[str, ...],
    code: int,
    control_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """`~nosuchuser` was a traceback, or a folder of that very name."""
    import run_live

    monkeypatch.chdir(tmp_path)
    assert run_live.main(words) == code
    said = [line for line in capfd.readouterr().err.splitlines() if " INFO " not in line]
    (line,) = said
    assert line.startswith("error: ")
    assert "~nosuchuser" in line
    assert not list(tmp_path.glob("*nosuch*"))
