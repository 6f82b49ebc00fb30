"""The automatic mask generator with scripted masks, and `--suggest` as a process with `nano`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import jsonschema
import numpy as np
import pytest

from bench.scores.datasets import read_object_ids
from bench.suggest import main as bench_suggest
from run_live import main
from samcam.engines.base import Array
from samcam.engines.fake_backend import fake_networks
from samcam.engines.sam2_graphs import DecoderOutput
from samcam.live.commands import Proposal
from samcam.live.config.changes import SuggestSettings, suggest_rules
from samcam.live.frames import F32, Frame, FrameResult, Mask
from samcam.live.loop.observer import ObservedSource
from samcam.live.loop.suggest import pictures_to_suggest_for, suggest_objects
from samcam.live.metrics.metrics import Metrics
from samcam.live.rle import encode_rle
from samcam.live.sinks.suggestions_file import SuggestionsFile
from samcam.live.sources.base import SourceInfo, broken_frames
from samcam.live.sources.demo.scene import DemoScene
from samcam.live.tracker.presets import PRESETS
from samcam.live.tracker.suggest import NANO_RULES, SAM2_RULES, MaskGenerator, SuggestRules
from samcam.live.tracker.tracker import Tracker
from samcam.live.watchdog import Watchdog
from tests.conftest import REPO_ROOT, RunCli
from tests.helpers.tracker_networks import Script, click, frame, square_logits

SIZE, WIDTH = 64, 16
RULES = SuggestRules(4, predicted_iou=0.5, stability=0.9, min_area=0.01, max_area=0.5)
SCHEMA = json.loads((REPO_ROOT / "docs/schemas/suggestions.schema.json").read_text())
QUICK = ("--set", "suggest.points_per_side=6")

Answer = Callable[[int, int], tuple[list[F32], list[float]]]


def propose(answer: Answer, rules: SuggestRules = RULES) -> tuple[Proposal, ...]:
    """Run a generator on a decoder that answers column and row of the grid."""

    def decode(feeds: Mapping[str, Array]) -> DecoderOutput:
        assert feeds["point_labels"].tolist() == [[1]]
        x, y = feeds["point_coords"][0, 0] / 256 * rules.points_per_side - 0.5
        masks, ious = answer(round(float(x)), round(float(y)))
        pointers = np.zeros((4, WIDTH), np.float32)
        return DecoderOutput(np.stack(masks), np.array(ious, np.float32), pointers, 5.0)

    with fake_networks(decoder=decode) as networks:
        features = networks.encode_image(np.zeros((32, 48, 3), np.uint8))
        generator = MaskGenerator(networks, features, (480, 320), rules)
        done = list(generator)
        assert done == list(range(1, rules.points_per_side**2 + 1))
        assert len(generator) == len(done)
        return generator.proposals


def nothing() -> F32:
    return square_logits(SIZE, 0, 0, 0)


def test_each_candidate_is_filtered_by_its_own_figures() -> None:
    """Of the four candidates of one click only the one that passes every filter stays."""
    soft = square_logits(SIZE, 0, 0, 20)
    soft[20:40, :20] = 0.5  # between +1 and -1: half of it is in doubt
    good = square_logits(SIZE, 32, 32, 16)

    def answer(x: int, y: int) -> tuple[list[F32], list[float]]:
        if (x, y) != (2, 1):
            return [nothing()] * 4, [0.99] * 4
        speck, all_of_it = square_logits(SIZE, 5, 50, 3), square_logits(SIZE, 0, 0, 64)
        return [soft, good, speck, all_of_it], [0.9, 0.7, 0.9, 0.9]

    (proposal,) = propose(answer)
    assert np.array_equal(proposal.mask_logits, good)
    assert proposal.predicted_iou == pytest.approx(0.7)
    assert proposal.stability == 1.0
    assert proposal.point_xy_px == (2.5 * 480 / 4, 1.5 * 320 / 4)
    assert propose(answer, replace(RULES, predicted_iou=0.71)) == ()
    loose = replace(RULES, stability=0.5, min_area=0.0, max_area=1.0)
    # The whole picture overlaps the rest by less than 0.7.
    assert len(propose(answer, loose)) == 4


def test_of_overlapping_masks_the_better_stays_whatever_came_first() -> None:
    """Two places with a good and a worse mask each; the order of the points is a shuffled one."""

    def answer(x: int, y: int) -> tuple[list[F32], list[float]]:
        left = x < 2
        iou = 0.6 + 0.02 * (4 * y + x) - (0.1 if left else 0)
        mask = square_logits(SIZE, 4 if left else 40, 10 + y % 2, 20)
        return [mask, nothing(), nothing(), nothing()], [iou, 0.0, 0.0, 0.0]

    first, second = propose(answer)
    assert first.predicted_iou == pytest.approx(0.6 + 0.02 * 15)
    assert second.predicted_iou == pytest.approx(0.5 + 0.02 * 13)
    assert first.mask_logits[30, 45] > 0
    assert second.mask_logits[30, 10] > 0


def test_what_is_kept_is_bounded_and_the_best() -> None:
    def answer(x: int, y: int) -> tuple[list[F32], list[float]]:
        mask = square_logits(SIZE, 16 * x, 16 * y, 12)
        return [mask] + [nothing()] * 3, [0.6 + 0.01 * (4 * y + x)] * 4

    assert len(propose(answer)) == 16
    kept = propose(answer, replace(RULES, max_proposals=3))
    assert [p.predicted_iou for p in kept] == pytest.approx([0.75, 0.74, 0.73])


def test_the_trackers_own_generator_on_a_kept_step() -> None:
    """It changes nothing that is tracked, and outlives the step."""
    rules = SuggestRules(3, predicted_iou=0.5, stability=0.5, min_area=0.001)
    answers = []
    for asks in (False, True):
        with fake_networks(decoder=Script().decode) as networks:
            tracker = Tracker(networks, PRESETS["default"], rules)
            tracker.prompt(click(250, 150))
            tracker.step(frame(0))
            generator = tracker.suggest(0) if asks else None
            for index in range(1, 40):
                result = tracker.step(frame(index))
                if generator is not None:
                    next(generator, None)
            answers.append(result.objects[0].mask_logits)
            if generator is not None:
                assert len(generator.proposals) == 1
                with pytest.raises(ValueError, match="no longer kept"):
                    tracker.suggest(0)
    assert answers[0] is not None
    assert answers[1] is not None
    np.testing.assert_array_equal(answers[0], answers[1])


def test_rules_are_the_models_own_where_nothing_is_set() -> None:
    assert suggest_rules(SuggestSettings(), "nano") == NANO_RULES
    assert suggest_rules(SuggestSettings(), "sam2.1-tiny@512") == SAM2_RULES
    given = suggest_rules(SuggestSettings(points_per_side=8, stability=0.0), "nano")
    assert given == replace(NANO_RULES, points_per_side=8, stability=0.0)


def decode_rle(row: dict[str, Any]) -> Mask:
    """Decode COCO's uncompressed runs by their definition."""
    height, width = row["size"]
    flat = np.repeat(np.arange(len(row["counts"])) % 2, row["counts"])
    return flat.reshape(width, height).T.astype(np.bool_)


