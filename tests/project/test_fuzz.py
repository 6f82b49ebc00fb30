"""Files, lines and settings that somebody else wrote: only the documented errors come out.

200 inputs of each kind in `make test`, 20,000 behind the marker `long`; each is a right one with
changes, or no such thing at all. Whatever an input is, an error of it is one readable line.
"""

from __future__ import annotations

import hmac
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir

from samcam.engines.base import EngineError
from samcam.engines.checks.self_check import read_checks
from samcam.engines.fake_backend import fake_manifest
from samcam.engines.manifest import ModelFileError, manifest_to_json, read_manifest
from samcam.engines.tensorrt.files import EngineFileError, read_record
from samcam.engines.tensorrt.library import TENSORRT
from samcam.live.cli.plan import _metrics_problems
from samcam.live.config.load import load_settings
from samcam.live.config.request import Request
from samcam.live.errors import CaptureError, ConfigError
from samcam.live.frames import Prompt
from samcam.live.profiles import load_profile
from samcam.live.prompts.files import PromptFiles
from samcam.live.prompts.text import parse_prompts
from samcam.live.recording.replay import Recording
from samcam.live.recording.values import Arrays, decode_command, encode_command
from samcam.live.remote.command_text import CommandError, PromptContext, parse_command, parse_words
from samcam.live.remote.server import Answer, ControlServer
from samcam.system.files.bounded_files import one_line, parse_json
from samcam.system.files.rows import RowFile
from tests.helpers.bounds import WAIT_S
from tests.helpers.hostile import VALUES, damaged, documents, dumped, texts
from tests.helpers.recordings import one_step

SIZE_WH = (320, 180)
FEW, MANY = 200, 20_000

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links and pipes of POSIX")


@dataclass(frozen=True)
class Kind:
    """One kind of input.

    Attributes:
        inputs: Strategy.
        read: Reads one in a folder.
        errors: What may come out.
    """

    inputs: st.SearchStrategy[Any]
    read: Callable[[Any, Path], object]
    errors: tuple[type[Exception], ...]


