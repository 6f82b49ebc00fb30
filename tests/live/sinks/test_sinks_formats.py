"""`masks:DIR?format=…`: COCO and MOT as other programs read them, whole whatever ends the run."""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from samcam.live.effects.effects import Effect
from samcam.live.errors import ConfigError, SinkError
from samcam.live.feed.compositor import compose
from samcam.live.frames import Composite, Mask, ObjectResult
from samcam.live.rle import compress_counts, encode_rle
from samcam.live.sinks.choose import parse_sinks
from samcam.live.sinks.coco import CocoFile
from samcam.live.sinks.masks import MasksSink
from tests.conftest import DISPLAY_VARIABLES, REPO_ROOT, RunCli
from tests.helpers.bounds import RUN_TIMEOUT_S
from tests.helpers.full_disk import fill_disk
from tests.helpers.results import MS, disc_logits, result_of, stand_in, textured, tracked
from tests.helpers.xvfb import wait_until
from tests.live.sinks.test_sinks_masks import decode_indices, rows_in

# pycocotools 2.0.11 with NumPy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SIZE = (131, 77)
ALL = ("png", "coco", "mot")
DEMO = ("--source", "demo", "--set", "source.demo_size=[160,90]", "--prompt", "point=40,60")
PROMPTS = (*DEMO, "--prompt", "object=7 point=100,40")


def composite(index: int, *objects: ObjectResult) -> Composite:
    return compose(result_of(textured(SIZE), objects, index, index * 40 * MS), Effect())


def two_objects(shift: float = 0.0) -> tuple[ObjectResult, ObjectResult]:
    discs = (disc_logits(64, 24 + shift, 32, 12), disc_logits(64, 40 + shift, 32, 12))
    return tracked(1, discs[0], size_wh=SIZE), tracked(254, discs[1], size_wh=SIZE)


def load(folder: Path) -> Any:
    with contextlib.redirect_stdout(io.StringIO()):  # it prints how long it took
        return COCO(str(folder / "coco.json"))


