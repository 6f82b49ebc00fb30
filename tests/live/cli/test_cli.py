"""The command line as a process: every wrong use is one clear line and the right exit code."""

from __future__ import annotations

import re
import shutil
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest

from run_live import main
from samcam.live.cli.command_line import parse
from samcam.live.cli.plan import choose_outputs, choose_pace
from samcam.live.config.request import Request
from samcam.live.errors import ConfigError
from samcam.live.sources.base import SourceInfo
from tests.conftest import CliResult, RunCli

DEMO = ("--source", "demo", "--set", "source.demo_frames=3", "--output", "none")


def errors(result: CliResult) -> list[str]:
    """The error lines; anything else on stderr must be a log line, never a traceback."""
    assert "Traceback" not in result.stderr, result.stderr
    return [line for line in result.stderr.splitlines() if line.startswith("error: ")]


def one_error(result: CliResult, code: int, *parts: str) -> None:
    assert result.returncode == code, result.stderr
    (line,) = errors(result)
    for part in parts:
        assert part in line, line


# --- wrong use and configuration: 2 ---------------------------------------------------------


def test_unknown_configuration_key_names_the_nearest(run_cli: RunCli) -> None:
    one_error(run_cli(*DEMO, "--set", "source.fsp=3"), 2, "source.fsp", "unknown", "source.fps")


