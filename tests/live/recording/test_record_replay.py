"""Runs that are recorded and replayed: the same masks, whatever the source and the ending."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from run_live import main
from samcam.live.sources.demo.scene import DemoScene
from tests.conftest import REPO_ROOT, RunCli
from tests.helpers.bounds import RUN_TIMEOUT_S
from tests.helpers.recordings import (
    BALL,
    CARD,
    SIZE_WH,
    add_command,
    check_schemas,
    common_masks,
    files_of,
    json_rows,
    mean_iou,
    object_ids,
    one_step,
    write_clip,
)
from tests.helpers.synthetic_video import MjpegServer, serve_file

PROMPTS = ("--prompt", CARD, "--prompt", f"{BALL} frame=3")
SMALL = ("--source", "demo", "--set", f"source.demo_size={list(SIZE_WH)}")
SHORT = (*SMALL, "--set", "source.demo_frames=8")
OUTSIDE = json.dumps(
    {
        "type": "Prompt",
        "points_xy_px": {"dtype": "float32", "shape": [1, 2], "values": [75, 750]},
        "labels": {"dtype": "int32", "shape": [1], "values": [1]},
    }
)


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nano_dir: Path) -> None:
    monkeypatch.chdir(tmp_path)


def errors(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one error line."""
    lines = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error: ")]
    assert len(lines) == 1, lines
    return lines[0]


@pytest.mark.slow
def test_a_file_is_replayed_bit_for_bit_by_the_real_command(
    run_cli: RunCli, tmp_path: Path
) -> None:
    """Two prompts, processes of their own, twice; and everything stands in the recording."""
    clip = write_clip(tmp_path / "clip.mp4", 9)
    made = run_cli(
        *("--source", clip, *PROMPTS, "--record", "rec", "--output", "masks:original"),
        *("--preset", "samurai-paper", "--effect", "blur", "--set", "effect.blur.sigma_px=9"),
        *("--output", "video:original.mp4"),
    )
    assert made.returncode == 0, made.stderr
    cwd = made.cwd
    check_schemas(cwd / "rec")
    header = json.loads((cwd / "rec" / "recording.json").read_text())
    assert header["complete"]
    assert (header["steps"], header["preset"], header["effect"]) == (9, "samurai-paper", "blur")
    assert header["settings"]["effect.blur.sigma_px"] == 9.0
    assert header["source"]["path"] == str(clip)
    assert len(header["prompts"]) == 2
    for name in ("first", "second"):
        again = run_cli(
            *("--replay", "rec", "--output", f"masks:{name}", "--output", f"video:{name}.mp4")
        )
        assert again.returncode == 0, again.stderr
        assert files_of(cwd / name) == files_of(cwd / "original")
        assert (cwd / f"{name}.mp4").read_bytes() == (cwd / "original.mp4").read_bytes()
    assert set(np.unique(object_ids(cwd / "first" / "00008.png"))) == {0, 1, 2}


def test_mask_prompts_and_a_folder(tmp_path: Path) -> None:
    """Prompts with a mask and a picture of their own are in the recording, not only their names."""
    scene = DemoScene(SIZE_WH)
    (tmp_path / "pictures").mkdir()
    for index in range(4):
        cv2.imwrite(str(tmp_path / "pictures" / f"{index}.png"), scene.render(index)[0])
    image, truth = scene.render(20)
    mask = np.zeros(image.shape[:2], np.uint8)
    mask[40:110, 40:110] = 255
    assert truth is not None
    cv2.imwrite("mask.png", mask)
    cv2.imwrite("reference.png", image)
    prompt = ("--prompt", "mask=mask.png image=reference.png")
    args = ("--source", "pictures", *prompt, "--record", "rec", "--output", "masks:a")
    assert main(args) == 0
    check_schemas(tmp_path / "rec")
    Path("mask.png").unlink()
    Path("reference.png").unlink()
    assert main(["--replay", "rec", "--output", "masks:b"]) == 0
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
    assert np.count_nonzero(object_ids(tmp_path / "b" / "00000.png")) > 500