def put(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def prompts(text: str, folder: Path) -> None:
    parse_prompts([text], SIZE_WH, 10, PromptFiles(folder, pipes=False))


def prompt_file(data: bytes, folder: Path) -> None:
    prompts(f"@{put(folder / 'p.jsonl', data)}", folder)


def bbox_file(data: bytes, folder: Path) -> None:
    prompts(f"bbox_txt={put(folder / 'b.txt', data)}", folder)


def mask_file(data: bytes, folder: Path) -> None:
    prompts(f"mask={put(folder / 'm.png', data)}", folder)


def manifest(data: bytes, folder: Path) -> None:
    put(folder / "manifest.json", data)
    read_manifest(folder)


def engine_record(data: bytes, folder: Path) -> None:
    read_checks(put(folder / "checks.json", data), {"a": "b"})
    (folder / "tensorrt").mkdir(exist_ok=True)
    for name in ("image_encoder.engine", "image_encoder.json", "image_encoder.engine.json"):
        put(folder / "tensorrt" / name, data)
    read_record(folder, TENSORRT, "image_encoder")


def metrics_file(data: bytes, folder: Path) -> None:
    path = put(folder / "m.jsonl", data)
    if not _metrics_problems(Request(metrics=path), None):
        rows = RowFile(path)
        rows.write({"frame": 1, "step": 1, "stage_ms": {}})
        rows.close()
        assert path.read_bytes().endswith(b'"stage_ms": {}}\n')


def recording(name: str) -> Callable[[bytes, Path], None]:
    def read(data: bytes, folder: Path) -> None:
        place = folder / "r"
        shutil.rmtree(place, ignore_errors=True)
        one_step(place)
        put(place / name, data)
        opened = Recording.open(place)
        request = opened.request(Request(replay=place))
        load_settings(None, request.overrides)
        opened.script(request)

    return read


def array_file(data: bytes, folder: Path) -> None:
    (folder / "arrays").mkdir(exist_ok=True)
    name = "arrays/0123456789abcdef.png"
    put(folder / name, data)
    row = {"type": "Prompt", "mask": {"dtype": "bool", "shape": [4, 6], "file": name}}
    decode_command(row, Arrays(folder))


def profile(data: bytes, folder: Path) -> None:
    put(folder / "profile.json", data)
    load_profile(f"{folder}/").read_prompts(f"{folder}/", 1.0)


def config_file(data: bytes, folder: Path) -> None:
    load_settings(put(folder / "config.yaml", data))


def config_values(text: str, folder: Path) -> None:
    load_settings(None, [text])


def ctl_line(text: str, folder: Path) -> None:
    context = PromptContext(SIZE_WH, folder, pipes=False)
    for read in (
        lambda: parse_command(text, context),
        lambda: parse_words(text.split(" "), context),
    ):
        with suppress(CommandError):
            read()
    parse_command(text)


def ctl_request(data: bytes, folder: Path) -> None:
    server = ControlServer(lambda words, place: Answer(True, "done"), "run")
    answer = server._respond(data.partition(b"\n")[0])
    assert hmac.compare_digest("", server._token)
    assert isinstance(answer, Answer)


def png(*shape: int) -> bytes:
    _, data = cv2.imencode(".png", np.full(shape, 255, np.uint8))
    return data.tobytes()


def command_rows() -> list[dict[str, Any]]:
    prompt = Prompt(points_xy_px=np.array([[5, 6]], np.float32), labels=np.array([1], np.int32))
    box = Prompt(object_id=2, box_xyxy_px=np.array([1, 2, 30, 40], np.float32))
    given = [encode_command(item, Arrays(Path())) for item in (prompt, box)]
    more = [{"type": "SetEffect", "name": "blur"}, {"type": "PinStep", "step": 1}]
    return [{"step": 0, "command": row} for row in (*given, *more)]


def header_of(folder: Path) -> dict[str, Any]:
    one_step(folder)
    made: dict[str, Any] = json.loads((folder / "recording.json").read_text())
    mark = {"sha256": "0" * 64, "files": [["a.png", "1" * 64]], "bytes": 5}
    made["source"] |= {"kind": "file", "path": "/x.png", "fingerprint": mark}
    made["settings"] |= {"effect.replace.picture": "x.png", "effect.replace.video": "PIPE"}
    files = {"files": {"effect.replace.picture": mark}}
    return made | files | {"prompts": [row["command"] for row in command_rows()[:1]]}


CONFIG = (
    "source:\n  fps: 30.0\n  demo_size: [320, 180]\ntracker: &t\n  prompt_history: 8\n"
    "effect:\n  per_object: {1: blur}\n  <<: *t\nengine:\n  threads: 1\n"
)
PROFILE = {
    "version": 1,
    "saved": "2026-01-01T00:00:00+00:00",
    "source": "0",
    "model": "nano",
    "preset": "default",
    "effect": "blur",
    "picture": "picture-01234567.png",
    "objects": [{"object": 1, "mask": "object_1_mask-01234567.png"}],
}
PROMPT_ROWS = ({"object": 1, "point": [5, 6]}, {"object": 2, "box": [1, 2, 30, 40], "frame": 1})
LINES = (
    "prompt object=2 point=5,6",
    'prompt "box=1,2,30,40 object=3"',
    "prompt @p.jsonl",
    "effect blur 1",
    "hide on",
    "reset 1",
    "profile save x",
    "undo 1",
    "status",
)
RECORD = {"format_version": 1, "network": "image_encoder", "engine_bytes": 5, "fingerprint": {}}


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Kind]:
    """Every kind of input, by name."""
    header = header_of(tmp_path_factory.mktemp("header") / "r")
    model = manifest_to_json(fake_manifest())
    row = {"frame": 0, "step": 0, "stage_ms": {}, "time_s": 0.0}
    steps = [{"step": n, "frame": n, "time_ns": n} for n in range(3)]
    capture, config = (CaptureError, ConfigError), (ConfigError,)
    request = {"command": ["status"], "folder": "/", "token": ""}
    settings_text = st.builds(lambda k, v: f"{k}={dumped(v)}", texts("source.fps", "a.b"), VALUES)
    return {
        "prompt": Kind(texts("point=5,6 neg=7,8", "box=1,2,30,40", "mask=LOOP"), prompts, config),
        "prompt_file": Kind(documents(*PROMPT_ROWS), prompt_file, config),
        "bbox_file": Kind(damaged("1,2,30,40\n") | st.binary(max_size=60), bbox_file, config),
        "mask_file": Kind(damaged(png(180, 320)), mask_file, config),
        "manifest": Kind(documents(model), manifest, (ModelFileError,)),
        "engine_record": Kind(documents(RECORD), engine_record, (EngineFileError,)),
        "metrics": Kind(documents(row, row), metrics_file, ()),
        "recording.json": Kind(
            documents(header), recording("recording.json"), (*capture, EngineError)
        ),
        "steps.jsonl": Kind(documents(*steps), recording("steps.jsonl"), capture),
        "commands": Kind(documents(*command_rows()), recording("commands.jsonl"), capture),
        "array": Kind(damaged(png(4, 6)), array_file, (ValueError,)),
        "profile": Kind(documents(PROFILE), profile, config),
        "config": Kind(damaged(CONFIG) | documents({"source": {"fps": 1}}), config_file, config),
        "set": Kind(
            texts("source.fps=25", "source.demo_size=[1,2]", "x=&a [*a]"), config_values, config
        ),
        "set_json": Kind(settings_text, config_values, config),
        "ctl": Kind(texts(*LINES), ctl_line, (CommandError, ConfigError)),
        "ctl_request": Kind(documents(request), ctl_request, ()),
    }


