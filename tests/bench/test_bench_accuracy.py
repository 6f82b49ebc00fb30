"""The accuracy program as a process, with the embedded model, on a small generated tree."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.helpers.bench_run import run_bench
from tests.helpers.labelled_data import write_ids, write_palette_png

SIZE_WH = (160, 120)
FRAMES = 6


def write_scene(folder: Path, masks: Path | None, palette: bool, radius: int = 22) -> list[str]:
    """Write a disc and a square that move over noise; returns the disc's boxes as lines."""
    folder.mkdir(parents=True)
    noise = np.random.default_rng(5).integers(60, 120, (*SIZE_WH[::-1], 3), dtype=np.uint8)
    lines = []
    for index in range(FRAMES):
        picture, ids = noise.copy(), np.zeros(SIZE_WH[::-1], np.uint8)
        cv2.circle(picture, (50 + 3 * index, 60), radius, (40, 60, 230), -1)
        cv2.circle(ids, (50 + 3 * index, 60), radius, 1, -1)
        cv2.rectangle(picture, (105, 30), (140, 80), (220, 200, 40), -1)
        cv2.rectangle(ids, (105, 30), (140, 80), 2, -1)
        cv2.imwrite(str(folder / f"{index:05d}.jpg"), picture)
        if masks is not None:
            write = write_palette_png if palette else write_ids
            write(masks / f"{index:05d}.png", ids)
        side = 2 * radius + 1
        lines.append(f"{50 - radius + 3 * index},{60 - radius},{side},{side}")
    return lines


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    clip = root / "masks" / "pair"
    write_scene(clip / "frames", clip / "masks", palette=True)
    lines = write_scene(root / "boxes" / "disc" / "frames", None, palette=False)
    (root / "boxes" / "disc" / "gt.txt").write_text("\n".join(lines) + "\n")
    still = root / "stills" / "photos"
    write_scene(still / "images", still / "masks", palette=False)
    return root


