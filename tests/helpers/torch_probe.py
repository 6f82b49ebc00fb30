"""The networks of `tests.helpers.tiny_model` as torch modules."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from samcam.engines.graph_table import NetworkSpec
from tests.helpers.tiny_model import output_shape


class Probe(nn.Module):
    """Fills every output with `probe` of the inputs plus the output's place."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.shapes = [output_shape(tensor.shape) for tensor in spec.outputs]

    def forward(self, *given: Tensor) -> Tensor | tuple[Tensor, ...]:
        value = sum((i + 1) * tensor.float().mean() for i, tensor in enumerate(given))
        answer = [torch.ones(shape) * (value + place) for place, shape in enumerate(self.shapes)]
        return tuple(answer) if len(answer) > 1 else answer[0]
