"""`source.independent`: a folder as a batch; and a picture's mask from a prompt."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from bench.scores.datasets import read_object_ids
from run_live import main
from samcam.live.cli.opening import make_compositor
from samcam.live.cli.plan import plan_request
from samcam.live.commands import RemoveObject
from samcam.live.config.request import Request
from samcam.live.frames import Prompt
from samcam.live.loop.independent import IndependentPictures
from samcam.live.sources.demo.scene import DemoScene
from samcam.live.tracker.presets import preset
from samcam.live.tracker.tracker import Tracker
from tests.conftest import CliResult, RunCli
from tests.helpers.results import MS, disc_logits, result_of, textured, tracked
from tests.helpers.tracker_networks import click, frame, sensitive_networks

SIZE_WH = (427, 240)
INDEPENDENT = ("--set", "source.independent=true")


def tracker() -> Tracker:
    return Tracker(sensitive_networks(), preset("default"))


def pictures(count: int) -> list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
    values = np.random.default_rng(3).integers(0, 256, (count, 480, 640, 3))
    return list(values.astype(np.uint8))


def test_each_answer_is_that_of_a_run_on_the_picture_alone() -> None:
    """Bit for bit, with networks that show every trace of an earlier picture."""
    images = pictures(3)
    with_prompts = {0: [click(100, 100), click(300, 200, object_id=4)], 2: [click(500, 50)]}
    batch = IndependentPictures(tracker())
    for index, prompts in with_prompts.items():
        for item in prompts:
            batch.prompt(Prompt(item.object_id, index, item.points_xy_px, item.labels))
    assert batch.pending_prompts == 3
    for index, image in enumerate(images):
        result = batch.step(frame(index, image))
        with tracker() as alone:
            for item in with_prompts.get(index, []):
                alone.prompt(item)
            expected = alone.step(frame(0, image))
        assert [o.object_id for o in result.objects] == [o.object_id for o in expected.objects]
        for got, want in zip(result.objects, expected.objects, strict=True):
            assert got.visible == want.visible
            if got.mask_logits is not None and want.mask_logits is not None:
                assert np.array_equal(got.mask_logits, want.mask_logits)
            assert (got.predicted_iou, got.state) == (want.predicted_iou, want.state)
    assert batch.pending_prompts == 0
    batch.close()


def test_no_picture_is_shown_with_the_mask_of_another() -> None:
    """Neither held nor smoothed: composed after others as composed alone."""
    chosen = ["source.independent=true", "output.on_lost=hold", "effect.smoothing=0.9"]
    plan = plan_request(Request(effect="blur", overrides=tuple(chosen)), None)
    after = make_compositor(plan, follows=False)
    masks = (disc_logits(64, 32, 32, 14), disc_logits(64, 32, 32, 14.4), None)
    for index, logits in enumerate(masks):
        one = result_of(textured((320, 180), index), (tracked(1, logits),), index, index * 33 * MS)
        composite, alone = after.compose(one), make_compositor(plan, follows=False).compose(one)
        assert composite.hidden == (logits is None)
        np.testing.assert_array_equal(composite.feed_bgr, alone.feed_bgr)


def test_masks_are_not_carried_between_pictures(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--source", "x", "--smooth", *INDEPENDENT]) == 2
    line = capsys.readouterr().err
    assert "--smooth: with source.independent no picture follows from another" in line


def test_a_picture_that_is_only_told_where_the_object_is_not() -> None:
    """What another picture was told does not count for this one."""
    batch = IndependentPictures(tracker())
    batch.prompt(click(1, 1, at=0))
    with pytest.raises(ValueError, match="object 1, frame 1: expected a positive point"):
        batch.prompt(click(1, 1, label=0, at=1))
    batch.prompt(click(9, 9, label=0, at=0))
    batch.remove(1)
    assert batch.pending_prompts == 0
    batch.close()


def test_commands_for_a_picture_to_come() -> None:
    """A prompt with a frame waits for it, also when it comes while running; so does a removal."""
    images = pictures(4)
    batch = IndependentPictures(tracker())
    batch.step(frame(0, images[0]))
    assert batch.apply(click(100, 100, at=2)) is None
    assert batch.apply(click(300, 200, object_id=4, at=3)) is None
    assert batch.pending_prompts == 2
    assert batch.step(frame(1, images[1])).objects == ()
    assert [found.object_id for found in batch.step(frame(2, images[2])).objects] == [1]
    with pytest.raises(ValueError, match="object 1, frame 2: that picture was answered already"):
        batch.apply(click(9, 9, at=2))
    assert batch.apply(RemoveObject(4)) is None
    assert batch.pending_prompts == 0
    assert batch.step(frame(3, images[3])).objects == ()
    batch.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures of the demo, far apart in time, and a prompt for the first and the last."""
    scene = DemoScene(SIZE_WH)
    path = tmp_path / "pictures"
    path.mkdir()
    rows = []
    for number, index in enumerate((0, 30, 210)):
        image, ids = scene.render(index)
        cv2.imwrite(str(path / f"{number}.png"), image)
        cv2.imwrite(str(tmp_path / f"truth{number}.png"), ids)
        x1, y1, width, height = cv2.boundingRect((ids == 1).astype(np.uint8))
        box = [x1, y1, x1 + width, y1 + height]
        rows.append({"frame": number, "box": box, "object": number + 1})
    del rows[1]
    (tmp_path / "prompts.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    return path


def iou_with_gear(result: CliResult, name: str, number: int, object_id: int, root: Path) -> float:
    found = read_object_ids(result.cwd / name / f"{number:05d}.png") == object_id
    truth = read_object_ids(root / f"truth{number}.png") == 1
    return float((found & truth).sum() / (found | truth).sum())


def test_a_folder_is_a_batch(run_cli: RunCli, folder: Path, tmp_path: Path, nano_dir: Path) -> None:
    """One prompt line each: own masks; a picture without one has an empty mask and no row."""
    prompts = ("--prompt", f"@{tmp_path / 'prompts.jsonl'}")
    result = run_cli("--source", folder, *prompts, *INDEPENDENT, "--output", "masks:m")
    assert result.returncode == 0, result.stderr
    assert iou_with_gear(result, "m", 0, 1, tmp_path) > 0.7
    assert iou_with_gear(result, "m", 2, 3, tmp_path) > 0.7
    assert not read_object_ids(result.cwd / "m" / "00001.png").any()
    rows = [json.loads(x) for x in (result.cwd / "m" / "tracks.jsonl").read_text().splitlines()]
    assert [(row["frame"], row["object"]) for row in rows] == [(0, 1), (2, 3)]
    assert np.unique(read_object_ids(result.cwd / "m" / "00002.png")).tolist() == [0, 3]


def test_a_picture_with_a_prompt_gives_its_mask(
    run_cli: RunCli, folder: Path, tmp_path: Path, nano_dir: Path
) -> None:
    result = run_cli(
        "--source", folder / "0.png", "--prompt", "point=73,162", "--output", "masks:m"
    )
    assert result.returncode == 0, result.stderr
    assert [p.name for p in (result.cwd / "m").glob("*.png")] == ["00000.png"]
    assert iou_with_gear(result, "m", 0, 1, tmp_path) > 0.7


def test_a_video_is_not_a_batch(run_cli: RunCli) -> None:
    result = run_cli("--source", "demo", *INDEPENDENT, "--output", "none")
    assert result.returncode == 2
    (line,) = [x for x in result.stderr.splitlines() if x.startswith("error: ")]
    assert "source.independent: true: source 'demo' is not a folder of pictures" in line
