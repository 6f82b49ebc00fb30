"""The embedded model's torch definition and its ONNX files give the same tracks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from samcam.engines.graph_table import MEMORY_ATTENTION, MEMORY_ENCODER
from samcam.engines.model_folder import load_model
from samcam.engines.options import EngineOptions, TorchOptions
from samcam.engines.torch_backend import networks_of
from samcam.export.nano import load_checkpoint, nano_modules
from samcam.live.sources.demo.scene import DemoScene, demo_clicks
from samcam.live.tracker.presets import PRESETS
from tests.helpers.parity import ChangedFeeds, Recording, run_tracker
from tests.helpers.tracker_networks import click

pytestmark = pytest.mark.slow

SIZE = (427, 240)
FRAMES = 12
TOLERANCE = 1e-3  # of logits of about 10; measured 1.5e-5, and at least 6.6 with a fault
WIDE = 100


@pytest.fixture(scope="module")
def frames() -> list[Any]:
    scene = DemoScene(SIZE)
    return [scene.render(3 * index)[0] for index in range(FRAMES)]


def track(manifest: Any, backends: Any, preset: str, frames: list[Any]) -> Recording:
    prompts = [click(*xy, object_id=i, at=i) for i, xy in demo_clicks(SIZE).items()]
    return run_tracker(manifest, backends, PRESETS[preset], frames, prompts)


def largest_difference(one: Recording, other: Recording) -> float:
    assert one.answers.keys() == other.answers.keys()
    worst = 0.0
    for place, ours in one.answers.items():
        a, b = ours.answer, other.answers[place].answer
        worst = max(worst, float(np.abs(a.low_res_mask - b.low_res_mask).max()))
        worst = max(worst, float(np.abs(a.obj_ptr - b.obj_ptr).max()))
        worst = max(worst, abs(a.object_score - b.object_score))
        worst = max(worst, abs(a.predicted_iou - b.predicted_iou))
    return worst


@pytest.mark.parametrize("preset", ["sam2", "default"])
def test_tracks_agree(preset: str, nano_dir: Path, repo_root: Path, frames: list[Any]) -> None:
    modules = nano_modules(load_checkpoint(repo_root / "training/checkpoint/nano.pt"))
    with load_model(str(nano_dir), "onnxruntime") as networks:
        manifest = networks.manifest
        onnx = track(manifest, networks.backends, preset, frames)
    with networks_of(modules, manifest, EngineOptions(torch=TorchOptions(device="cpu"))) as ours:
        torch_ = track(manifest, ours.backends, preset, frames)
    assert largest_difference(onnx, torch_) < TOLERANCE
    assert any(recorded.answer.visible for recorded in onnx.answers.values())


def last_memory_dropped(arrays: dict[str, Any]) -> None:
    arrays["maskmem_valid"] &= arrays["maskmem_tpos"] != 1


def prompt_memory_soft(arrays: dict[str, Any]) -> None:
    arrays["is_prompted"][:] = False


@pytest.mark.parametrize(
    ("network", "fault"),
    [
        (MEMORY_ATTENTION, last_memory_dropped),
        (MEMORY_ENCODER, prompt_memory_soft),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_the_comparison_sees_faults(
    network: str, fault: Callable[[dict[str, Any]], None], nano_dir: Path, frames: list[Any]
) -> None:
    with load_model(str(nano_dir), "onnxruntime") as networks:
        right = track(networks.manifest, networks.backends, "sam2", frames)
        backends = dict(networks.backends)
        backends[network] = ChangedFeeds(backends[network], fault)
        wrong = track(networks.manifest, backends, "sam2", frames)
    assert largest_difference(right, wrong) > WIDE * TOLERANCE
