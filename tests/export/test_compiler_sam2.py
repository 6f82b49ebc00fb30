"""What NVIDIA's compiler makes of SAM 2.1's graphs; see tests/export/test_compiler.py."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import onnx
import pytest
import torch

from samcam.engines import IMAGE_ENCODER, MEMORY_ATTENTION, NETWORKS
from samcam.engines.tensorrt import profiles_of
from samcam.export.half.capability import for_capability
from samcam.export.sam2.attention import Attend
from samcam.export.seeds.contract import SeedsExport, export_seeds
from samcam.export.shape_profiles import make_profiles
from tests.helpers.compiler import CAPABILITIES, Compiled, compile_graph, require_rtx
from tests.helpers.sam2_graphs import graph_of, half_module, random_manifest

MAX_ATTENTION_MB = 300
MAX_ENCODER_MB = 64
# Of the engines at 512 px; measured: 74, 21, 36, 10 and 4 MB.
MAX_ENGINE_MB = dict(zip(NETWORKS, (110, 35, 55, 15, 6), strict=True))
ADA = (8, 9)

pytestmark = pytest.mark.usefixtures("rtx")


@pytest.fixture(scope="module")
def rtx() -> None:
    require_rtx()


@lru_cache(maxsize=5)
def half_graph(network: str, size: int) -> onnx.ModelProto:
    return graph_of(half_module(network, size), network, size)


def compiled(
    graph: onnx.ModelProto, network: str, size: int, capability: tuple[int, int]
) -> Compiled:
    ranges = profiles_of(random_manifest(size), network)
    profiles = make_profiles(network, graph, ranges)
    ready = for_capability(graph, capability, fp32_products=False)
    result = compile_graph(ready, capability, profiles)
    assert result.warnings == ()
    assert len(result.scratch_mb) == len(ranges)
    return result


@pytest.mark.parametrize(
    "capability",
    [pytest.param(c, marks=() if c == ADA else pytest.mark.long) for c in CAPABILITIES],
    ids=lambda capability: "sm{}{}".format(*capability),
)
def test_memory_attention_at_1024_is_fused(capability: tuple[int, int]) -> None:
    """Both profiles: 4096 queries against 28 736 and 41 036 keys."""
    graph = half_graph(MEMORY_ATTENTION, 1024)
    result = compiled(graph, MEMORY_ATTENTION, 1024, capability)
    assert len(result.scratch_mb) == 2
    assert max(result.scratch_mb) < MAX_ATTENTION_MB
    assert 15e6 < len(result.engine) < 60e6


def test_unfused_memory_attention_is_over_the_limit() -> None:
    """In fp16 around a core in fp32, with values of 64 channels: its scores lie in memory."""
    module = half_module(MEMORY_ATTENTION, 1024)
    for path, part in module.named_modules():
        if isinstance(part, Attend) and path.endswith(".memory"):
            part.core, part.raw_values = torch.float32, True
    result = compiled(graph_of(module, MEMORY_ATTENTION, 1024), MEMORY_ATTENTION, 1024, ADA)
    usual, largest = result.scratch_mb
    assert largest > usual > 3 * MAX_ATTENTION_MB


@pytest.mark.long
@pytest.mark.parametrize("capability", CAPABILITIES, ids=lambda c: "sm{}{}".format(*c))
@pytest.mark.parametrize("network", NETWORKS)
def test_tiny_at_512_is_compiled_whole(network: str, capability: tuple[int, int]) -> None:
    result = compiled(half_graph(network, 512), network, 512, capability)
    assert 0 < len(result.engine) < MAX_ENGINE_MB[network] * 1e6
    limit = MAX_ENCODER_MB if network == IMAGE_ENCODER else MAX_ATTENTION_MB
    assert max(result.scratch_mb) < limit


# What DeepStream's MaskTracker may ask for, by axis.
_SEEDS_RANGES = {"B": (1, 1, 8), "T": (1, 2, 8), "P": (1, 7, 16), "N": (1, 4, 7)}


@pytest.fixture(scope="module")
def seeds(parity_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("seeds") / "sam2.1-tiny"
    export_seeds(SeedsExport(variant="tiny", size=256, checkpoint=parity_checkpoint), folder)
    return folder


@pytest.mark.long
@pytest.mark.shared
@pytest.mark.parametrize("capability", [c for c in CAPABILITIES if c >= (8, 0)])
@pytest.mark.parametrize(
    "network", ["image_encoder", "mask_decoder", "memory_attention", "memory_encoder"]
)
def test_the_deepstream_contract_is_compiled(
    seeds: Path, network: str, capability: tuple[int, int]
) -> None:
    """Its files as they are, their axes free."""
    graph = onnx.load(seeds / f"{network}.onnx")
    profile = {}
    for value in graph.graph.input:
        dims = value.type.tensor_type.shape.dim
        free = {d.dim_param: _seeds_range(d.dim_param) for d in dims if d.dim_param}
        profile[value.name] = [
            tuple(free[d.dim_param][end] if d.dim_param else d.dim_value for d in dims)
            for end in range(3)
        ]
    result = compile_graph(graph, capability, [profile])
    assert result.warnings == ()
    assert len(result.engine) > 100_000


def _seeds_range(axis: str) -> tuple[int, ...]:
    """K, all tokens, follows from memories and pointers."""
    if axis in _SEEDS_RANGES:
        return _SEEDS_RANGES[axis]
    memories, pointers = _SEEDS_RANGES["N"], _SEEDS_RANGES["P"]
    return tuple(256 * n + 4 * p for n, p in zip(memories, pointers, strict=True))