@pytest.mark.slow
def test_commands_at_their_step_and_other_settings(tmp_path: Path) -> None:
    """What took effect before a step does so again, in the masks and in the feed."""
    assert main([*SHORT, *PROMPTS, "--record", "rec", "--output", "none"]) == 0
    add_command(tmp_path / "rec", 4, {"type": "RemoveObject", "object_id": 1})
    add_command(tmp_path / "rec", 5, {"type": "SetEffect", "name": "blur", "object_id": None})
    add_command(tmp_path / "rec", 6, {"type": "HideFeed", "on": True})
    outputs = ("--output", "masks:{0}", "--output", "video:{0}.mp4")
    runs: dict[str, list[str]] = {
        "exact": [],
        "again": ["--pace", "recorded"],
        "all": ["--pace", "all"],
        "preset": ["--preset", "sam2", "--set", "tracker.presence_threshold=30"],
        "effect": ["--effect", "highlight"],
    }
    for name, more in runs.items():
        here = [text.format(name) for text in outputs]
        assert main(["--replay", "rec", *here, *more]) == 0
    rows = json_rows(tmp_path / "exact" / "tracks.jsonl")
    assert [row["step"] for row in rows if row["object"] == 1] == [0, 1, 2, 3]
    assert [row["step"] for row in rows if row["object"] == 2] == [3, 4, 5, 6, 7]
    exact = files_of(tmp_path / "exact")
    video = Path("exact.mp4").read_bytes()
    assert (files_of(tmp_path / "again"), Path("again.mp4").read_bytes()) == (exact, video)
    assert (files_of(tmp_path / "all"), Path("all.mp4").read_bytes()) == (exact, video)
    assert files_of(tmp_path / "preset").keys() == exact.keys()
    assert files_of(tmp_path / "preset") != exact, "another preset gives other figures"
    assert files_of(tmp_path / "effect") == exact, "an effect changes no mask"
    shown, chosen = frames_of("exact.mp4"), frames_of("effect.mp4")
    assert np.array_equal(shown[4], chosen[4])
    assert not np.array_equal(shown[5], chosen[5]), "--effect stands instead of recorded changes"
    for feed in (shown, chosen):
        assert feed[6].std() < feed[4].std() / 4, "hidden: nothing of the scene is left"


def frames_of(name: str) -> list[np.ndarray]:
    with av.open(name) as container:
        return [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]


@pytest.mark.slow
def test_pictures_of_a_url_lossless_and_lossy(tmp_path: Path) -> None:
    """What cannot be read again is in the recording: every bit, or nearly."""
    clip = write_clip(tmp_path / "clip.mp4", 10)
    faststart = tmp_path / "served.mp4"
    remux(clip, faststart)
    with serve_file(faststart) as url:
        for kind, word in (("lossless", "true"), ("lossy", "false")):
            source = ("--source", url, "--set", f"record.lossless={word}", *PROMPTS)
            here = ("--record", f"rec-{kind}", "--output", f"masks:{kind}")
            assert main([*source, *here]) == 0
    for kind in ("lossless", "lossy"):
        check_schemas(tmp_path / f"rec-{kind}")
        for name in ("b", "c"):
            assert main(["--replay", f"rec-{kind}", "--output", f"masks:{kind}-{name}"]) == 0
        assert files_of(tmp_path / f"{kind}-b") == files_of(tmp_path / f"{kind}-c")
    assert files_of(tmp_path / "lossless") == files_of(tmp_path / "lossless-b")
    assert mean_iou(tmp_path / "lossy", tmp_path / "lossy-b") > 0.8


