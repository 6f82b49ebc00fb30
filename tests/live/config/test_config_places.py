"""Which config.yaml is read: `--config`, the current folder's if it is ours, checkout, user."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from run_live import main
from samcam.live.config import places as config
from samcam.live.config.load import load_settings
from samcam.live.config.places import ConfigPlace, find_config
from tests.conftest import REPO_ROOT, RunCli
from tests.helpers.bounds import RUN_TIMEOUT_S

CHECKOUTS = REPO_ROOT / "config.yaml"
FINE = f"configuration is fine: {CHECKOUTS}\n"
# What others have in a file of that name -> what is said about it.
FOREIGN = {
    "model: resnet50\nsource: {fps: 3}\n": "the key model is none",
    "source: {fps: 3}\non: [push]\n": "the key true is none",
    "source: 3\nsorce: 4\nlight: 5\n": "the key sorce is none",
    "source: {fps: 3}\nresources: 4\n": "the key resources is none",
    "sources: 3\n": "the key sources is none",
    "source: !include a.yaml\nlight: !secret b\n": "the key light is none",
    "apiVersion: v1\n---\nkind: Pod\n": "the key apiVersion is none",
    "my key: [\nsource: 3\n": "the key my key is none",
    "'a': &b [1]\nc: *b\n? [d]\n: 1\n": "the key a is none",
    "a: 1\na: 2\n": "the key a is none",
    # Names that many programs have: what they hold says whose they are.
    "source: data/\noutput: out/\n": "source is data/, no section of SamCam's keys",
    "source:\n  url: x\n": "source has none of the keys that it has for SamCam",
    "source: 5\n": "source is 5, no section",
    "window: [1, 2]\noutput: {a: {fps: 3}}\n": "window is [1, 2], no section",
    "{{ template }}": "it is not valid YAML",
    "- a\n- b\n": "it holds [a, b]",
    "text": "it holds text",
    "a" * (1 << 20) + "b": "larger than 1048576 bytes",
    "x: " + "[" * 100_000: "the key x is none",
    "\0\1\2\xff": "not a text",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, empty."""
    path = tmp_path / "work"
    path.mkdir()
    monkeypatch.chdir(path)
    return path