@pytest.mark.slow
def test_everything_is_measured_and_written(tree: Path, tmp_path: Path, nano_dir: Path) -> None:
    """Two presets as users run them, both prompts: tables, JSON, Markdown and a sheet per clip."""
    page = tmp_path / "page.md"
    page.write_text("# Page\n<!-- bench:accuracy -->\nold\n<!-- /bench -->\n")
    readme = tmp_path / "README.md"
    readme.write_text("<!-- bench:accuracy-summary -->\n<!-- /bench -->\n")
    done = run_bench(
        "accuracy",
        *("--summary", readme),
        *(tree, "--preset", "default,sam2", "--prompt", "box,click", "--out", tmp_path / "sheets"),
        *("--json", tmp_path / "a.json", "--markdown", page, "--model", nano_dir),
    )
    assert done.returncode == 0, done.stderr
    for part in ("preset sam2, prompt click", "mean of 1", "P_norm", "photos", "manifest"):
        assert part in done.stdout
    report = json.loads((tmp_path / "a.json").read_text())
    assert [(r["preset"], r["prompt"]) for r in report["runs"]] == [
        ("default+crop", "box"),
        ("default+crop", "click"),
        ("sam2", "box"),
        ("sam2", "click"),
    ]
    for measured in report["runs"]:
        (clip,) = measured["mask_clips"]
        assert [item["object_id"] for item in clip["objects"]] == [1, 2]
        assert sorted(clip["objects"][0]["frames"]) == ["1", "2", "3", "4"]
        assert clip["j"] == pytest.approx(measured["mean"]["j"])
        assert measured["box_clips"][0]["scores"]["frames"] == FRAMES
        sheet = tmp_path / "sheets" / f"{measured['preset']}_{measured['prompt']}" / "pair.png"
        assert cv2.imread(str(sheet)) is not None
    assert {score["kind"]: len(score["instances"]) for score in report["stills"]} == {
        "box": 2 * FRAMES,
        "click": 2 * FRAMES,
    }
    # ... and clicks that follow one another only make it better
    assert [score["rule"] for score in report["clicks"]] == ["clicks", "clicks and mask"]
    for score in report["clicks"]:
        assert len(score["instances"]) == 2 * FRAMES
        assert score["ious"][0] == pytest.approx(
            next(s for s in report["stills"] if s["kind"] == "click")["selected"]
        )
        assert score["ious"][-1] > score["ious"][0] - 0.05
        assert score["reached"][0] >= score["reached"][1]
        assert 1 <= score["clicks"][0] <= score["clicks"][1] <= 10
    for part in ("| photos | clicks and mask | 12 |", "NoC@0.9", "IoU, 5 clicks"):
        assert part in page.read_text()
    # A box around a plain disc is the easiest case there is: a broken prompt or scale shows here.
    boxed = next(score for score in report["stills"] if score["kind"] == "box")
    assert boxed["selected"] > 0.4
    assert "old" not in page.read_text()
    assert "| pair |" in page.read_text()
    # of further presets the page has the means, the terminal each clip
    assert "| preset sam2, prompt box | 0." in page.read_text()
    assert "**Masks: preset sam2, prompt box**" not in page.read_text()
    assert "Masks: preset sam2, prompt box" in done.stdout
    # means have their standard errors, and clips are told apart by what is hard about them
    assert report["attributes"] == {"pair": [], "disc": []}
    assert report["runs"][0]["mean"]["errors"]["jf"] is None  # of one clip
    assert "by attribute" not in page.read_text()
    summary = readme.read_text()
    for kind in ("box", "click"):
        assert f" one {kind} |" in summary
    mean = next(run for run in report["runs"] if run["prompt"] == "box")["mean"]
    assert f"| 1 clips with masks: J&F | {mean['jf']:.3f} |" in summary
    assert "; preset default+crop; " in summary


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--preset", "best"), 2, "unknown preset 'best'; expected some of default"),
        (("--prompt", "text"), 2, "unknown prompt 'text'; expected some of box, click"),
        (("--crop", "on,narrow"), 2, "unknown crop 'narrow'; expected some of auto, off, on"),
        (("--clips", "absent"), 2, "--clips absent: not in"),
        (("--realtime", "0"), 2, "--realtime: expected a number above 0, got '0'"),
        (("--step-ms", "40"), 2, "--step-ms: expected --realtime FPS beside it"),
        (("--guide", "radar"), 2, "unknown guide 'radar'; expected some of none, nanotrack"),
        (("--model", "absent"), 4, "model absent: expected nano"),
    ],
)
def test_wrong_use_gives_one_line(
    tree: Path, arguments: tuple[str, str], code: int, message: str
) -> None:
    done = run_bench("accuracy", tree, *arguments)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_preset_without_a_gate_steers_no_window(tree: Path) -> None:
    done = run_bench("accuracy", tree, "--preset", "default,sam2", "--crop", "off,on")
    assert done.returncode == 2
    assert "--crop on: the preset sam2 has no motion gate" in done.stderr.splitlines()[-1]


@pytest.mark.slow
def test_with_and_without_crop(tree: Path, tmp_path: Path, nano_dir: Path) -> None:
    """Both in one call; on a small object the window makes a difference."""
    lines = write_scene(tree / "boxes" / "small" / "frames", None, palette=False, radius=9)
    (tree / "boxes" / "small" / "gt.txt").write_text("\n".join(lines) + "\n")
    done = run_bench(
        "accuracy",
        *(tree, "--crop", "off,on", "--clips", "pair,small", "--out", tmp_path / "sheets"),
        *("--plot", tmp_path / "timelines"),
        *("--json", tmp_path / "a.json", "--model", nano_dir, "--realtime", 30, "--step-ms", 70),
    )
    assert done.returncode == 0, done.stderr
    assert "Masks: preset default+crop, prompt box" in done.stdout
    assert "real time: 30 pictures a second, a step takes 70 ms" in done.stdout
    whole, window = json.loads((tmp_path / "a.json").read_text())["runs"]
    assert (whole["preset"], window["preset"]) == ("default", "default+crop")
    assert whole["mean"]["auc"] != window["mean"]["auc"] > 0.4
    for folder in ("default_box", "default+crop_box"):
        assert cv2.imread(str(tmp_path / "sheets" / folder / "pair.png")) is not None
        for name in ("pair_1", "pair_2", "small_1"):
            assert cv2.imread(str(tmp_path / "timelines" / folder / f"{name}.png")) is not None


def test_unknown_layout_gives_one_line(tmp_path: Path) -> None:
    done = run_bench("accuracy", tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith(
        f"error: {tmp_path}: layout not recognised; expected masks/CLIP, boxes/CLIP, stills/SET, "
        "JPEGImages/480p/CLIP with Annotations/480p/CLIP (DAVIS), or CLIP/img with CLIP/groundtr"
    )
