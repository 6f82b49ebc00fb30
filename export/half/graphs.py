"""Adds the half-precision graphs, for TensorRT, to a model folder.

The fp32 graphs stay the model's own: they run everywhere and are what engines are compared with.
Beside them, in tensorrt/, every precision from the asked one up to bf16 lies ready, so that a
network that misses on some GPU can be built one higher without another export.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from torch import nn

from samcam.engines import (
    MEMORY_ENCODER,
    NETWORKS,
    U8,
    EngineOptions,
    GraphFile,
    Manifest,
    OnnxRuntimeBackend,
    Sam2Networks,
    describe_file,
    usable_cores,
)
from samcam.engines.checks import NOTHING_FOUND, NetworkCheck, compare_networks
from samcam.engines.tensorrt import graph_path
from samcam.export.examples import Inputs
from samcam.export.graphs import TOLERANCE, compare, write_graph
from samcam.export.half.element_types import describe_types, float32_copy
from samcam.export.half.precision import ELEMENT_TYPES, is_lowered, lower, parts_of
from samcam.export.half.range_probe import producers
from samcam.export.half.range_report import NodeRange, measure_ranges
from samcam.export.half.rounded import open_rounded

LADDER: Final[Mapping[str, tuple[str, ...]]] = {"fp16": ("fp16", "bf16"), "bf16": ("bf16",)}
LOWERED: Final = tuple(network for network in NETWORKS if is_lowered(network))
# Rounds of export and range report; then the network has no fp16 graph.
MAX_ROUNDS: Final = 4
# The memory encoder rounds its answer to bfloat16: one step, 2^-8, to either side.
_TOLERANCES: Final = {MEMORY_ENCODER: 2.0**-7}


@dataclass(frozen=True, kw_only=True)
class HalfOrder:
    """What to lower.

    Attributes:
        precision: "fp16" or "bf16".
        modules: The five networks in fp32.
        inputs: Of real pictures, to export and to compare with.
        pictures: (H, W, 3) uint8 BGR, for ranges and masks.
        networks: Those to lower.
    """

    precision: str
    modules: Mapping[str, nn.Module]
    inputs: Inputs
    pictures: Sequence[U8]
    networks: tuple[str, ...] = LOWERED
    report: Callable[[str], None] = field(default=lambda line: None)


def add_half_graphs(folder: Path, manifest: Manifest, order: HalfOrder) -> Manifest:
    """Write the half-precision graphs beside a folder's fp32 graphs.

    Returns:
        The manifest with the graphs in `half` and their figures in `measured`: largest error of any
        output on a real picture, worst and mean mask IoU, and the number of parts that the range
        report kept in fp32. They are taken with every result rounded.

    Raises:
        ExportError: A graph cannot be written, or is not what its module computes.
    """
    measured = {network: dict(figures) for network, figures in manifest.measured.items()}
    for precision in LADDER[order.precision]:
        kept: dict[str, frozenset[str]] = {network: frozenset() for network in order.networks}
        for network in order.networks:
            write_half(folder, network, precision, order, kept[network])
        if precision == "fp16":
            kept = _keep_large_parts(folder, manifest, order)
        for network, figures in _measure(folder, manifest, precision, order).items():
            figures["kept_fp32"] = float(len(kept[network]))
            measured.setdefault(network, {}).update(
                {f"{precision}_{name}": value for name, value in figures.items()}
            )
    return replace(manifest, measured=measured, half=_describe_files(folder, order))


def _describe_files(folder: Path, order: HalfOrder) -> dict[str, dict[str, GraphFile]]:
    """Return the manifest's entry of every half-precision graph that was written and kept."""
    found: dict[str, dict[str, GraphFile]] = {}
    for network in order.networks:
        for precision in LADDER[order.precision]:
            kind = ELEMENT_TYPES[precision]
            path = graph_path(folder, network, kind)
            if path.is_file():
                found.setdefault(network, {})[kind] = describe_file(path, kind)
    return found


def half_graphs(folder: Path, manifest: Manifest, precision: str) -> dict[str, Path]:
    """Return the graph of each network in "fp16" or "bf16", fp32 where it is not lowered."""
    lowered = {n: graph_path(folder, n, ELEMENT_TYPES[precision]) for n in NETWORKS}
    own = {network: folder / f"{network}.onnx" for network in NETWORKS}
    own |= {network: folder / entry.file for network, entry in manifest.files.items()}
    return {n: path if path.is_file() else own[n] for n, path in lowered.items()}


def write_half(
    folder: Path, network: str, precision: str, order: HalfOrder, keep: frozenset[str]
) -> None:
    """Write one network's graph and compare it, read as fp32, with the module's rounded weights.

    Raises:
        ExportError: It cannot be exported, or is not what the module computes.
    """
    path = graph_path(folder, network, ELEMENT_TYPES[precision])
    path.parent.mkdir(exist_ok=True)
    module, inputs = order.modules[network], order.inputs[network]
    write_graph(lower(module, network, precision, keep), network, inputs, path)
    rounded = lower(module, network, precision, keep, rounded_only=True)
    with tempfile.TemporaryDirectory(prefix="samcam-export-") as scratch:
        wide = Path(scratch) / path.name
        float32_copy(path, wide)
        compare(rounded, network, inputs, wide, _TOLERANCES.get(network, TOLERANCE))


