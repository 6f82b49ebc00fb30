"""What is inside of a model's engines: layers, fused attention, scratch memory."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.reports.report import Table, table
from samcam.engines import MEMORY_ATTENTION, NETWORKS
from samcam.engines.tensorrt import Library, engine_path, import_library, make_logger, read_record

# How TensorRT names kernels that hold no scores of attention in memory.
_FUSED: Final = re.compile(r"mha|flash|fused_?attention|sdpa|softmax_?gemm", re.IGNORECASE)
# Of memory attention at 1024: fused it needs a tenth of this; with its scores in memory, the
# smallest of which are 336 MB (4096 queries x 41036 keys in fp16), more.
MAX_ATTENTION_MB: Final = 300.0


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """One engine.

    Attributes:
        fused: Layers whose names say that attention is fused.
        memory_mb: What its runs need besides inputs and outputs.
    """

    network: str
    precision: str
    reason: str
    size_mb: float
    memory_mb: float
    layers: int
    fused: int

    @property
    def holds_scores(self) -> bool:
        """Whether it needs so much memory that its attention is not fused."""
        return self.network == MEMORY_ATTENTION and self.memory_mb > MAX_ATTENTION_MB


def inspect_engines(
    folder: Path, library: Library
) -> tuple[list[EngineFacts], Mapping[str, Sequence[Any]]]:
    """Load a model's engines and ask each for its layers; returns those by network too.

    The GPU must have been looked for: without a driver the library ends the process.
    """
    trt = import_library(library)
    runtime = trt.Runtime(make_logger(trt))
    facts: list[EngineFacts] = []
    layers: dict[str, Sequence[Any]] = {}
    for network in NETWORKS:
        record = read_record(folder, library, network)
        data = engine_path(folder, library, network).read_bytes()
        engine = runtime.deserialize_cuda_engine(data)
        told = engine.create_engine_inspector().get_engine_information(
            trt.LayerInformationFormat.JSON
        )
        layers[network] = found = json.loads(told).get("Layers", [])
        facts.append(
            EngineFacts(
                network,
                record.fingerprint.precision,
                record.reason,
                record.engine_bytes / 1e6,
                engine.device_memory_size_v2 / 1e6,
                len(found),
                sum(_FUSED.search(json.dumps(layer)) is not None for layer in found),
            )
        )
    return facts, layers


def engine_table(facts: Sequence[EngineFacts], graphs: Mapping[str, int]) -> Table:
    rows = [
        [
            *(f.network, f.precision, f"{f.size_mb:.1f}", f"{f.memory_mb:.0f}"),
            *(str(f.layers), str(f.fused), str(graphs.get(f.network, 0)), f.reason or "-"),
        ]
        for f in facts
    ]
    heads = ("network", "precision", "engine MB", "scratch MB", "layers", "fused", "graphs")
    return table((*heads, "why not lower"), rows)
