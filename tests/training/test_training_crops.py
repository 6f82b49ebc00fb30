"""Clips seen through crops, and the optimiser of the matrices."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import REPO_ROOT
from training import plans, train
from training.batches import BatchSpec, batches
from training.network.model import Nano
from training.network.muon import Muon, orthogonalised, split_parameters
from training.scenes.crops import SMALLEST, ClipPool, varied
from training.scenes.generator import Clip, generate_clip
from training.ship import write_progress

SIZE = 96


def checked(frames: int) -> Clip:
    """A clip whose every pixel says where it comes from: blue its column, green its row."""
    rows, columns = np.mgrid[:144, :144]
    picture = np.stack((columns, rows, np.zeros_like(rows)), axis=-1).astype(np.uint8)
    ids = np.zeros((144, 144), np.uint8)
    ids[60:90, 40:80] = 3
    return Clip(np.stack([picture] * frames), np.stack([ids] * frames), None)


def test_labels_stay_on_their_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the crop: a labelled pixel shows a place inside the object, others do not."""
    monkeypatch.setattr(
        "training.scenes.crops._light", lambda rng: np.arange(256, dtype=np.uint8)[None, :, None]
    )
    rng = np.random.default_rng(5)
    seen = 0
    for _ in range(60):
        clip = varied(rng, checked(3), SIZE)
        assert clip.images_bgr.shape == (3, SIZE, SIZE, 3)
        x, y = clip.images_bgr[..., 0].astype(int), clip.images_bgr[..., 1].astype(int)
        inner = (x > 42) & (x < 77) & (y > 62) & (y < 87)
        outer = (x < 37) | (x > 82) | (y < 57) | (y > 92)
        assert (clip.ids[inner] == 3).all()
        assert (clip.ids[outer] == 0).all()
        seen += int(inner.any())
    assert seen > 40


def test_crops_zoom_and_move() -> None:
    rng = np.random.default_rng(2)
    areas, moved = [], 0
    for _ in range(80):
        ids = varied(rng, checked(6), SIZE).ids
        share = (ids == 3).mean(axis=(1, 2)) / (30 * 40 / 144**2)
        areas.extend(share.tolist())
        moved += len({mask.tobytes() for mask in ids}) > 1
    assert max(areas) > 1.5
    assert max(areas) < 1.1 / SMALLEST**2
    assert moved > 10, "some crops follow, by steps"


def test_a_pool_is_bounded_and_used_again() -> None:
    rng, pool = np.random.default_rng(0), ClipPool(reuse=4, capacity=20)
    drawn = 0
    for _ in range(400):
        if pool.wants_another(rng):
            drawn += 1
            pool.add(rng, checked(1))
        else:
            pool.again(rng)
    assert len(pool.kept) == 20
    assert 80 < drawn < 160


def test_reused_batches_are_drawn_by_seed() -> None:
    spec = BatchSpec(2, 2, 64, 2, reuse=3)
    first, again = (next(batches(spec, 4, None, Path(), 0)) for _ in range(2))
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.targets, again.targets)
    clip = generate_clip(np.random.default_rng((4, 0)), 2, 64, None)
    assert first.images.shape[2:4] == clip.images_bgr.shape[1:3]


def test_muon_makes_updates_nearly_orthogonal() -> None:
    torch.manual_seed(0)
    for shape in ((8, 32), (32, 8), (16, 16)):
        values = torch.linalg.svdvals(orthogonalised(torch.randn(shape)).float())
        assert 0.6 < float(values.min()) <= float(values.max()) < 1.3


def test_muon_learns_a_convolution() -> None:
    torch.manual_seed(0)
    truth, model = (torch.nn.Conv2d(4, 16, 3, bias=False) for _ in range(2))
    optimizer = Muon(model.parameters(), lr=0.02, weight_decay=0.0)
    x = torch.randn(32, 4, 8, 8)
    losses = []
    for step in range(60):
        for group in optimizer.param_groups:
            group["lr"] = 0.05 * (1 - step / 60)
        loss = (model(x) - truth(x).detach()).square().mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.05 * losses[0]


def test_every_parameter_has_one_optimiser() -> None:
    model = Nano()
    matrices, others = split_parameters(model)
    assert {id(p) for p in (*matrices, *others)} == {id(p) for p in model.parameters()}
    assert len(matrices) + len(others) == len(list(model.parameters()))
    assert sum(p.numel() for p in matrices) > 0.95 * sum(p.numel() for p in model.parameters())
    tokens = model.mask_decoder.tokens
    assert all(p is not tokens for p in matrices)


def test_a_budget_stretches_the_plan() -> None:
    plan = plans.scaled(plans.PLANS["nano"], 10.0)
    assert sum(stage.minutes for stage in plan) == pytest.approx(10.0)
    assert [stage.name for stage in plan] == [stage.name for stage in plans.PLANS["nano"]]
    assert plans.scaled(plan, None) is plan


def test_a_new_run_may_begin_with_a_later_stage(tmp_path: Path) -> None:
    run = train.Run(tmp_path, plans.PLANS["free"], workers=0)
    run.begin_at("free-2")
    assert run.progress.seconds == plans.PLANS["free"][0].minutes * 60
    with pytest.raises(ValueError, match="no stage 'free-9'; the plan has free-1, free-2"):
        run.begin_at("free-9")


def test_the_plan_with_free_pictures_tracks_every_third_step() -> None:
    for stage in plans.PLANS["free"]:
        assert stage.also is not None
        assert stage.batch.frames == 1 < stage.also.frames
        assert stage.rounds <= 2
        assert stage.final <= 0.1, "each part ends well"


def test_what_is_shipped_says_where_training_stands(tmp_path: Path) -> None:
    run = tmp_path / "last.pt"
    assert not write_progress(run, tmp_path / "progress.json")
    (tmp_path / "log.jsonl").write_text('{"stage": "a"}\n{"stage": "b", "rate": 0.001}\n')
    assert write_progress(run, tmp_path / "progress.json")
    assert json.loads((tmp_path / "progress.json").read_text()) == {"stage": "b", "rate": 0.001}


def test_a_run_starts_from_shipped_weights(tmp_path: Path) -> None:
    run = train.Run(tmp_path, (), workers=0)
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    shipped = REPO_ROOT / "training/checkpoint/nano.pt"
    run.start_from(shipped)
    kept = torch.load(shipped, weights_only=True)["model"]
    for name, value in run.model.state_dict().items():
        assert torch.allclose(value.float(), kept[name].float())
    assert any(
        not torch.equal(before[name], value) for name, value in run.model.state_dict().items()
    )
