"""The refiner of `nano`'s masks: where it begins, and what it tells apart."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from training.network.finer import MaskRefiner

CELLS = 16


def refiner() -> MaskRefiner:
    torch.manual_seed(0)
    return MaskRefiner(8, 6, 4).eval()


def maps(rows: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rough masks, and what the refiner sees beside them, of `rows` objects on one picture."""
    torch.manual_seed(1)
    coarse, fine = torch.randn(rows, 3, CELLS, CELLS), torch.randn(rows, 8, CELLS, CELLS)
    return coarse, fine, torch.randn(1, 6, CELLS, CELLS), torch.randn(1, 4, 2 * CELLS, 2 * CELLS)


def test_untrained_it_is_bilinear_upsampling() -> None:
    coarse, *others = maps(2)
    with torch.no_grad():
        masks = refiner()(coarse, *others)
    assert torch.equal(masks, F.interpolate(coarse, scale_factor=2.0, mode="bilinear"))


def test_objects_on_one_picture_do_not_know_of_each_other() -> None:
    model = refiner()
    torch.nn.init.normal_(model.last.weight)
    coarse, fine, high1, high0 = maps(2)
    with torch.no_grad():
        together = model(coarse, fine, high1, high0)
        alone = model(coarse[1:], fine[1:], high1, high0)
        repeated = model(coarse, fine, high1.expand(2, -1, -1, -1), high0.expand(2, -1, -1, -1))
    assert torch.allclose(together[1:], alone, atol=1e-5)
    assert torch.allclose(together, repeated, atol=1e-5)


def test_a_cell_is_like_what_it_looks_like() -> None:
    """A rough mask covers half of a red square on blue: all of the square looks like its inside."""
    looks = torch.zeros(1, 16, CELLS, CELLS)
    looks[:, 0] = -1
    looks[:, 0, 4:12, 4:12] = 1
    prob = torch.zeros(1, 1, CELLS, CELLS)
    prob[:, :, 4:12, 4:8] = 1
    with torch.no_grad():
        ratios = refiner().likelihoods(prob, looks)[0, 0]
    against_rest = ratios[1]
    assert float(against_rest[4:12, 4:12].min()) > float(against_rest[:4].max())


def test_an_empty_mask_gives_numbers() -> None:
    coarse, *others = maps(1)
    with torch.no_grad():
        assert torch.isfinite(refiner()(coarse * 0 - 50, *others)).all()