def test_rle_is_cocos() -> None:
    """By hand: columns first, the first run outside the mask."""
    mask = np.array([[0, 1, 1], [0, 0, 1]], np.bool_)
    assert encode_rle(mask) == {"size": [2, 3], "counts": [2, 1, 1, 2]}
    assert encode_rle(~mask)["counts"] == [0, 2, 1, 1, 2]
    noise = np.random.default_rng(1).random((37, 53)) > 0.5
    assert np.array_equal(decode_rle(encode_rle(noise)), noise)


def test_the_file_appears_whole_and_only_with_a_picture(tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    target.write_bytes(b"")
    report = SuggestionsFile(target, "a.jpg", "nano")
    report.close()
    report.close()
    assert target.read_bytes() == b""
    assert [p.name for p in tmp_path.iterdir()] == ["out.json"]


def read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    jsonschema.validate(document, SCHEMA)
    return document


class Pictures:
    """A folder of pictures."""

    def __init__(self, count: int) -> None:
        self.info = SourceInfo("pictures", "folder", (640, 480), 25.0, count, live=False)
        self._frames = iter([frame(index) for index in range(count)])

    def read(self) -> Frame | None:
        return next(self._frames, None)

    def close(self) -> None: ...


def test_a_run_that_is_stopped_keeps_the_pictures_that_were_finished(tmp_path: Path) -> None:
    """The one under way is left at the next point, and is not written."""
    points = 0

    def stopped() -> bool:
        nonlocal points
        points += 1
        return points > RULES.points_per_side**2 + 3

    def decode(feeds: Mapping[str, Array]) -> DecoderOutput:
        masks = np.stack([square_logits(SIZE, 10, 20, 20)] * 4)
        return DecoderOutput(masks, np.full(4, 0.9, np.float32), np.zeros((4, WIDTH), "f4"), 5.0)

    target = tmp_path / "out.json"
    report = SuggestionsFile(target, "pictures", "fake")
    taken: list[FrameResult] = []
    with fake_networks(decoder=decode) as networks:

        def generate(picture: Frame) -> MaskGenerator:
            features = networks.encode_image(picture.image_bgr)
            return MaskGenerator(networks, features, picture.size_wh, RULES)

        pictures = Pictures(2)
        done = suggest_objects(
            pictures, generate, report, stopped, lambda result, _: taken.append(result)
        )
    assert not done
    (shown,) = taken[0].objects
    assert (shown.object_id, shown.box_xyxy_px) == (1, (100, 150, 300, 300))
    assert len(taken) == 1
    assert points == RULES.points_per_side**2 + 4
    assert not target.exists()
    report.close()
    (picture,) = read(target)["pictures"]
    assert (picture["frame"], len(picture["proposals"])) == (0, 1)
    assert [p.name for p in tmp_path.iterdir()] == ["out.json"]


@pytest.mark.slow
def test_a_folder_is_proposed_picture_by_picture(
    run_cli: RunCli, tmp_path: Path, nano_dir: Path
) -> None:
    """Both objects of the demo are found; boxes, areas and the palette PNG agree with the masks."""
    scene = DemoScene((427, 240))
    folder = tmp_path / "pictures"
    folder.mkdir()
    truth = []
    for index in (0, 230):
        image, ids = scene.render(index)
        truth.append(ids)
        cv2.imwrite(str(folder / f"{index}.png"), image)
    args = ("--source", folder, "--suggest", "out.json", "--set", "suggest.points_per_side=8")
    result = run_cli(*args, "--output", "masks:masks")
    assert result.returncode == 0, result.stderr
    document = read(result.cwd / "out.json")
    assert document["model"] == "nano"
    assert [row["frame"] for row in document["pictures"]] == [0, 1]
    for index, picture in enumerate(document["pictures"]):
        rows = picture["proposals"]
        assert [row["id"] for row in rows] == list(range(1, len(rows) + 1))
        scores = [row["predicted_iou"] for row in rows]
        assert scores == sorted(scores, reverse=True)
        drawn = read_object_ids(result.cwd / "masks" / f"{index:05d}.png")
        best = {1: 0.0, 2: 0.0}
        for row in rows:
            mask = decode_rle(row["mask"])
            assert mask.shape == (picture["height"], picture["width"]) == (240, 427)
            assert mask.sum() == row["area_px"]
            columns, lines = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
            box = [columns[0], lines[0], columns[-1] + 1, lines[-1] + 1]
            assert row["box_xyxy"] == box
            assert mask[drawn == row["id"]].all()
            for value in best:
                true = truth[index] == value
                best[value] = max(best[value], float((mask & true).sum() / (mask | true).sum()))
        assert min(best.values()) >= 0.5, best


def test_of_a_video_the_first_frame(run_cli: RunCli, nano_dir: Path) -> None:
    result = run_cli("--source", "demo", "--suggest", "out.json", *QUICK)
    assert result.returncode == 0, result.stderr
    (picture,) = read(result.cwd / "out.json")["pictures"]
    assert (picture["frame"], picture["width"], picture["height"]) == (0, 854, 480)
    assert "1 of 1 frames" in result.stdout


def test_a_picture_that_cannot_be_read_is_counted(
    run_cli: RunCli, tmp_path: Path, nano_dir: Path
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    cv2.imwrite(str(folder / "1.png"), DemoScene((64, 48)).render(0)[0])
    (folder / "2.png").write_bytes(b"no picture")
    few = ("--set", "suggest.points_per_side=1")
    result = run_cli("--source", folder, "--suggest", "out.json", *few)
    assert result.returncode == 0, result.stderr
    assert len(read(result.cwd / "out.json")["pictures"]) == 1
    assert "broken frames 1" in result.stdout


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("--output", "window"), 2, "--output window: not with --suggest; expected masks:DIR"),
        (("--prompt", "point=1,1"), 2, "--prompt point=1,1: not with --suggest"),
        (("--save-profile", "dog"), 2, "--save-profile: not with --suggest: nothing is tracked"),
        (("--suggest", "absent/out.json"), 2, "--suggest absent/out.json: no folder absent there"),
        (("--suggest", "notes.txt"), 2, "--suggest notes.txt: holds something else"),
        (("--suggest", "."), 2, "argument --suggest: '.': expected the name of a file"),
        (("--suggest", ""), 2, "argument --suggest: '': expected the name of a file"),
        (("--suggest", "new/"), 2, "argument --suggest: 'new/': expected the name of a file"),
        (("--suggest", "notes.txt", "--check-config"), 2, "holds something else"),
        (
            ("--set", "suggest.min_area=0.5", "--set", "suggest.max_area=0.1"),
            2,
            "suggest.min_area: 0.5: expected at most suggest.max_area, 0.1",
        ),
    ],
)
def test_wrong_use_gives_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    args: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    notes = tmp_path / "notes.txt"
    notes.write_text("mine")
    assert main(["--source", "demo", "--suggest", "out.json", *args]) == code
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error: ")]
    assert message in line
    assert notes.read_text() == "mine"
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.slow
def test_the_bench_program_writes_its_block(tmp_path: Path, nano_dir: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- bench:suggest -->\nold\n<!-- /bench -->\n")
    still = tmp_path / "data" / "stills" / "photos"
    for name in ("images", "masks"):
        (still / name).mkdir(parents=True)
    image, ids = DemoScene((160, 120)).render(3)
    cv2.imwrite(str(still / "images" / "a.png"), image)
    cv2.imwrite(str(still / "masks" / "a.png"), ids)
    args = [str(tmp_path / "data"), "--markdown", str(page), "--set", "suggest.points_per_side=2"]
    assert bench_suggest(args) == 0
    text = page.read_text()
    assert "| photos | 1 | 2 |" in text
    assert "points_per_side=2" in text
    assert "old" not in text


def test_what_wraps_a_video_tells_of_its_broken_frames() -> None:
    class Broken:
        """A video of which three frames could not be decoded."""

        info = SourceInfo("talk.mp4", "file", (8, 6), 25.0, 9, live=False)
        broken_frames = 3

        def read(self) -> Frame | None:
            return None

        def close(self) -> None: ...

    watched = ObservedSource(Broken(), Metrics(), Watchdog())
    assert broken_frames(watched) == 3
    assert pictures_to_suggest_for(watched.info).frame_count == 1