@pytest.fixture
def users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the user's file belongs; there is no checkout."""
    for name in ("HOME", "XDG_CONFIG_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.setattr(config, "checkout", lambda: None)
    own = config._user_folder()
    assert own is not None
    assert own.is_relative_to(tmp_path / "home")
    return own / "config.yaml"


def test_the_current_folders_comes_before_the_checkouts(folder: Path) -> None:
    assert find_config() == ConfigPlace(CHECKOUTS)
    here = folder / "config.yaml"
    for text in ("source:\n", "source: {fps: 3}\nengine.threads: 2\n", "source: [\n"):
        here.write_text(text, encoding="utf-8")
        assert find_config() == ConfigPlace(Path("config.yaml")), text


@pytest.mark.parametrize(
    "text",
    [
        *("source: 5\nwindow: {}", "source: [", "source: {fps: 0}", "source.fsp: 3"),
        *("source: {a: 1, fps: 3}", "source: {fsp: 1}", "source: x\noutput: {on_idle: hide_all}"),
    ],
)
def test_a_file_of_ours_that_is_wrong_stays_an_error(
    text: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "config.yaml").write_text(text, encoding="utf-8")
    assert main(["--check-config"]) == 2
    assert capsys.readouterr().err.startswith("error: config.yaml")


@pytest.mark.parametrize("word", ["windwo", "window_", "Window", "widow.fps", "sources", "hotkey"])
@pytest.mark.parametrize("end", ["{}", "["])
def test_a_misspelt_section_is_an_error_among_sections_of_ours(
    word: str, end: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It switched the whole file off, and with it that everything is hidden while idle."""
    text = f"output: {{on_idle: hide_all}}\n{word}: {end}\n"
    (folder / "config.yaml").write_text(text, encoding="utf-8")
    assert main(["--check-config"]) == 2
    out, err = capsys.readouterr()
    said = f"{word}: unknown key; the nearest valid one is " if end == "{}" else "not valid YAML"
    assert err.startswith("error: config.yaml")
    assert said in err
    assert (out, err.count("\n")) == ("", 1)


@pytest.mark.parametrize("text", FOREIGN)
def test_a_foreign_file_is_left_aside(
    text: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "config.yaml").write_bytes(text.encode("latin-1"))
    assert main(["--check-config"]) == 0
    out, err = capsys.readouterr()
    assert out == FINE
    assert err.startswith("config.yaml of the current folder is left aside: ")
    assert FOREIGN[text] in err
    assert err.endswith("; to use it: --config config.yaml\n")
    assert err.count("\n") == 1
    assert main(["--check-config", "--config", "config.yaml"]) == 2


@pytest.mark.parametrize("kind", ["folder", "circle", "nowhere", "device"])
def test_what_is_no_file_is_left_aside(
    kind: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / "config.yaml"
    if kind == "folder":
        path.mkdir()
    else:
        target = {"circle": "config.yaml", "nowhere": "none", "device": "/dev/zero"}[kind]
        try:
            path.symlink_to(target)
        except OSError:
            pytest.skip("this system makes no links")
    assert main(["--check-config"]) == 0
    out, err = capsys.readouterr()
    assert out == FINE
    assert err.count("\n") == 1
    assert "is left aside: it cannot be read: " in err
    assert "--config" not in err, "it could not be read either"


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "---\n", "{}"])
def test_an_empty_file_hides_none_of_the_users(text: str, folder: Path, users: Path) -> None:
    users.parent.mkdir(parents=True)
    users.write_text("source: {fps: 7}\n", encoding="utf-8")
    (folder / "config.yaml").write_text(text, encoding="utf-8")
    found = find_config()
    assert found.path == users
    assert found.left_aside.endswith("aside: it sets nothing; to use it: --config config.yaml")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes in folders")
def test_a_pipe_is_not_waited_for(run_cli: RunCli, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "cwd" / "config.yaml")
    done = run_cli("--check-config", timeout_s=RUN_TIMEOUT_S)
    assert (done.returncode, done.stdout) == (0, FINE)
    assert "a pipe or device" in done.stderr


@pytest.mark.shared
def test_another_programs_file_ends_no_run(
    run_cli: RunCli, tmp_path: Path, shared_dir: Path
) -> None:
    """A run, and the doctor, in a folder of hugo, Home Assistant or a training script."""
    shutil.copy(shared_dir / "cases/config/foreign_config/config.yaml", tmp_path / "cwd")
    for words in (("--source", "demo", "--set", "source.demo_frames=2"), ("--doctor",)):
        done = run_cli(*words, "--output", "none")
        assert done.returncode == 0, done.stderr
        said = [line for line in done.stderr.splitlines() if "left aside" in line]
        assert len(said) == 1
        assert "the key model is none of SamCam's; to use it: --config config.yaml" in said[0]


def test_the_checkouts_own_file_is_never_foreign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key with a mistake in it is an error there, from whichever folder."""
    path = tmp_path / "config.yaml"
    path.write_text("sorce: 3\n", encoding="utf-8")
    monkeypatch.setattr(config, "checkout", lambda: tmp_path)
    monkeypatch.chdir(tmp_path)
    assert find_config() == ConfigPlace(Path("config.yaml"))
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert find_config() == ConfigPlace(path)


def test_the_users_file_without_a_checkout(folder: Path, users: Path) -> None:
    assert find_config() == ConfigPlace(None)
    users.parent.mkdir(parents=True)
    users.write_text("source: {fps: 7}\n", encoding="utf-8")
    assert find_config() == ConfigPlace(users)
    assert load_settings(find_config().path).source.fps == 7
    (folder / "config.yaml").write_text("model: x\n", encoding="utf-8")
    assert find_config().path == users
    assert "the key model" in find_config().left_aside
    (folder / "config.yaml").write_text("window: {}\n", encoding="utf-8")
    assert find_config() == ConfigPlace(Path("config.yaml"))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows asks the system, not a list of users")
def test_a_user_without_a_home_has_the_defaults(
    folder: Path, users: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pwd

    def nobody(_: int) -> None:
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    for name in ("HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name)
    assert find_config() == ConfigPlace(None)
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    assert find_config() == ConfigPlace(None)
