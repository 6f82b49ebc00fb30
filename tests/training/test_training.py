"""The embedded model's training: data, model, resume, and what is shipped of it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from samcam.engines.graph_table import MEMORY_ATTENTION, NETWORKS
from samcam.export.graphs import compare
from samcam.export.nano import example_inputs, load_checkpoint
from samcam.live.sources.demo import scene as demo_scene
from tests.conftest import REPO_ROOT
from tests.helpers.bounds import LONG_RUN_TIMEOUT_S
from training import plans, train
from training.batches import BatchSpec, batches, centre_pixel, low_resolution
from training.evaluate import HELD_OUT_SEED, kind_of
from training.network.losses import choice_regret, mask_ious, mask_losses, refined_loss, step_loss
from training.network.model import Nano
from training.network.sizes import MASK_STRIDE
from training.rollout import (
    MAX_CORRECTIONS,
    Rollout,
    RolloutOptions,
    choose,
    correction_points,
)
from training.scenes.generator import SHAPE_KINDS, TEXTURE_KINDS, generate_clip
from training.ship import MAX_BYTES

ROOT = REPO_ROOT
CHECKPOINT = ROOT / "training/checkpoint/nano.pt"
MODEL_FOLDER = ROOT / "engines/nano"
SMALL = 64


@pytest.fixture(scope="module")
def nano() -> Nano:
    torch.manual_seed(0)
    return Nano().eval()


def test_demo_is_kept_out_of_training() -> None:
    """The demo's score would mean nothing if training drew the same objects or seeds."""
    assert not set(demo_scene.DEMO_SHAPES) & set(SHAPE_KINDS)
    assert not set(demo_scene.DEMO_TEXTURES) & set(TEXTURE_KINDS)
    stages = max(len(plan) for plan in plans.PLANS.values())
    assert 1000 * stages < HELD_OUT_SEED < demo_scene.FIRST_DEMO_SEED


def test_clips_are_deterministic_and_labelled() -> None:
    first, again = (generate_clip(np.random.default_rng(3), 3, SMALL, None) for _ in range(2))
    assert np.array_equal(first.images_bgr, again.images_bgr)
    assert np.array_equal(first.ids, again.ids)
    assert first.images_bgr.shape == (3, SMALL, SMALL, 3)
    assert np.bincount(first.ids[0].ravel(), minlength=2)[1:].max() >= 0.004 * SMALL * SMALL