def parts_behind(failure: NodeRange, graph: Path, module: nn.Module) -> frozenset[str]:
    """Return the parts to keep in fp32 so that a node of an fp16 graph is computed in fp32.

    Returns:
        The part that the node is in, or else the nearest parts that feed it: a sum or an activation
        is as wide as its inputs. At the least the module that it is in.
    """
    parts = parts_of(module)
    if failure.probe.part in parts:
        return frozenset({failure.probe.part})
    known = producers(graph)
    found: set[str] = set()
    seen: set[str] = set()
    waiting = list(failure.probe.inputs)
    while waiting:
        name = waiting.pop()
        if name in seen or name not in known:
            continue
        seen.add(name)
        part, inputs = known[name]
        if part in parts:
            found.add(part)
        else:
            waiting.extend(inputs)
    return frozenset(found or {failure.probe.part})


def _keep_large_parts(
    folder: Path, manifest: Manifest, order: HalfOrder
) -> dict[str, frozenset[str]]:
    """Measure the fp16 graphs, keep in fp32 what comes near the limit, and measure again.

    Returns:
        The parts kept, by network. A network whose graph still fails, written `MAX_ROUNDS` times
        more, loses it and counts as kept whole.
    """
    kept: dict[str, frozenset[str]] = {network: frozenset() for network in order.networks}
    for written in range(MAX_ROUNDS + 1):
        graphs = half_graphs(folder, manifest, "fp16")
        report = measure_ranges(manifest, graphs, order.pictures, order.networks)
        failures = report.failures
        if not failures:
            return kept
        if written == MAX_ROUNDS:
            break
        for network in {failure.network for failure in failures}:
            for failure in (f for f in failures if f.network == network):
                behind = parts_behind(failure, graphs[network], order.modules[network])
                kept[network] |= behind
                order.report(f"kept in fp32: {', '.join(sorted(behind))}: {failure.describe()}")
            write_half(folder, network, "fp16", order, kept[network])
    for network in {failure.network for failure in failures}:
        graph_path(folder, network, ELEMENT_TYPES["fp16"]).unlink()
        kept[network] = frozenset({""})
        order.report(f"{network}: no fp16 graph: its values are too large")
    return kept


def _measure(
    folder: Path, manifest: Manifest, precision: str, order: HalfOrder
) -> dict[str, dict[str, float]]:
    """Compare the graphs of a precision with the fp32 ones; return and report each's figures.

    A network sees the next picture only if no mask of the last one was found.
    """
    options = EngineOptions(threads=usable_cores())
    graphs = half_graphs(folder, manifest, precision)
    models = {network: onnx.load(str(path)) for network, path in graphs.items()}
    exact = {n: OnnxRuntimeBackend(n, folder / f"{n}.onnx", options) for n in NETWORKS}
    checks: dict[str, NetworkCheck] = {}
    measured: dict[str, dict[str, float]] = {}
    with (
        Sam2Networks(manifest, exact) as reference,
        Sam2Networks(manifest, open_rounded(models, options)) as rounded,
    ):
        for picture in order.pictures:
            left = [n for n in order.networks if n not in checks or not checks[n].cases]
            if not left:
                break
            found = compare_networks(reference, rounded, [picture], left)
            checks.update({check.network: check for check in found})
        for network in order.networks:
            check = checks[network]
            figures = {"max_abs": _largest_error(network, order.inputs, reference, rounded)}
            if check.cases:
                figures |= {"min_iou": check.min_iou, "mean_iou": check.mean_iou}
            order.report(_describe(folder, check, precision, figures))
            measured[network] = figures
    return measured


def _largest_error(
    network: str, inputs: Inputs, reference: Sam2Networks, rounded: Sam2Networks
) -> float:
    """Return the largest difference of any output between half and fp32."""
    feeds = {name: value.numpy() for name, value in inputs[network].items()}
    wanted, given = (nets.backends[network].run(feeds) for nets in (reference, rounded))
    return max(float(np.abs(wanted[n].numpy() - given[n].numpy()).max()) for n in wanted)


def _describe(
    folder: Path, check: NetworkCheck, precision: str, figures: Mapping[str, float]
) -> str:
    path = graph_path(folder, check.network, ELEMENT_TYPES[precision])
    if not path.is_file():
        return f"{check.network}: no {precision} graph"
    counts = describe_types(path)
    masks = f"worst mask IoU {check.min_iou:.4f}" if check.cases else NOTHING_FOUND
    nodes = ", ".join(f"{count} in {kind}" for kind, count in counts.items() if count)
    return (
        f"{check.network} {precision}: {path.stat().st_size / 1e6:.1f} MB, nodes: {nodes}; "
        f"against fp32 off by {figures['max_abs']:.1e}, {masks}"
    )