def ids_of(data: Any, image_id: int) -> Any:
    """Return the map of ids that a picture's masks come to."""
    image = data.loadImgs(image_id)[0]
    ids = np.zeros((image["height"], image["width"]), np.uint8)
    for row in data.loadAnns(data.getAnnIds(image_id)):
        mask = data.annToMask(row).astype(bool)
        assert not ids[mask].any(), "no two share a pixel"
        assert coco_mask.area(row["segmentation"]) == row["area"] == mask.sum()
        np.testing.assert_array_equal(coco_mask.toBbox(row["segmentation"]), row["bbox"])
        assert row["category_id"] in data.cats
        ids[mask] = row["track_id"]
    return ids


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (77, 131), (480, 854)])
def test_the_compressed_runs_are_those_of_pycocotools(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(sum(shape))
    for share in (0.0, 0.001, 0.5, 1.0):
        mask: Mask = rng.random(shape) < share
        theirs = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
        assert compress_counts(encode_rle(mask)["counts"]).encode() == theirs["counts"]


def test_all_formats_say_the_same(tmp_path: Path) -> None:
    sink = MasksSink(tmp_path, ALL)
    given = [composite(0), composite(7, *two_objects()), composite(8, tracked(3, None))]
    for item in given:
        sink.put(item)
    sink.put(stand_in(given[-1], 10**12))
    sink.close()
    names = ["00000.png", "00007.png", "00008.png", "coco.json", "mot.txt", "tracks.jsonl"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    data = load(tmp_path)
    assert sorted(data.imgs) == [0, 7, 8]
    assert [image["file_name"] for image in data.loadImgs([0, 7, 8])] == names[:3]
    assert data.imgs[7]["time_s"] == 0.28
    for index in data.imgs:
        np.testing.assert_array_equal(
            ids_of(data, index), decode_indices(tmp_path / f"{index:05d}.png")
        )
    assert [row["id"] for row in data.anns.values()] == [1, 2]
    lines = (tmp_path / "mot.txt").read_text().splitlines()
    assert lines == [  # the two discs touch at 66, where the first one is cut
        "8,1,24.58,24.08,41.42,28.85,0.9000,-1,-1,-1",
        "8,254,66.00,24.08,40.42,28.85,0.9000,-1,-1,-1",
    ]
    assert len(rows_in(tmp_path)) == 3


def test_of_two_objects_on_one_thing_no_format_has_the_second(tmp_path: Path) -> None:
    sink = MasksSink(tmp_path, ALL)
    twice = (two_objects()[0], replace(two_objects()[0], object_id=254))
    sink.put(composite(7, *twice))
    sink.close()
    data = load(tmp_path)
    assert [row["track_id"] for row in data.anns.values()] == [1]
    assert set(np.unique(decode_indices(tmp_path / "00007.png"))) == {0, 1}
    (line,) = (tmp_path / "mot.txt").read_text().splitlines()
    assert line.startswith("8,1,24.58,24.08,49.")
    seen = [(row["visible"], row["box_xyxy"] is None) for row in rows_in(tmp_path)]
    assert seen == [(True, False), (False, True)]
    assert [row["area_px"] > 0 for row in rows_in(tmp_path)] == [True, False]
    assert {row["state"] for row in rows_in(tmp_path)} == {"tracking"}


def test_the_file_is_whole_after_every_frame_and_grows_in_place(tmp_path: Path) -> None:
    """Also where the block of pictures is full and a larger one takes its place, as often."""
    path = tmp_path / "coco.json"
    file = CocoFile(path, first_block=300)
    for index in range(60):
        file.add(composite(index, *(two_objects(index / 10) if index % 3 else ())))
        data = json.loads(path.read_text())
        assert [image["id"] for image in data["images"]] == list(range(index + 1))
        assert len(data["annotations"]) == 2 * (index + 1 - len(range(0, index + 1, 3)))
    file.close()
    file.close()
    loaded = load(tmp_path)
    for index in (0, 1, 59):
        wanted = composite(index, *(two_objects(index / 10) if index % 3 else ())).object_ids
        np.testing.assert_array_equal(ids_of(loaded, index), wanted)
    assert [item.name for item in tmp_path.iterdir()] == ["coco.json"]


def test_what_an_earlier_run_left_in_another_format_goes(tmp_path: Path) -> None:
    first = MasksSink(tmp_path, ALL)
    first.put(composite(3, *two_objects()))
    first.close()
    second = MasksSink(tmp_path, ("mot",))
    second.put(composite(0, *two_objects()))
    second.close()
    assert sorted(item.name for item in tmp_path.iterdir()) == ["mot.txt", "tracks.jsonl"]
    assert (tmp_path / "mot.txt").read_text().startswith("1,1,")


def test_a_data_set_of_another_origin_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "coco.json").write_text("{}")
    with pytest.raises(SinkError, match=r"holds 1 files with masks, such as coco\.json.*empty"):
        MasksSink(tmp_path, ("coco",))
    assert (tmp_path / "coco.json").read_text() == "{}"


def test_a_full_disk_leaves_a_whole_data_set(tmp_path: Path) -> None:
    """A real limit on the file's size: what does not fit is undone, in every format."""
    done = fill_disk(
        tmp_path,
        90001,
        "from samcam.live.sinks.masks import MasksSink\n"
        "from tests.live.sinks.test_sinks_formats import composite, two_objects\n"
        "sink = MasksSink(path, ('coco', 'mot'))",
        "composite(i, *two_objects())",
    )
    assert f"--output masks:{tmp_path}?format=coco,mot: cannot be written" in done.stdout
    data = load(tmp_path)
    assert len(data.anns) > 20
    assert len(data.anns) == len((tmp_path / "mot.txt").read_text().splitlines())


def test_memory_does_not_grow_with_the_run(tmp_path: Path) -> None:
    file = CocoFile(tmp_path / "coco.json")
    shown = composite(0, *two_objects())
    for _ in range(300):
        file.add(shown)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(1500):
        file.add(shown)
    file.close()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 4096, "KiB"
    assert not any(isinstance(value, list | dict) for value in vars(file).values())


@pytest.mark.parametrize(
    ("text", "formats"),
    [
        ("masks:out", ("png",)),
        ("masks:out?format=png", ("png",)),
        ("masks:out?format=coco", ("coco",)),
        ("masks:out?format=mot,png,mot", ("mot", "png")),
    ],
)
def test_formats_are_read(text: str, formats: tuple[str, ...]) -> None:
    (spec,) = parse_sinks([text])
    assert (spec.kind, spec.path, spec.formats) == ("masks", Path("out"), formats)


def test_a_question_mark_may_be_part_of_a_folders_name() -> None:
    assert [spec.path for spec in parse_sinks(["masks:why?", "masks:a?b"])] == [
        Path("why?"), Path("a?b"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["masks:o?format=yolo"], r"unknown format 'yolo'; expected .*png, coco, mot"),
        (["masks:o?format="], r"unknown format ''; expected"),
        (["masks:o?size=3"], r"unknown option; expected masks:DIR\?format="),
        (["masks:o?format=png&x=1"], r"unknown option; expected"),
        (["masks:o", "masks:o?format=mot"], r"given twice"),
    ],
)
def test_what_cannot_be_read_is_named(texts: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_sinks(texts)


def test_metrics_must_not_be_the_data_set(run_cli: RunCli, tmp_path: Path) -> None:
    out = ("--output", "masks:m?format=coco", "--metrics", Path("m") / "coco.json")
    done = run_cli("--source", "demo", *out)
    assert done.returncode == 2
    assert "this is --output masks:m?format=coco" in done.stderr


@pytest.mark.parametrize("ending", [None, signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_real_run_in_all_formats(
    ending: signal.Signals | None, nano_dir: Path, tmp_path: Path
) -> None:
    """Two objects in the demo, to the end or interrupted: pycocotools reads all that was made."""
    frames = 8 if ending is None else 100000
    command = [sys.executable, str(REPO_ROOT / "run_live.py"), *PROMPTS, "--model", str(nano_dir)]
    command += ["--set", f"source.demo_frames={frames}", "--pace", "all"]
    command += ["--output", "masks:m?format=png,coco,mot"]
    environment = {k: v for k, v in os.environ.items() if k not in DISPLAY_VARIABLES}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    ) as process:
        try:
            if ending is not None:
                wait_until((tmp_path / "m" / "00006.png").exists, "some frames", RUN_TIMEOUT_S)
                process.send_signal(ending)
            code = process.wait(RUN_TIMEOUT_S)
        finally:
            process.kill()
    wanted = {None: 0, signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -signal.SIGKILL}
    assert code == wanted[ending]
    folder = tmp_path / "m"
    data = load(folder)
    assert len(data.imgs) >= 6
    assert ending is not None or len(data.imgs) == 8
    for index in sorted(data.imgs)[:6]:
        ids = ids_of(data, index)
        np.testing.assert_array_equal(ids, decode_indices(folder / f"{index:05d}.png"))
    assert {row["track_id"] for row in data.anns.values()} <= {1, 7}
    assert data.anns
    rows = [row for row in rows_in(folder) if row["frame"] in data.imgs]
    boxes = [row for row in rows if row["box_xyxy"] is not None]
    moved = np.loadtxt(folder / "mot.txt", delimiter=",", ndmin=2)[: len(boxes)]
    for row, line in zip(boxes, moved, strict=False):
        x1, y1, x2, y2 = row["box_xyxy"]
        assert (line[0], line[1]) == (row["frame"] + 1, row["object"])
        np.testing.assert_allclose(line[2:6], (x1, y1, x2 - x1, y2 - y1), atol=0.011)
