"""The demo, loop and speed programs: what they judge and write. No timing is asserted."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from bench import demo, hover, loop, speed
from bench.scores.datasets import DatasetError
from samcam.live.sources.demo.scene import CARD_ID, GEAR_ID, DemoScene
from tests.helpers.bounds import LONG_RUN_TIMEOUT_S
from tests.helpers.labelled_data import write_palette_png


@pytest.fixture(scope="module")
def scene() -> DemoScene:
    return DemoScene(demo.SIZE_WH)


def test_demo_judges_truth_as_right(tmp_path: Path, scene: DemoScene) -> None:
    for index in range(3):
        write_palette_png(tmp_path / f"{index:05d}.png", scene.render(index)[1])
    scores = demo.judge(tmp_path, 3)
    assert [scores[n].mean_iou for n in (GEAR_ID, CARD_ID)] == [1.0, 1.0]
    assert "object 1 (gear): mean IoU 1.000 over 3 frames" in scores[GEAR_ID].line()


def test_demo_tells_objects_apart(tmp_path: Path, scene: DemoScene) -> None:
    """Swapped ids are wrong for both, and half a mask is half right."""
    truth = scene.render(0)[1]
    swapped = np.where(truth == GEAR_ID, CARD_ID, np.where(truth == CARD_ID, GEAR_ID, 0))
    write_palette_png(tmp_path / "00000.png", swapped.astype(np.uint8))
    assert [score.mean_iou for score in demo.judge(tmp_path, 1).values()] == [0.0, 0.0]
    gear = np.argwhere(truth == GEAR_ID)
    half = truth.copy()
    half[tuple(gear[: len(gear) // 2].T)] = 0
    write_palette_png(tmp_path / "00000.png", half)
    scores = demo.judge(tmp_path, 1)
    assert scores[GEAR_ID].mean_iou == pytest.approx(0.5, abs=1e-3)
    assert scores[CARD_ID].mean_iou == 1.0


def test_demo_leaves_hidden_frames_out(
    tmp_path: Path, scene: DemoScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind the pillar there is nothing to compare with; a mask there is counted apart."""
    hidden = next(i for i in range(240) if not (scene.render(i)[1] == GEAR_ID).any())

    class Jumping(DemoScene):
        def render(self, index: int) -> tuple[demo.U8, demo.U8]:
            return super().render(0 if index == 0 else hidden)

    monkeypatch.setattr(demo, "DemoScene", Jumping)
    truth, behind = scene.render(0)[1], scene.render(hidden)[1]
    write_palette_png(tmp_path / "00000.png", truth)
    write_palette_png(tmp_path / "00001.png", behind)
    ghost = behind.copy()
    ghost[200:210, 400:410] = GEAR_ID
    write_palette_png(tmp_path / "00002.png", ghost)
    score = demo.judge(tmp_path, 3)[GEAR_ID]
    assert (score.ious, score.hidden, score.hidden_masked) == ({0: 1.0}, 2, 1)


def test_demo_needs_every_mask(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"00000\.png"):
        demo.judge(tmp_path, 1)


