"""How near the values in a model's graphs come to fp16's largest number, on pictures.

Random weights do not have the ranges of trained ones, and ONNX Runtime's CPU provider computes
fp16 in fp32 inside: neither can show an overflow. So the graphs are run on the user's own weights,
read as fp32, and every node reports its largest magnitude and the largest sum of magnitudes that
it reduces: no order of summation can exceed that.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from samcam.engines import NETWORKS, U8, EngineOptions, Manifest, OnnxRuntimeBackend, Sam2Networks
from samcam.export.errors import ExportError
from samcam.export.half.element_types import FP16_MAX
from samcam.export.half.range_probe import Probe, ProbingBackend

# Another picture may have larger values than those looked at: a quarter of the range for values.
# A sum of magnitudes is a bound already.
VALUE_LIMIT: Final = FP16_MAX / 4
SUM_LIMIT: Final = FP16_MAX
SHOWN_NODES: Final = 12

_SHIFT: Final = 0.02  # how far the later picture is moved, as a share of its width
_POINT: Final = (0.5, 0.4)
_BOX: Final = (0.2, 0.1, 0.8, 0.9)


@dataclass(frozen=True, slots=True)
class NodeRange:
    """What one node reached.

    Attributes:
        max_abs: Largest magnitude of its result.
        max_sum: Largest sum of magnitudes that it adds up; 0 where it does not.
    """

    network: str
    probe: Probe
    max_abs: float
    max_sum: float

    @property
    def fits_fp16(self) -> bool:
        """Whether the node is safe in fp16: false for what is not a number."""
        return self.max_abs <= VALUE_LIMIT and self.max_sum <= SUM_LIMIT

    @property
    def share(self) -> float:
        """Of the limits: 1 at the nearer one, more beyond it."""
        return max(self.max_abs / VALUE_LIMIT, self.max_sum / SUM_LIMIT)

    def describe(self) -> str:
        what = f"max |x| {self.max_abs:.3g}"
        if self.max_sum > SUM_LIMIT:
            what += f", sum of magnitudes {self.max_sum:.3g}"
        return f"{self.network} {self.probe.part or self.probe.node} ({self.probe.op}): {what}"


@dataclass(frozen=True, slots=True)
class RangeReport:
    """Every node of a model's graphs."""

    nodes: Sequence[NodeRange]

    @property
    def failures(self) -> list[NodeRange]:
        """Nodes that compute in fp16 and are near its limit or beyond."""
        return [n for n in self.nodes if n.probe.precision == "fp16" and not n.fits_fp16]

    def of(self, network: str) -> list[NodeRange]:
        """Return one network's nodes, the nearest to the limit first."""
        found = [node for node in self.nodes if node.network == network]
        return sorted(found, key=lambda node: -node.share)

    def check(self) -> None:
        """Refuse a model whose fp16 nodes may overflow.

        Raises:
            ExportError: Names the worst of them, and what to do.
        """
        failures = sorted(self.failures, key=lambda node: -node.share)
        if failures:
            named = "; ".join(node.describe() for node in failures[:3])
            raise ExportError(
                f"{len(failures)} fp16 nodes near fp16's limit of {FP16_MAX:g}: {named}: export "
                "the model again, which keeps them in fp32, or with --precision bf16"
            )

    def table(self, rows: int = SHOWN_NODES) -> str:
        """Return the nodes nearest to the limit of every network, for the terminal."""
        lines = [f"{'network':17} {'type':5} {'max |x|':>9} {'max sum':>9} {'of limit':>8}  node"]
        for network in NETWORKS:
            for node in self.of(network)[:rows]:
                mark = "  NEAR FP16'S LIMIT" if node in self.failures else ""
                lines.append(
                    f"{network:17} {node.probe.precision:5} {node.max_abs:9.4g} "
                    f"{node.max_sum:9.4g} {node.share:8.1%}  {node.probe.part or '-'} "
                    f"{node.probe.op}{mark}"
                )
        return "\n".join(lines)


def measure_ranges(
    manifest: Manifest,
    graphs: Mapping[str, Path],
    pictures: Iterable[U8],
    networks: Collection[str] = tuple(NETWORKS),
) -> RangeReport:
    """Run a model on pictures and report what its nodes reached.

    Args:
        graphs: The graph of each network, in any precision.
        pictures: (H, W, 3) uint8 BGR; each is prompted by point, box and mask, and tracked.
        networks: Those to measure; the others only run.

    Raises:
        EngineError: A network does not run.
        ExportError: There is no picture.
    """
    with tempfile.TemporaryDirectory(prefix="samcam-ranges-") as folder:
        probing = {n: ProbingBackend(n, graphs[n], Path(folder)) for n in networks}
    plain = {
        n: OnnxRuntimeBackend(n, graphs[n], EngineOptions()) for n in NETWORKS if n not in probing
    }
    count = 0
    with Sam2Networks(manifest, {**plain, **probing}) as opened:
        for picture in pictures:
            _track(opened, picture)
            count += 1
    if not count:
        raise ExportError("range report: no picture to measure on")
    return RangeReport(
        [
            NodeRange(
                network,
                probe,
                backend.maxima.get(probe.max_name, math.inf),
                backend.maxima.get(probe.sum_name, 0.0),
            )
            for network, backend in probing.items()
            for probe in backend.probes
        ]
    )


def _track(networks: Sam2Networks, picture: U8) -> None:
    """Prompt an object on a picture by point, box and mask, and look for it on a later one."""
    size = networks.manifest.image_size
    later = np.roll(picture, max(1, round(picture.shape[1] * _SHIFT)), axis=1)
    now, then = networks.encode_image(picture), networks.encode_image(later)
    point = np.array([_POINT], np.float32) * size
    corners = np.array(_BOX, np.float32).reshape(2, 2) * size
    none = np.zeros((0, 2), np.float32), np.zeros(0, np.int32)
    memories, pointers = [], []
    for points, labels in ((point, [1]), (corners, [2, 3])):
        found = networks.decode(now.pix_feat_no_mem, now, points, np.array(labels, np.int32))
        best = int(found.ious.argmax())
        mask_input, low_res = networks.encode_mask_prompt(found.low_res_masks[best] > 0)
        networks.decode(now.pix_feat, now, *none, mask_input)
        for logits, prompted in ((found.low_res_masks[best], False), (low_res, True)):
            score = found.object_score_logit
            memories.append(networks.encode_memory(now, logits, prompted, score))
            pointers.append(found.obj_ptrs[best])
    steps = list(range(len(memories)))
    attended = networks.attend(then, memories, steps, pointers, [float(s) for s in steps])
    networks.decode(attended, then, *none)
