"""The embedded model, tracked with the TensorRT backend on the fake driver: the same masks."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from samcam.engines.manifest import read_manifest
from samcam.engines.model_folder import open_model
from samcam.engines.options import EngineOptions
from samcam.engines.tensorrt.cuda_runtime import NoGpuError, find_gpu
from samcam.engines.tensorrt.files import MAX_POINTS
from samcam.engines.tensorrt.library import (
    TENSORRT,
    TENSORRT_RTX,
    Library,
    NoTensorRtError,
    check_capability,
    import_library,
)
from samcam.export.build_tensorrt import BuildOrder, build_engines
from samcam.live.frames import Frame, FrameResult, Prompt
from samcam.live.sources.demo.scene import CARD_ID, GEAR_ID, DemoScene, demo_clicks
from samcam.live.tracker.presets import PRESETS
from samcam.live.tracker.step import STAGES
from samcam.live.tracker.timeline import MAX_PROMPTS_PER_STEP
from samcam.live.tracker.tracker import Tracker
from tests.helpers import fake_tensorrt
from tests.helpers.tiny_model import write_tiny_model

SIZE_WH = (320, 180)
FRAMES = 12


def prompts() -> list[Prompt]:
    """A click, later a box for a second object, a mask for a third, and a correction."""
    clicks = demo_clicks(SIZE_WH)
    _, ids = DemoScene(SIZE_WH).render(2)
    ys, xs = np.nonzero(ids == CARD_ID)
    box = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], np.float32)
    click = np.array([clicks[GEAR_ID]], np.float32)
    one = np.ones(1, np.int32)
    return [
        Prompt(1, 0, click, one),
        Prompt(2, 2, box_xyxy_px=box),
        Prompt(3, 4, mask=ids == GEAR_ID),
        Prompt(1, 6, click + 3, one),
    ]


def track(kind: str, folder: Path) -> list[FrameResult]:
    """Track the demo scene on one backend."""
    networks = open_model(kind, folder, read_manifest(folder), EngineOptions(threads=1))
    every_step = replace(PRESETS["default"].bank, recent_stride=1)  # so that the memory fills up
    tracker = Tracker(networks, replace(PRESETS["default"], bank=every_step))
    scene = DemoScene(SIZE_WH)
    for prompt in prompts():
        tracker.prompt(prompt)
    results = []
    for index in range(FRAMES):
        image, _ = scene.render(index)
        image.flags.writeable = False
        results.append(tracker.step(Frame(index, index * 40_000_000, 0, image)))
    networks.close()
    return results


@pytest.fixture(
    params=[
        ("fake", TENSORRT),
        pytest.param(("gpu", TENSORRT), marks=pytest.mark.gpu),
        pytest.param(("gpu", TENSORRT_RTX), marks=pytest.mark.gpu),
    ],
    ids=lambda given: f"{given[0]}-{given[1].name}",
)
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Library]:
    """TensorRT on the fake driver, or the real libraries where they are."""
    where, chosen = request.param
    if where == "fake":
        cuda, _ = fake_tensorrt.install(monkeypatch)
        yield chosen
        assert cuda.alive() == {}
        return
    try:
        check_capability(chosen, find_gpu().compute_capability)
        import_library(chosen)
    except (NoGpuError, NoTensorRtError) as error:
        pytest.skip(f"needs a GPU and {chosen.title}: {error}")
    yield chosen


@pytest.mark.slow
def test_the_same_masks_as_on_onnx_runtime(
    library: Library, nano_dir: Path, tmp_path: Path
) -> None:
    """Prompts of every kind, three objects, memories that fill up; in exact float32."""
    folder = Path(shutil.copytree(nano_dir, tmp_path / "nano"))
    build_engines(BuildOrder(folder=folder, library=library, precision="float32", check=False))
    expected = track("onnxruntime", folder)
    given = track(library.name, folder)
    seen = 0
    for right, answer in zip(expected, given, strict=True):
        assert len(right.objects) == len(answer.objects)
        for a, b in zip(right.objects, answer.objects, strict=True):
            assert (a.object_id, a.state, a.visible) == (b.object_id, b.state, b.visible)
            assert (a.admitted, a.memory_steps) == (b.admitted, b.memory_steps)
            assert a.predicted_iou == pytest.approx(b.predicted_iou, abs=1e-3)
            if a.mask_logits is not None:
                assert b.mask_logits is not None
                np.testing.assert_allclose(b.mask_logits, a.mask_logits, atol=2e-2)
                seen += 1
    assert seen >= FRAMES
    most = max(len(one.memory_steps) for answer in given for one in answer.objects)
    assert most > read_manifest(folder).row_steps[0][0], "both profiles of memory attention ran"


def test_stages_are_timed_by_the_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A figure costs no wait and no allocation; what is not done yet counts with the next step."""
    cuda, _ = fake_tensorrt.install(monkeypatch)
    manifest = write_tiny_model(tmp_path / "m")
    build_engines(BuildOrder(folder=tmp_path / "m", check=False))
    networks = open_model("tensorrt", tmp_path / "m", manifest, EngineOptions())
    picture = np.full((64, 64, 3), 7, np.uint8)
    with Tracker(networks, PRESETS["sam2"]) as tracker:
        tracker.prompt(Prompt.click(32, 32))
        first = tracker.step(picture).stage_ms
        assert first["encode"] > 0
        assert first["decode"] > 0
        assert first["attend"] == first["remember"] == 0, "its memory was asked for, no more"
        for _ in range(12):  # until every pointer has its place
            tracker.step(picture)
        calls = cuda.calls.copy()
        for _ in range(5):
            times = tracker.step(picture).stage_ms
            assert all(times[stage] == int(times[stage]) > 0 for stage in STAGES), times
        calls = cuda.calls - calls
        assert calls["cudaEventSynchronize"] == 5, "one wait a step, for the mask"
        assert calls["cudaEventCreateWithFlags"] == 0
        assert calls["cudaEventElapsedTime"] == 5 * len(STAGES)
    assert cuda.alive() == {}


def test_the_clicks_of_one_picture_fit_an_engine() -> None:
    """With a box, which is two points."""
    assert MAX_PROMPTS_PER_STEP + 2 <= MAX_POINTS