def test_all_configuration_problems_at_once(run_cli: RunCli, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("source:\n  fps: -1\n  mirrored: true\noutput:\n  on_lost: show\n")
    result = run_cli("--config", path, "--set", "metrics.period_s=0", "--check-config")
    assert result.returncode == 2
    lines = errors(result)
    assert len(lines) == 4
    for part in (
        "source.fps: -1: expected a number 0.1..1000",
        "source.mirror",
        "hide_all | hold | passthrough",
        "metrics.period_s: 0: expected",
    ):
        assert any(part in line for line in lines), part


def test_a_value_that_looks_like_a_date(run_cli: RunCli) -> None:
    """YAML's own ValueError was a traceback with exit code 1."""
    one_error(run_cli(*DEMO, "--set", "source.fps=2024-13-45"), 2, "source.fps=2024-13-45")


def test_settings_and_options_are_checked_together(run_cli: RunCli) -> None:
    result = run_cli(*DEMO, "--set", "source.fps=-1", "--effect", "sepia", "--pace", "slow")
    assert result.returncode == 2
    lines = errors(result)
    assert len(lines) == 3
    for part in ("source.fps: -1", "--effect sepia", "--pace slow"):
        assert any(part in line for line in lines), part


def test_metrics_never_go_into_a_file_of_another_kind(run_cli: RunCli, tmp_path: Path) -> None:
    """Rows were appended to the video, the prompts or the configuration that the run reads."""
    notes = tmp_path / "cwd" / "notes.txt"
    notes.write_text("mine\n")
    prompts = tmp_path / "cwd" / "p.jsonl"
    prompts.write_text('{"point": [200, 200]}\n')
    for metrics, words, part in (
        ("notes.txt", DEMO, "holds something else"),
        ("none/", DEMO, "expected the name of a file"),
        ("p.jsonl", (*DEMO, "--prompt", "@p.jsonl"), "this is --prompt @p.jsonl"),
        ("notes.txt", ("--source", "./notes.txt", "--output", "none"), "this is --source"),
        ("m/tracks.jsonl", (*DEMO[:-1], "masks:m"), "this is --output masks:m"),
    ):
        one_error(run_cli(*words, "--metrics", metrics, "--check-config"), 2, metrics, part)
    assert notes.read_text() == "mine\n"
    assert prompts.read_text() == '{"point": [200, 200]}\n'


def test_missing_configuration_file(run_cli: RunCli) -> None:
    one_error(run_cli(*DEMO, "--config", "none.yaml"), 2, "none.yaml", "No such file")


def test_check_config(
    repo_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`config.yaml` of the current folder counts where there is one, else the checkout's."""
    monkeypatch.chdir(tmp_path)
    assert main(["--check-config"]) == 0
    checkouts = repo_root / "config.yaml"
    assert capsys.readouterr() == (f"configuration is fine: {checkouts}\n", "")
    path = tmp_path / "config.yaml"
    path.write_text("source:\n  fps: 25\n")
    assert main(["--check-config"]) == 0
    assert capsys.readouterr() == ("configuration is fine: config.yaml\n", "")
    path.write_text("source:\n  fps: 0\n")
    assert main(["--check-config"]) == 2
    assert "config.yaml, line 2: source.fps: 0: expected" in capsys.readouterr().err
    assert main(["--check-config", "--config", str(repo_root / "config.yaml")]) == 0


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        (["--prompt", "point=5000,10"], ["point=5000,10", "854x480"]),
        (["--prompt", "pint=5,10"], ["pint", "unknown key"]),
        (["--prompt", "point=5,10 frame=3"], ["frame=3", "0..2"]),
        (["--effect", "sepia"], ["--effect sepia", "highlight | blur"]),
        (["--pace", "recorded"], ["--pace recorded", "--replay DIR"]),
        (["--effect", "transparent", "--output", "video:x.mp4"], ["video:x.mp4", "chroma"]),
        (["--set", "effect.per_object={300: blur}"], ["effect.per_object", "1..254"]),
        (["--set", "effect.per_object={2: sepia}"], ["{2: sepia}", "highlight | blur"]),
        (["--set", "effect.per_object=[blur]"], ["effect.per_object", "{NUMBER: WORD}"]),
        (["--pace", "fast"], ["--pace fast", "live | all"]),
        (["--backend", "openvino"], ["openvino", "auto | tensorrt | tensorrt-rtx | onnx"]),
        (["--preset", "best"], ["--preset best", "sam2"]),
        (["--preset", "dam2"], ["--preset dam2", "expected default | "]),
        (["--preset", "sam2", "--set", "tracker.gate.weight=0.3"], ["tracker.gate.weight", "sam2"]),
        (
            ["--preset", "sam2", "--set", "tracker.crop.enabled=true"],
            ["tracker.crop.enabled", "sam2", "no motion gate"],
        ),
        (
            ["--set", "tracker.crop.enabled=maybe"],
            ["tracker.crop.enabled", "auto | true | false"],
        ),
        (["--set", "tracker.crop.zoom=1"], ["tracker.crop.zoom", "1.2..20"]),
        (["--output", "virtualcam:"], ["virtualcam:", "no name", "virtualcam[:DEVICE]"]),
        (["--output", "web:8080"], ["web:8080", "unknown", "virtualcam[:DEVICE]"]),
        (["--output", "vidoe:x.mp4"], ["vidoe:x.mp4", "video:FILE.mp4"]),
        (["--output", "masks:"], ["masks:", "masks:DIR"]),
        (["--output", "none"], ["none", "twice"]),
        (["--surce", "demo"], ["--surce", "--help"]),
        (["--model"], ["--model", "expected one argument"]),
        (["--model", "--loop"], ["--model", "expected one argument; see --help"]),
        (["--source", "-x.mp4"], ["begins with a dash is written --source=./-x.mp4"]),
        (["--record", "-it's"], ["is written '--record=./-it'\"'\"'s'"]),
        (["--metrics", "-x=1.jsonl"], ["is written --metrics=./-x=1.jsonl"]),
        (["--replay", "-r"], ["is written --replay=./-r"]),
        (["--config", "--c.yaml"], ["is written --config=./--c.yaml"]),
        (["--suggest", "-s.json"], ["is written --suggest=./-s.json"]),
        (["--profile", "-p"], ["is written --profile=-p"]),
    ],
)
def test_wrong_use_is_one_line(
    args: list[str], parts: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """In this process, for speed; the process tests above and below show the exit code."""
    assert main([*DEMO, *args]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len([line for line in lines if line.startswith("error: ")]) == 1
    for part in parts:
        assert part in lines[-1]


def test_wrong_prompt_as_a_process(run_cli: RunCli) -> None:
    one_error(run_cli(*DEMO, "--prompt", "point=5000,10"), 2, "point=5000,10", "854x480")


def test_first_prompts_are_judged_frame_by_frame(run_cli: RunCli, nano_dir: Path) -> None:
    """A positive click on a later frame let a negative one start the object; order mattered."""
    later = ("--prompt", "point=170,330 frame=2", "--prompt", "neg=10,10 frame=0")
    one_error(run_cli(*DEMO, *later), 2, "object 1", "positive point")
    same = ("--prompt", "neg=10,10", "--prompt", "point=170,330")
    assert run_cli(*DEMO, *same).returncode == 0


def test_prompt_that_points_at_nothing(run_cli: RunCli, nano_dir: Path) -> None:
    one_error(run_cli(*DEMO, "--prompt", "neg=5,10"), 2, "--prompt", "positive point")


def test_no_display_names_the_other_outputs(run_cli: RunCli) -> None:
    others = ("no display", "video:FILE.mp4", "masks:DIR")
    one_error(run_cli("--source", "demo"), 2, "no --output", *others)
    one_error(run_cli("--source", "demo", "--output", "window"), 5, "--output window", *others)


# --- help, version, cameras ----------------------------------------------------------------


def test_help_lists_what_works_and_nothing_else(run_cli: RunCli) -> None:
    result = run_cli("--help")
    assert result.returncode == 0
    for option in (
        "--source",
        "--model",
        "--backend",
        "--preset",
        "--prompt",
        "--output",
        "--effect",
        "--pace",
        "--record DIR",
        "--replay DIR",
        "recorded",
        "--metrics",
        "--config",
        "--set",
        "--check-config",
        "--list-cameras",
        "--doctor",
        "--suggest",
        "--profile",
        "--save-profile",
        "--list-profiles",
        "virtualcam[:DEVICE]",
        "--smooth",
        "--version",
    ):
        assert option in result.stdout
    for absent in ("web",):
        assert absent not in result.stdout


def test_version_is_the_packages(run_cli: RunCli, repo_root: Path) -> None:
    project = tomllib.loads((repo_root / "pyproject.toml").read_text())["project"]
    assert run_cli("--version").stdout == f"samcam {project['version']}\n"
    assert project["scripts"]["samcam"] == "samcam.__main__:main"


def test_list_cameras(run_cli: RunCli) -> None:
    result = run_cli("--list-cameras")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.strip()


# --- sources: 3, models: 4, outputs: 5 ------------------------------------------------------


def fails(
    capsys: pytest.CaptureFixture[str], code: int, args: Sequence[str | Path], *parts: str
) -> None:
    """Run in this process; for further cases of what is tested as a process too."""
    assert main([str(arg) for arg in args]) == code
    lines = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error: ")]
    assert len(lines) == 1
    for part in parts:
        assert part in lines[0]


def test_wrong_source(run_cli: RunCli) -> None:
    one_error(run_cli("--source", "none.mp4", "--output", "none"), 3, "none.mp4", "no such file")


def test_more_wrong_sources(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("not a video")
    fails(capsys, 3, ("--source", text, "--output", "none"), "text.mp4")
    empty = tmp_path / "empty"
    empty.mkdir()
    fails(capsys, 3, ("--source", empty, "--output", "none"), "empty")


def test_missing_model_folder(run_cli: RunCli, tmp_path: Path) -> None:
    one_error(run_cli(*DEMO, "--model", tmp_path / "none"), 4, "none", "nano")


def test_more_missing_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fails(capsys, 4, (*DEMO, "--model", "nona"), "nona", "nano")
    fails(capsys, 4, (*DEMO, "--model", tmp_path), "manifest.json", "missing")
    fails(capsys, 4, (*DEMO, "--model", "sam2.1-tiny"), "python -m export sam2.1-tiny")


def test_truncated_network_is_named(run_cli: RunCli, tmp_path: Path, nano_dir: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(nano_dir, folder)
    network = folder / "mask_decoder.onnx"
    network.write_bytes(network.read_bytes()[:-100])
    one_error(run_cli(*DEMO, "--model", folder), 4, "mask_decoder.onnx", "python -m samcam.export")


def test_unwritable_output(run_cli: RunCli, tmp_path: Path, nano_dir: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("in the way")
    path = blocker / "out.mp4"
    one_error(run_cli(*DEMO[:-2], "--output", f"video:{path}"), 5, str(path))


def test_more_unwritable_outputs(
    tmp_path: Path, nano_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, blocker = tmp_path / "folder.mp4", tmp_path / "file"
    folder.mkdir()
    blocker.write_text("in the way")
    fails(capsys, 5, (*DEMO[:-2], "--output", f"video:{folder}"), "folder.mp4")
    fails(capsys, 5, (*DEMO[:-2], "--output", f"masks:{blocker}"), "file")
    fails(capsys, 5, (*DEMO, "--metrics", tmp_path / "none" / "m.jsonl"), "m.jsonl")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which Linux has")
def test_full_disk_in_the_middle_ends_the_run_with_its_summary(
    run_cli: RunCli, nano_dir: Path
) -> None:
    endless = ("--source", "demo", "--set", "source.demo_frames=0", "--output", "none")
    result = run_cli(*endless, "--metrics", "/dev/full")
    one_error(result, 5, "/dev/full", "No space left")
    # rows are written beside the steps, so how many there were by then is chance
    assert re.search(r"summary: stopped by an error; [1-9]\d* of", result.stdout)


# --- what main decides -----------------------------------------------------------------------


def test_a_bug_is_exit_code_1_with_its_traceback(
    run_cli: RunCli, tmp_path: Path, repo_root: Path
) -> None:
    """sitecustomize breaks the configuration loader, as no user can."""
    (tmp_path / "sitecustomize.py").write_text(
        "import samcam.live.config\n"
        "def broken(*args): raise RuntimeError('a bug')\n"
        "samcam.live.config.read_settings = broken\n"
    )
    result = run_cli("--check-config", env={"PYTHONPATH": f"{tmp_path}:{repo_root}"})
    assert result.returncode == 1
    assert "Traceback" in result.stderr
    assert result.stderr.splitlines()[-1] == "RuntimeError: a bug"


def test_defaults_are_the_specified_ones() -> None:
    request = parse([])
    assert request == Request()
    assert (request.source, request.model, request.backend) == ("0", "nano", "auto")
    assert (request.preset, request.effect, request.pace) == ("default", "highlight", None)


@pytest.mark.parametrize(
    ("kind", "live", "outputs", "expected"),
    [
        ("file", False, ("video:a.mp4",), "all"),
        ("demo", False, ("none",), "all"),
        ("file", False, ("window",), "live"),
        ("folder", False, ("none", "window"), "live"),
        ("camera", True, ("none",), "live"),
        ("url", True, ("video:a.mp4",), "live"),
    ],
)
def test_default_pace(kind: str, live: bool, outputs: tuple[str, ...], expected: str) -> None:
    info = SourceInfo("x", kind, (64, 48), 30.0, None, live)
    assert choose_pace(None, info, outputs) == expected
    assert choose_pace("all", info, outputs) == "all"
    assert choose_pace("live", info, outputs) == "live"


def test_display_decides_the_default_output(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_outputs(("none",)) == ("none",)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(ConfigError, match="no display"):
        choose_outputs(())
