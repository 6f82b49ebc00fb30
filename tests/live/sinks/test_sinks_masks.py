"""`masks:`: pictures that say exactly the ids, rows that follow their schema, and faults."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import cv2
import jsonschema
import numpy as np
import pytest

from samcam.live.effects.effects import Effect
from samcam.live.errors import SinkError
from samcam.live.feed.compositor import compose
from samcam.live.frames import U8, Composite, ObjectResult
from samcam.live.sinks.indexed_png import davis_palette_rgb, encode_indexed_png
from samcam.live.sinks.masks import MasksSink
from tests.conftest import REPO_ROOT
from tests.helpers.bounds import RUN_TIMEOUT_S
from tests.helpers.full_disk import fill_disk
from tests.helpers.results import MS, disc_logits, result_of, stand_in, textured, tracked

SIZE = (131, 77)
SCHEMA = json.loads((REPO_ROOT / "docs/schemas/tracks.schema.json").read_text())


def composite(index: int, *objects: ObjectResult) -> Composite:
    return compose(result_of(textured(SIZE), objects, index, index * 40 * MS), Effect())


def two_objects() -> tuple[ObjectResult, ObjectResult]:
    discs = (disc_logits(64, 24, 32, 12), disc_logits(64, 40, 32, 12))
    return tracked(1, discs[0], size_wh=SIZE), tracked(254, discs[1], size_wh=SIZE)


def rows_in(folder: Path) -> list[dict[str, Any]]:
    text = (folder / "tracks.jsonl").read_text()
    assert text == "" or text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def decode_indices(path: Path) -> U8:
    """Return the palette indices, read by FFmpeg."""
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        assert frame.format.name == "pal8"
        plane = frame.planes[0]
        rows = np.frombuffer(bytes(plane), np.uint8).reshape(-1, plane.line_size)
        return rows[: frame.height, : frame.width].copy()


def test_the_palette_is_that_of_davis() -> None:
    palette = davis_palette_rgb().tolist()
    assert palette[:5] == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128]]
    assert palette[22] == [0, 192, 128] or palette[22] == [0, 64, 128]
    assert palette[255] == [224, 224, 192]
    assert len({tuple(colour) for colour in palette}) == 256


@pytest.mark.parametrize("shape", [(1, 1), (77, 131), (480, 854)])
def test_any_ids_come_back_from_the_file(shape: tuple[int, int], tmp_path: Path) -> None:
    """Two readers that share nothing with the writer: libpng in OpenCV, and FFmpeg."""
    ids = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    path = tmp_path / "a.png"
    path.write_bytes(encode_indexed_png(ids))
    np.testing.assert_array_equal(decode_indices(path), ids)
    colours = cv2.imread(str(path), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(colours, davis_palette_rgb()[ids][..., ::-1])


def test_one_picture_per_frame_named_by_source_index(tmp_path: Path) -> None:
    """Dropped frames leave gaps in the names; frames without objects have a picture, no row."""
    sink = MasksSink(tmp_path / "new" / "out")
    given = [composite(0), composite(7, *two_objects()), composite(123456, tracked(3, None))]
    for item in given:
        sink.put(item)
    sink.put(stand_in(given[-1], 10**12))
    sink.close()
    folder = tmp_path / "new" / "out"
    names = ["00000.png", "00007.png", "123456.png", "tracks.jsonl"]
    assert sorted(path.name for path in folder.iterdir()) == names
    for item, name in zip(given, names[:3], strict=True):
        ids = decode_indices(folder / name)
        np.testing.assert_array_equal(ids, item.object_ids)
    assert set(np.unique(given[1].object_ids)) == {0, 1, 254}
    assert [(row["frame"], row["object"]) for row in rows_in(folder)] == [
        (7, 1), (7, 254), (123456, 3),
    ]  # fmt: skip


def test_rows_say_everything_and_follow_the_schema(tmp_path: Path) -> None:
    sink = MasksSink(tmp_path)
    shown = composite(2, *two_objects(), tracked(255 - 2, None))
    sink.put(shown)
    sink.close()
    rows = rows_in(tmp_path)
    for row in rows:
        jsonschema.validate(row, SCHEMA)
    assert rows[0] == {
        "frame": 2, "time_s": 0.08, "step": 2, "object": 1, "state": "tracking",
        "reason": "made by hand", "visible": True, "predicted": False,
        "box_xyxy": pytest.approx([24.584, 24.075, 66, 52.925], abs=1e-3),
        "predicted_iou": 0.9, "object_score": 4.0,
        "motion_iou": None, "guide_iou": None, "area_px": int((shown.object_ids == 1).sum()),
        "admitted": True, "memory_steps": [0, 3],
        "memory_tiers": ["conditioning", "working"], "appearance": 0.75,
    }  # fmt: skip
    assert rows[2]["visible"] is False
    assert rows[2]["box_xyxy"] is None
    assert rows[2]["state"] == "lost"


def test_the_schema_refuses_what_is_not_a_row(tmp_path: Path) -> None:
    sink = MasksSink(tmp_path)
    sink.put(composite(2, *two_objects()))
    sink.close()
    row = rows_in(tmp_path)[0]
    wrong: list[dict[str, object]] = [
        {"frame": -1}, {"object": 255}, {"state": "gone"}, {"box_xyxy": [1, 2, 3]},
        {"motion_iou": 1.5}, {"area_px": None}, {"extra": 1}, {"memory_tiers": ["old"]},
        {"appearance": "good"},
    ]  # fmt: skip
    for change in wrong:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**row, **change}, SCHEMA)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_json_has_no_number_for_becomes_null(value: float, tmp_path: Path) -> None:
    sink = MasksSink(tmp_path)
    sink.put(composite(0, tracked(1, disc_logits(64, 24, 32, 12), predicted_iou=value)))
    sink.close()
    assert rows_in(tmp_path)[0]["predicted_iou"] is None
    assert "NaN" not in (tmp_path / "tracks.jsonl").read_text()


def test_an_earlier_run_is_replaced_when_the_first_frame_comes(tmp_path: Path) -> None:
    """The same command twice works, and no picture of a longer first run stays behind."""
    first = MasksSink(tmp_path)
    for index in range(5):
        first.put(composite(index, *two_objects()))
    first.close()
    (tmp_path / "00009.png.part").write_bytes(b"half a picture of a killed run")
    (tmp_path / "notes.txt").write_text("mine")

    MasksSink(tmp_path).close()  # a run that fails to start
    assert len(rows_in(tmp_path)) == 10

    second = MasksSink(tmp_path)
    second.put(composite(0, tracked(1, None)))
    second.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "00000.png", "notes.txt", "tracks.jsonl",
    ]  # fmt: skip
    assert len(rows_in(tmp_path)) == 1


def test_pictures_of_another_origin_are_not_touched(tmp_path: Path) -> None:
    """A folder of annotations named as DAVIS does must not be overwritten by a slip."""
    (tmp_path / "00000.png").write_bytes(b"annotation")
    with pytest.raises(SinkError, match=r"holds 1 numbered pictures, such as 00000\.png.*empty"):
        MasksSink(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["00000.png"]


def test_unwritable_places_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkError, match=r"cannot be written: (File exists|Not a directory); expec"):
        MasksSink(tmp_path / "file")
    with pytest.raises(SinkError, match="--output masks:/proc/nowhere: cannot be written"):
        MasksSink(Path("/proc/nowhere"))


def test_a_full_disk_leaves_whole_rows(tmp_path: Path) -> None:
    """A real file-size limit in a process of its own: the write that does not fit is undone."""
    done = fill_disk(
        tmp_path,
        20000,
        "from samcam.live.sinks.masks import MasksSink\n"
        "from tests.live.sinks.test_sinks_masks import composite, two_objects\n"
        "sink = MasksSink(path)",
        "composite(i, *two_objects())",
    )
    assert f"--output masks:{tmp_path}: cannot be written" in done.stdout
    assert len(done.stdout.splitlines()) == 1
    rows = rows_in(tmp_path)
    assert 10 < len(rows) < 100
    assert len(rows) % 2 == 0


def test_a_killed_writer_leaves_whole_pictures_and_rows(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from samcam.live.sinks.masks import MasksSink\n"
        "from tests.live.sinks.test_sinks_masks import composite, two_objects\n"
        "sink = MasksSink(Path(sys.argv[1]))\n"
        "for i in range(1000000):\n"
        "    sink.put(composite(i, *two_objects()))\n"
        "    if i == 40: print('far enough', flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], cwd=REPO_ROOT, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"far enough\n"
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait(RUN_TIMEOUT_S) == -signal.SIGKILL
    rows = rows_in(tmp_path)
    pictures = sorted(tmp_path.glob("*.png"))
    assert len(rows) >= 82
    assert len(rows) // 2 <= len(pictures) <= len(rows) // 2 + 1
    for row in rows:
        jsonschema.validate(row, SCHEMA)
    for path in pictures:
        assert set(np.unique(decode_indices(path))) == {0, 1, 254}