def remux(clip: Path, to: Path) -> None:
    """Write a file with its length at the front, as a server of recordings has them."""
    front = {"movflags": "faststart"}
    with av.open(str(clip)) as given, av.open(str(to), "w", options=front) as made:
        stream = made.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                made.mux(packet)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_killed_live_recording_replays_up_to_its_last_second(tmp_path: Path) -> None:
    """A network camera at full speed, live pace, lossless; killed in the middle."""
    with MjpegServer(per_connection=100_000).serve() as url:
        process = subprocess.Popen(
            [
                *(sys.executable, str(REPO_ROOT / "run_live.py"), "--source", url),
                *("--prompt", "box=30,20,70,50", "--set", "record.lossless=true"),
                *("--record", "rec", "--output", "masks:a", "--set", "metrics.period_s=0.5"),
            ],
            cwd=tmp_path,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        watchdog = threading.Timer(RUN_TIMEOUT_S, process.kill)
        watchdog.start()
        log = []
        try:
            assert process.stderr is not None
            for line in process.stderr:
                log.append(line)
                steps = tmp_path / "rec" / "steps.jsonl"
                if steps.exists() and (rows := json_rows(steps)) and rows[-1]["time_ns"] > 2.2e9:
                    break
            process.send_signal(signal.SIGKILL)
        finally:
            process.kill()
            process.communicate()
            watchdog.cancel()
            watchdog.join()
    assert process.returncode == -signal.SIGKILL, "".join(log)
    check_schemas_of_whole_rows(tmp_path / "rec")
    assert main(["--replay", "rec", "--output", "masks:b"]) == 0
    assert len(common_masks(tmp_path / "a", tmp_path / "b")) > 5
    recorded = json_rows(tmp_path / "rec" / "steps.jsonl")[-1]["time_ns"] / 1e9
    replayed = json_rows(tmp_path / "b" / "tracks.jsonl")[-1]["time_s"]
    assert replayed > recorded - 1.5


def check_schemas_of_whole_rows(recording: Path) -> None:
    """A killed run may leave the beginning of a row; leave that out."""
    for path in recording.glob("*.jsonl"):
        data = path.read_bytes()
        path.write_bytes(data[: data.rfind(b"\n") + 1])
    check_schemas(recording)
    assert not json.loads((recording / "recording.json").read_text())["complete"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs ulimit")
def test_a_full_disk_is_one_line_and_what_was_written_replays(tmp_path: Path) -> None:
    """The pictures' file reaches the limit of its size."""
    clip = write_clip(tmp_path / "clip.mp4", 90, every=3)
    served = tmp_path / "served.mp4"
    remux(clip, served)
    with serve_file(served) as url:
        run = (
            f"ulimit -f 900; exec {sys.executable} {REPO_ROOT / 'run_live.py'} --source {url} "
            "--record rec --output none --set record.lossless=true"
        )
        done = subprocess.run(
            ["bash", "-c", run],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=RUN_TIMEOUT_S,
            check=False,
        )
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 5, done.stderr
    assert len(lines) == 1
    assert "--record rec: cannot be written: File too large" in lines[0]
    assert "Traceback" not in done.stderr
    assert main(["--replay", "rec", "--output", "masks:b", "--pace", "all"]) == 0
    header = json.loads((tmp_path / "rec" / "recording.json").read_text())
    assert not header["complete"]


def test_live_pace_of_a_replay_and_a_picture(tmp_path: Path) -> None:
    """A single picture is one frame; `live` and `all` end with the recording too."""
    cv2.imwrite("photo.png", DemoScene(SIZE_WH).render(0)[0])
    assert (
        main(["--source", "photo.png", "--prompt", CARD, "--record", "r", "--output", "none"]) == 0
    )
    for pace in ("recorded", "live", "all"):
        assert main(["--replay", "r", "--pace", pace, "--output", f"masks:{pace}"]) == 0
        assert [p.name for p in (tmp_path / pace).glob("*.png")] == ["00000.png"]


def test_a_changed_moved_or_missing_source(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for index in range(3):
        cv2.imwrite(str(pictures / f"{index}.png"), DemoScene(SIZE_WH).render(index)[0])
    assert (
        main(["--source", "pictures", "--prompt", CARD, "--record", "r", "--output", "none"]) == 0
    )
    shutil.copytree(pictures, "copy")
    shutil.copyfile(pictures / "0.png", pictures / "2.png")
    capsys.readouterr()
    replay = ["--replay", "r", "--output", "none"]
    assert main(replay) == 3
    line = errors(capsys)
    assert "is not the recorded one (2.png has changed)" in line
    assert "--source PATH" in line
    assert main([*replay, "--source", "copy"]) == 0
    shutil.rmtree(pictures)
    capsys.readouterr()
    assert main(replay) == 3
    line = errors(capsys)
    assert f"its source was {pictures}, which cannot be read now: No such file" in line
    assert "--source PATH" in line
    assert main([*replay, "--source", "nowhere"]) == 3
    assert "nor can nowhere" in errors(capsys)


@pytest.mark.parametrize(
    ("key", "value"), [("manifest_sha256", 5), ("model", ""), ("pictures_dropped", "x")]
)
def test_a_header_with_a_wrong_value_is_one_line(
    key: str, value: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one_step(tmp_path / "r")
    path = tmp_path / "r" / "recording.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    assert main(["--replay", "r", "--output", "none"]) == 3
    assert "recording.json: damaged" in errors(capsys)


def test_a_changed_model_and_version_are_said(
    tmp_path: Path, nano_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(nano_dir, "model")
    run = [*SHORT, "--set", "source.demo_frames=1", "--model", "model", "--record", "r"]
    assert main([*run, "--output", "none"]) == 0
    manifest = Path("model/manifest.json")
    manifest.write_text(manifest.read_text() + "\n")
    header = json.loads(Path("r/recording.json").read_text())
    assert header["model"] == str(tmp_path / "model")
    header["version"] = "0.0.1"
    Path("r/recording.json").write_text(json.dumps(header))
    capsys.readouterr()
    # a folder that a recording names must be the recorded one; the user may name any
    assert main(["--replay", "r", "--output", "none"]) == 4
    line = errors(capsys)
    assert f'model "{tmp_path}/model" is not the recorded one: manifest.json has SHA-256' in line
    assert "--model MODEL" in line
    assert main(["--replay", "r", "--output", "none", "--model", "model"]) == 0
    said = capsys.readouterr().err
    assert "model" in said
    assert "is not the recorded one" in said
    assert "recorded by version 0.0.1" in said
    assert main(["--replay", "r", "--output", "none", "--model", "nano"]) == 0
    assert "is not the recorded one" not in capsys.readouterr().err


def test_wrong_use_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    demo = [*SHORT, "--set", "source.demo_frames=1", "--output", "none"]
    assert main([*demo, "--record", "r"]) == 0
    replay = ["--replay", "r", "--output", "none"]
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    cases: list[tuple[list[str], int, str]] = [
        ([*demo, "--record", "r"], 5, "holds "),
        ([*demo, "--record", "file"], 5, "--record file: cannot be written: Not a directory"),
        ([*demo, "--pace", "recorded"], 2, "--pace recorded: expected with --replay DIR only"),
        ([*demo, "--record", "n", "--output", "masks:n/m"], 2, "in the folder of --record n"),
        ([*demo, "--record", "n", "--metrics", "n/m.jsonl"], 2, "in the folder of --record n"),
        ([*replay, "--output", "video:r/pictures.mp4"], 2, "in the folder of --replay r"),
        ([*replay, "--prompt", CARD], 2, "--prompt: not with --replay r: its prompts"),
        ([*replay, "--config", "c.yaml"], 2, "--config: not with --replay r: its settings"),
        ([*replay, "--record", "s"], 2, "--record: not with --replay r"),
        ([*replay, "--set", "source.fps=3"], 2, "--set source.fps=3: not with --replay r"),
        ([*replay, "--source", "file"], 2, "--source file: not with --replay r"),
        ([*replay, "--model", "empty"], 4, "model empty: manifest.json cannot be read"),
        ([*replay, "--pace", "fast"], 2, "expected live | all | recorded"),
        (["--replay", "none", "--output", "none"], 3, "--replay none: no recording.json there"),
    ]
    for args, code, said in cases:
        capsys.readouterr()
        assert main(args) == code, args
        assert said in errors(capsys), args


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("recording.json", "{", "recording.json: not valid JSON"),
        ("recording.json", '{"format": 2}', "expected a recording of format 1"),
        ("recording.json", '{"format": 1, "source": {}}', "recording.json: damaged"),
        ("steps.jsonl", "", "no frame was processed"),
        ("steps.jsonl", '{"step": 1, "frame": 0, "time_ns": 0}\n', "line 1: steps are missing"),
        ("steps.jsonl", '{"step": 0, "frame": -1, "time_ns": 0}\n', "frame: -1"),
        ("commands.jsonl", '{"step": 0}\n', "a command: expected an object"),
        ("commands.jsonl", '{"step": 0, "command": {"type": "Fly"}}\n', "command Fly"),
        ("commands.jsonl", f'{{"step": 0, "command": {OUTSIDE}}}\n', "point 75,750 lies outside"),
        ("commands.jsonl", 100_000 * "[" + "\n", "commands.jsonl, line 1: not valid JSON"),
        ("recording.json", 100_000 * "[", "recording.json: not valid JSON"),
    ],
)
def test_damaged_recordings_are_one_line(
    name: str, content: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "r"
    one_step(folder)
    (folder / name).write_text(content)
    assert main(["--replay", "r", "--output", "none"]) == 3
    assert said in errors(capsys)