def test_batches_hold_prompts_inside_their_object() -> None:
    stream = batches(BatchSpec(2, 1, SMALL, 2), 1, None, ROOT, 0)
    for _ in range(4):
        batch = next(stream)
        assert batch.images.shape == (2, 1, SMALL, SMALL, 3)
        names = kind_of(batch.labels, batch.mask_prompt)
        for b, name in enumerate(names):
            x, y = (batch.points[b, 0] / MASK_STRIDE).long().tolist()
            if name != "box":
                near = batch.targets[b, 0, max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
                assert int(near.max()) > 0


def test_centre_pixel_is_farthest_from_the_border() -> None:
    mask = np.zeros((20, 20), bool)
    mask[4:13, 3:18] = True
    x, y = centre_pixel(mask)
    assert y == 8
    assert 7 <= x <= 13
    mask[:] = True  # the picture's own edge is a border too
    assert centre_pixel(mask)[0] in (9, 10)


def test_low_resolution_keeps_the_share_of_each_cell() -> None:
    mask = np.zeros((4, 4), bool)
    mask[:2, :1] = True
    assert low_resolution(mask).tolist() == [[128, 0], [0, 0]]


def test_mask_loss_prefers_the_truth() -> None:
    target = torch.zeros(1, 16, 16)
    target[0, 4:9, 5:12] = 1
    logits = torch.stack((target * 20 - 10, 10 - target * 20), dim=1)
    right, wrong = mask_losses(logits, target, 0.5)[0].tolist()
    assert right < 0.05 < 2 < wrong
    assert mask_ious(logits, target)[0].tolist() == [1.0, 0.0]


def test_choice_regret_is_what_the_selection_loses() -> None:
    truth = torch.tensor([[0.8, 0.5, 0.2]])
    right = choice_regret(torch.tensor([[0.9, 0.1, 0.1]]), truth)
    wrong = choice_regret(torch.tensor([[0.1, 0.1, 0.9]]), truth)
    assert float(right) == pytest.approx(0.0, abs=1e-4)
    assert float(wrong) == pytest.approx(0.6, abs=1e-4)


def test_hidden_object_trains_only_the_score() -> None:
    outputs = (torch.zeros(1, 4, 16, 16), torch.full((1, 4), 0.5))
    single = torch.zeros(1, dtype=torch.bool)
    hidden = torch.zeros(1, 16, 16)
    sure = step_loss((*outputs, torch.tensor([[-9.0]])), hidden, single, 0.5)
    fooled = step_loss((*outputs, torch.tensor([[9.0]])), hidden, single, 0.5)
    assert float(sure.total) < 1e-3
    assert float(fooled.total) > 4


def test_only_what_the_rough_mask_found_trains_the_refiner() -> None:
    target = torch.zeros(2, 16, 16)
    target[:, 4:10, 4:10] = 1
    rough = torch.full((2, 1, 8, 8), -9.0)
    rough[0, :, 2:5, 2:5] = 9  # the other one is elsewhere
    rough[1, :, 6:8, 6:8] = 9
    mask = torch.zeros(2, 1, 16, 16, requires_grad=True)
    torch.autograd.backward(refined_loss(mask, rough, target, target[:, ::2, ::2], 0.5))
    assert mask.grad is not None
    assert mask.grad[0].abs().sum() > 0
    assert mask.grad[1].abs().sum() == 0


def test_correction_clicks_the_largest_error() -> None:
    target = torch.zeros(2, 16, 16)
    target[:, 2:12, 2:12] = 1
    mask = target[:, None] * 20 - 10
    mask[0, 0, 3:8, 3:8] = -10  # a hole
    mask[1, 0, 12:16, :] = 10  # too much
    points, labels = correction_points(mask, target)
    assert labels.tolist() == [1, 0]
    x, y = (points[0] / MASK_STRIDE).tolist()
    assert 3 <= x < 8
    assert 3 <= y < 8
    assert float(points[1, 1]) / MASK_STRIDE >= 12


def test_choice_follows_the_token_rule() -> None:
    ious = torch.tensor([[0.9, 0.1, 0.5, 0.4]] * 2)
    assert choose(ious, torch.tensor([True, False])).tolist() == [0, 2]


def test_invalid_memories_and_pointers_change_nothing(nano: Nano) -> None:
    inputs = example_inputs(nano, SMALL)[MEMORY_ATTENTION]
    order = [spec.name for spec in NETWORKS[MEMORY_ATTENTION].inputs]
    changed = dict(inputs)
    hidden = ~inputs["maskmem_valid"]
    features = inputs["maskmem_features"].clone()
    features[hidden] = 99.0
    pointers = inputs["obj_ptrs"].clone()
    pointers[~inputs["obj_ptr_valid"]] = 99.0
    changed |= {"maskmem_features": features, "obj_ptrs": pointers}
    with torch.no_grad():
        wanted = nano.memory_attention(*(inputs[name] for name in order))
        given = nano.memory_attention(*(changed[name] for name in order))
    assert torch.equal(wanted, given)
    swapped = dict(inputs)
    for name in ("maskmem_features", "maskmem_tpos", "maskmem_valid"):
        swapped[name] = inputs[name].flip(1)
    with torch.no_grad():
        moved = nano.memory_attention(*(swapped[name] for name in order))
    assert torch.allclose(moved, wanted, atol=1e-5)


def test_a_rollout_reaches_every_network() -> None:
    model = Nano().train()
    batch = next(batches(BatchSpec(2, 3, SMALL, 1), 2, None, ROOT, 0))
    losses = Rollout(model, RolloutOptions(correct_share=1.0)).run(batch)
    assert len(losses) == 3
    torch.autograd.backward(torch.stack([loss.total for loss in losses]).mean())
    unreached = [n for n, p in model.named_parameters() if p.grad is None]
    assert unreached == ["no_obj_ptr"]  # stays zero: hidden frames give no memory


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_first_prompts_get_up_to_four_corrections(
    monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    """Each adds a click on the largest error; a correction may see the mask before it."""
    model = Nano().train()
    batch = next(batches(BatchSpec(2, 1, SMALL, 2), 2, None, ROOT, 0))
    batch = replace(batch, mask_prompt=torch.zeros_like(batch.mask_prompt))
    seen: list[tuple[int, bool]] = []
    decode = model.mask_decoder.rough

    def noted(maps: object, points: torch.Tensor, labels: torch.Tensor, *rest: torch.Tensor):
        assert points.shape[:2] == labels.shape
        seen.append((points.shape[1], bool(rest[1].any())))
        return decode(maps, points, labels, *rest)

    monkeypatch.setattr(model.mask_decoder, "rough", noted)
    options = RolloutOptions(correct_share=1.0, mask_share=share)
    losses = Rollout(model, options).run(batch)
    first = batch.points.shape[1]
    assert [count for count, _ in seen] == [first + k for k in range(MAX_CORRECTIONS + 1)]
    assert [masked for _, masked in seen] == [False] + [share == 1.0] * MAX_CORRECTIONS
    seen.clear()
    plain = Rollout(model, replace(options, correct_share=0.0)).run(batch)
    assert len(seen) == 1
    assert float(plain[0].total.detach()) < float(losses[0].total.detach())


@pytest.mark.slow
def test_training_stops_and_resumes(tmp_path: Path) -> None:
    """A run that was cut off goes on where it stood and finishes its plan."""
    spec = BatchSpec(1, 1, SMALL, 1)
    stills = plans.Stage("stills", 0.03, spec, 1e-3)
    first = train.Run(tmp_path, (stills,), workers=0)
    first.train(None, tmp_path)
    # on a slow machine one step may outlast its stage: the second stage ends after that
    minutes = first.progress.seconds / 60 + 0.03
    clips = plans.Stage("clips", minutes, replace(spec, frames=2), 1e-3, freeze_norms=True)
    half = train.Run(tmp_path, (stills, clips), workers=0)
    assert half.progress.steps == first.progress.steps > 0
    assert half.progress.restarts == 1
    half.train(None, tmp_path)
    done = train.Run(tmp_path, (stills, clips), workers=0)
    assert done.progress.steps > first.progress.steps
    assert done.progress.seconds >= (stills.minutes + clips.minutes) * 60
    parts = [torch.load(tmp_path / f"{name}.pt")["progress"] for name in ("stills", "clips")]
    assert [part["steps"] for part in parts] == [first.progress.steps, done.progress.steps]


@pytest.mark.slow
def test_training_command_runs(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "training.train", "--plan", "smoke", "--run", str(tmp_path)]
    subprocess.run([*command, "--workers", "0"], check=True, timeout=LONG_RUN_TIMEOUT_S, cwd=ROOT)
    out = tmp_path / "nano.pt"
    ship = [sys.executable, "-m", "training.ship", str(tmp_path / "last.pt"), "--out", str(out)]
    subprocess.run(ship, check=True, timeout=LONG_RUN_TIMEOUT_S, cwd=ROOT)
    assert out.stat().st_size <= MAX_BYTES
    score = [sys.executable, "-m", "training.evaluate", str(out), "--clips", "6", "--size", "128"]
    lines = subprocess.run(
        [*score, "--frames", "2"],
        check=True,
        timeout=LONG_RUN_TIMEOUT_S,
        cwd=ROOT,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    assert all(0 <= json.loads(line)["selected"] <= 1 for line in lines)


@pytest.mark.slow
def test_shipped_files_are_small_and_agree_with_torch() -> None:
    """engines/nano is the export of training/checkpoint/nano.pt, network by network."""
    assert CHECKPOINT.stat().st_size <= MAX_BYTES
    graphs = sorted(MODEL_FOLDER.glob("*.onnx"))
    assert sum(path.stat().st_size for path in graphs) <= 25_000_000
    model = load_checkpoint(CHECKPOINT)
    size = json.loads((MODEL_FOLDER / "manifest.json").read_text())["image_size"]
    inputs = example_inputs(model, size, seed=7)
    for network in NETWORKS:
        path = MODEL_FOLDER / f"{network}.onnx"
        assert compare(getattr(model, network), network, inputs[network], path) < 1e-2
