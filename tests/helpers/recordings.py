"""Recordings for tests: clips of the demo scene, and what a run left behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
from PIL import Image

from samcam.live.config.schema import Settings, flat
from samcam.live.frames import U8
from samcam.live.recording.header import Header, SourceRecord, write_header
from samcam.live.sinks.fragmented import H264, FragmentedMp4
from samcam.live.sinks.video import to_i420
from samcam.live.sources.demo.scene import DemoScene
from tests.conftest import REPO_ROOT

SIZE_WH = (320, 180)
CARD, BALL = "point=75,75", "object=2 box=200,40,270,120"
SCHEMAS = {
    "recording.json": "recording",
    "steps.jsonl": "recording_steps",
    "commands.jsonl": "recording_commands",
    "pictures.jsonl": "recording_pictures",
}


def write_clip(path: Path, frames: int, every: int = 1) -> Path:
    """Write every nth frame of the demo scene as an H.264 file."""
    scene = DemoScene(SIZE_WH)
    video = FragmentedMp4(path, SIZE_WH, 30.0, H264(20, "ultrafast"))
    for index in range(frames):
        picture = scene.render(every * index)[0]
        video.write(to_i420(picture, SIZE_WH), round(index * 1e9 / 30))
    video.close()
    return path


def files_of(folder: Path) -> dict[str, bytes]:
    """Return every file of a folder with its bytes."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def json_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a JSONL file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def common_masks(first: Path, second: Path) -> list[str]:
    """Return the pictures that both folders have, after comparing them and their rows."""
    names = sorted({p.name for p in first.glob("*.png")} & {p.name for p in second.glob("*.png")})
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    frames = {int(Path(name).stem) for name in names}
    rows = [
        [row for row in json_rows(folder / "tracks.jsonl") if row["frame"] in frames]
        for folder in (first, second)
    ]
    assert rows[0] == rows[1]
    return names


def object_ids(path: Path) -> U8:
    """Return the object id of each pixel of a palette PNG."""
    with Image.open(path) as picture:
        return np.asarray(picture, np.uint8)


def mean_iou(first: Path, second: Path) -> float:
    """Return the mean IoU of the objects in the pictures that both folders have."""
    found = []
    for path in sorted(first.glob("*.png")):
        if not (second / path.name).exists():
            continue
        one, other = object_ids(path), object_ids(second / path.name)
        for value in np.unique(one[one > 0]):
            union = ((one == value) | (other == value)).sum()
            found.append(float(((one == value) & (other == value)).sum() / union))
    assert found
    return float(np.mean(found))


def check_schemas(recording: Path) -> None:
    """Compare every file of a recording with its schema; all rows of it."""
    for name, schema_name in SCHEMAS.items():
        path = recording / name
        if not path.exists():
            continue
        text = (REPO_ROOT / "docs" / "schemas" / f"{schema_name}.schema.json").read_text()
        schema = json.loads(text)
        rows = [json.loads(path.read_text())] if path.suffix == ".json" else json_rows(path)
        for row in rows:
            jsonschema.validate(row, schema)


def one_step(folder: Path) -> None:
    """Write a recording of one step of the demo, without running it."""
    folder.mkdir()
    source = SourceRecord("demo", "demo", SIZE_WH, 30.0)
    words = ("nano", "0" * 64, "auto", "default", "highlight", "all")
    write_header(folder, Header("0.1.0", source, *words, flat(Settings())))
    (folder / "steps.jsonl").write_text('{"step": 0, "frame": 0, "time_ns": 0}\n')


def add_command(recording: Path, step: int, command: dict[str, Any]) -> None:
    """Append a command to a recording, in the form that docs/recording.md describes."""
    with (recording / "commands.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"step": step, "command": command}) + "\n")