@pytest.mark.slow
def test_demo_runs_the_whole_program(tmp_path: Path, repo_root: Path, nano_dir: Path) -> None:
    """Video, masks and contact sheet are there, old masks are gone, the exit code is honest."""
    out = tmp_path / "out"
    (out / "demo_masks").mkdir(parents=True)
    (out / "demo_masks" / "99999.png").write_bytes(b"old")
    done = subprocess.run(
        [sys.executable, "-m", "bench.demo", "--out", str(out), "--frames", "13"],
        cwd=repo_root,
        capture_output=True,
        text=True,
        timeout=LONG_RUN_TIMEOUT_S,
    )
    assert "object 1 (gear): mean IoU" in done.stdout, done.stderr
    assert "object 2 (card): mean IoU" in done.stdout
    below = "below the aim" in done.stderr
    assert done.returncode == (1 if below else 0)
    assert below != ("both objects reach the aim" in done.stdout)
    assert len(list((out / "demo_masks").glob("*.png"))) == 13
    with av.open(str(out / "demo.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 13
    sheet = cv2.imread(str(out / "demo.png"))
    assert sheet is not None
    assert sheet.shape[0] > 3 * 200  # twelve tiles in three rows
    pages = [sys.executable, "-m", "bench.readme_pictures", "--video", str(out / "demo.mp4")]
    subprocess.run(
        [*pages, "--out", str(out)], cwd=repo_root, check=True, timeout=LONG_RUN_TIMEOUT_S
    )
    with Image.open(out / "demo.webp") as moving:
        assert getattr(moving, "n_frames", 1) == 4 + 5  # two clicks, then every third picture
        assert moving.size == (640, 360)
    strip = cv2.imread(str(out / "effects.jpg"))
    assert strip is not None
    assert strip.shape[1] == 4 * 300


def test_demo_passes_the_programs_exit_code_on(tmp_path: Path, repo_root: Path) -> None:
    command = [sys.executable, "-m", "bench.demo", "--out", str(tmp_path), "--model", "absent"]
    done = subprocess.run(
        command, cwd=repo_root, capture_output=True, text=True, timeout=LONG_RUN_TIMEOUT_S
    )
    assert done.returncode == 4
    assert "run_live.py ended with code 4" in done.stderr


def test_loop_measures_every_case() -> None:
    """Half a second each: frames arrive in order and every figure is there."""
    picture = np.zeros((loop.SIZE_WH[1], loop.SIZE_WH[0], 3), np.uint8)
    for case in loop.CASES:
        run = loop.run_once(case, [picture], 0.5)
        assert run.results_per_s > 0
        assert 0 < run.latency_p50 <= run.latency_p99
        assert run.age_mean > 0


def test_camera_is_never_behind_its_clock() -> None:
    """Indices rise, times are index / fps, and pictures nobody fetched are skipped, not queued."""
    picture = np.zeros((loop.SIZE_WH[1], loop.SIZE_WH[0], 3), np.uint8)
    camera = loop.TimedCamera([picture], fps=500, frames=40)
    frames = list(iter(camera.read, None))
    indices = [frame.index for frame in frames if frame is not None]
    assert indices[0] == 0
    assert all(a < b for a, b in itertools.pairwise(indices))
    assert [f.time_ns for f in frames if f is not None] == [i * 2_000_000 for i in indices]
    camera.close()
    assert loop.TimedCamera([picture], fps=1, frames=0).read() is None


def test_speed_reads_the_rate_from_the_summary() -> None:
    line = "  rate        source 31.0 fps, inference 24.6 fps"
    match = speed._RATE.search(line)
    assert match is not None
    assert match[1] == "24.6"


@pytest.mark.slow
def test_speed_runs_the_whole_program(tmp_path: Path, repo_root: Path, nano_dir: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- bench:speed -->\n<!-- /bench -->\n")
    readme = tmp_path / "README.md"
    readme.write_text("<!-- bench:speed-summary -->\n<!-- /bench -->\n")
    command = [sys.executable, "-m", "bench.speed", "--calls", "2", "--frames", "6", "--runs", "1"]
    done = subprocess.run(
        [*command, "--markdown", str(page), "--summary", str(readme)],
        cwd=repo_root,
        capture_output=True,
        text=True,
        timeout=LONG_RUN_TIMEOUT_S,
    )
    assert done.returncode == 0, done.stderr
    for part in ("image_encoder", "mask_prompt", "one object, overlay, mp4", "manifest"):
        assert part in done.stdout
        assert part in page.read_text()
    assert "one object, overlay, mp4" in readme.read_text()
    assert "image_encoder" not in readme.read_text()


def test_hover_measures_turns_with_and_without_the_mouse() -> None:
    rates = hover.measure(hover.CASES[2], "nano", 1, 0.5)
    assert rates.resting > 0
    assert rates.hovering > 0
    assert rates.answers >= 0
    text = hover.hover_table([(hover.CASES[2], hover.Rates(20.0, 19.0, 8.0))]).plain()
    assert "0.950" in text
    with pytest.raises(SystemExit):
        hover.parse_arguments(["--pairs", "0"])