NAMES = [
    *("prompt", "prompt_file", "bbox_file", "mask_file", "manifest", "engine_record", "metrics"),
    *("recording.json", "steps.jsonl", "commands", "array", "profile", "config", "set"),
    *("set_json", "ctl", "ctl_request"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a link in a circle and a pipe, which is the current one."""
    made = tmp_path_factory.mktemp("fuzz")
    set_hypothesis_home_dir(made / "hypothesis")
    (made / "LOOP").symlink_to("LOOP")
    os.mkfifo(made / "PIPE")
    before = Path.cwd()
    os.chdir(made)
    yield made
    os.chdir(before)


def fuzz(kind: Kind, folder: Path, examples: int) -> None:
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(kind.inputs)
    def one(value: Any) -> None:
        try:
            kind.read(value, folder)
        except kind.errors as error:
            lines = getattr(error, "problems", (str(error),))
            assert all(line.strip() for line in lines)
            assert all(one_line(line).isprintable() for line in lines)

    one()


@pytest.mark.parametrize("name", NAMES)
def test_a_few_inputs(name: str, kinds: dict[str, Kind], folder: Path) -> None:
    fuzz(kinds[name], folder, FEW)


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_many_inputs(name: str, kinds: dict[str, Kind], folder: Path) -> None:
    fuzz(kinds[name], folder, MANY)


def test_every_kind_is_tried(kinds: dict[str, Kind]) -> None:
    assert sorted(kinds) == sorted(NAMES)
    assert parse_json(dumped({"a": 1})) == {"a": 1}


PATIENT = """
import sys
from samcam.system.files.bounded_files import parse_json
open_string = "[" * 70 + '"' + '\\\\"' * 2_000_000
keys = ",".join(f'"{number}": 0' for number in range(300_000))
for text in (open_string, f'{{{keys}, "299999": 0}}', f"{{{keys}}}"):
    try:
        parse_json(text)
    except ValueError as error:
        print(error)
"""


def test_a_huge_text_is_read_in_one_pass() -> None:
    """A string without an end, or the last of many keys twice, was searched for ever."""
    done = subprocess.run(
        [sys.executable, "-c", PATIENT], capture_output=True, text=True, timeout=WAIT_S, check=True
    )
    assert done.stdout.splitlines() == [
        "not valid JSON: nested deeper than 64 levels",
        "the key '299999' stands twice",
        "an object of 300000 keys; expected at most 16384",
    ]
