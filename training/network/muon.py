"""Muon for matrices and convolutions, AdamW for the rest: fewer steps for the same loss.

Jordan et al., *Muon: An optimizer for hidden layers in neural networks* (2024); the scale of the
update is that of Liu et al., *Muon is Scalable for LLM Training* (arXiv 2502.16982), so one rate
serves both kinds of parameters. torch's own `torch.optim.Muon` takes matrices only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
_RMS = 0.2  # of an AdamW update, by arXiv 2502.16982


def orthogonalised(matrix: Tensor, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    """The nearest semi-orthogonal matrix, roughly: (N, M) float32 to (N, M), by Newton-Schulz.

    It computes in `dtype`; bfloat16 is exact enough.
    """
    a, b, c = _COEFFICIENTS
    wide = matrix.shape[0] <= matrix.shape[1]
    x = (matrix if wide else matrix.T).to(dtype)
    x = x / (x.norm() + 1e-7)
    for _ in range(_ITERATIONS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return torch.as_tensor(x if wide else x.T, dtype=matrix.dtype)


class Muon(torch.optim.Optimizer):
    """Momentum with orthogonalised updates, computed in `dtype`; a convolution (O, I, H, W) is a
    matrix (O, I H W)."""

    dtype: torch.dtype = torch.bfloat16

    def __init__(
        self, params: Iterable[Any], lr: float, momentum: float = 0.95, weight_decay: float = 0.02
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self._update(p, group)

    def _update(self, p: Tensor, group: dict[str, Any]) -> None:
        state = self.state[p]
        if not state:
            state["momentum"] = torch.zeros_like(p)
        assert p.grad is not None
        kept = state["momentum"]
        kept.lerp_(p.grad, 1 - group["momentum"])
        nesterov = p.grad.lerp(kept, group["momentum"])
        flat = nesterov.reshape(p.shape[0], -1)
        change = orthogonalised(flat, self.dtype) * (_RMS * max(flat.shape) ** 0.5)
        p.mul_(1 - group["lr"] * group["weight_decay"])
        p.add_(change.view(p.shape), alpha=-group["lr"])


def split_parameters(model: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Weights that Muon updates (hidden matrices and convolutions), and the others."""
    matrices: list[Tensor] = []
    others: list[Tensor] = []
    for name, p in model.named_parameters():
        hidden = p.ndim >= 2 and min(p.shape[0], p[0].numel()) > 4 and "embed" not in name
        (matrices if hidden and not name.endswith("tokens") else others).append(p)
    return matrices, others
