"""Torch modules to ONNX files on the engine contract, and the comparison of the two."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn
from torch.export import Dim

from samcam.engines import NETWORKS, PADDED_AXES, SINGLE_OBJECT_AXIS, NetworkSpec
from samcam.export.errors import ExportError

OPSET: Final = 20
TOLERANCE: Final = 2e-3  # of fp32 logits of up to about 30; measured errors stay near 1e-4
MAX_AXIS: Final = 64  # of a free axis; far above every limit of a manifest

_FREE_AXES: Final = (SINGLE_OBJECT_AXIS, *PADDED_AXES, "T")


def free_axes(network: str, form: str) -> dict[str, dict[int, Dim]]:
    """Return each input's free axes as torch.export names them.

    "dynamic": B, N, P and T are free. "fixed": T only; the example inputs give the rest.
    """
    names = _FREE_AXES if form == "dynamic" else ("T",)
    dims = {name: Dim(name, min=1, max=MAX_AXIS) for name in names}
    return {
        spec.name: {i: dims[axis] for i, axis in enumerate(spec.shape) if axis in dims}
        for spec in NETWORKS[network].inputs
    }


def write_graph(
    module: nn.Module,
    network: str,
    inputs: Mapping[str, Tensor],
    path: Path,
    form: str = "dynamic",
) -> None:
    """Export one network of the contract's table, as `export_module` does; `form`: see `free_axes`.

    Raises:
        ExportError: torch cannot export it, or the file is not valid ONNX.
    """
    export_module(module, NETWORKS[network], inputs, path, free_axes(network, form))


def export_module(
    module: nn.Module,
    spec: NetworkSpec,
    inputs: Mapping[str, Tensor],
    path: Path,
    axes: Mapping[str, Mapping[int, Dim]],
) -> None:
    """Export a module under the names of any table and check the file.

    Args:
        module: Takes and returns tensors in the table's order.
        inputs: Examples by name; an axis that shall be free must not be 1 here.
        axes: Free axes of each input.

    Raises:
        ExportError: torch cannot export it, or the file is not valid ONNX.
    """
    names = [tensor.name for tensor in spec.inputs]
    network = spec.name
    try:
        with _quiet_exporter(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # exporter chatter; the comparison judges
            program = torch.onnx.export(
                module,
                tuple(inputs[name] for name in names),
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                input_names=names,
                output_names=[tensor.name for tensor in spec.outputs],
                dynamic_shapes=tuple(dict(axes[name]) for name in names),
            )
    except Exception as error:  # the exporter's errors have no common base of their own
        reason = " ".join(str(error).split())[:300]
        raise ExportError(f"{network}: torch cannot export it: {reason}") from error
    if program is None:
        raise ExportError(f"{network}: torch.onnx.export gave no program")
    for node in program.model.graph.all_nodes():  # the exporting machine's paths, for nobody else
        node.metadata_props.pop("pkg.torch.onnx.stack_trace", None)
    program.save(str(path), external_data=False)
    check_graph(path, network)


def check_graph(path: Path, network: str) -> None:
    """Run onnx.checker with shape inference.

    Raises:
        ExportError: The file is not valid.
    """
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(
            f"{path}: {network}: not valid ONNX: {' '.join(str(error).split())}"
        ) from error


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Silence the exporter's remarks on its own work and on packages it would like to have."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def compare(
    module: nn.Module,
    network: str | NetworkSpec,
    inputs: Mapping[str, Tensor],
    path: Path,
    tolerance: float = TOLERANCE,
) -> float:
    """Run the same inputs, of any shapes, through torch and ONNX Runtime.

    Args:
        network: By name, or as any table has it.
        tolerance: The largest difference allowed, relative above 1.

    Returns:
        The largest difference of any value of any output.

    Raises:
        ExportError: Names the output, its difference and the tolerance.
    """
    spec = NETWORKS[network] if isinstance(network, str) else network
    names = [tensor.name for tensor in spec.inputs]
    with torch.no_grad():
        answer = module(*(inputs[name] for name in names))
    wanted = answer if isinstance(answer, tuple) else (answer,)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    given = session.run(None, {name: inputs[name].numpy() for name in names})
    worst = 0.0
    for tensor, a, b in zip(spec.outputs, wanted, given, strict=True):
        if a.shape != b.shape:
            raise ExportError(f"{spec.name} {tensor.name}: torch {tuple(a.shape)}, ONNX {b.shape}")
        error = np.abs(a.float().numpy() - b.astype(np.float32))
        relative = float((error / np.maximum(1.0, np.abs(a.float().numpy()))).max())
        if not relative <= tolerance:
            raise ExportError(
                f"{spec.name} {tensor.name}: torch and ONNX differ by {relative:.2g}, "
                f"at most {tolerance:g} is expected"
            )
        worst = max(worst, float(error.max()))
    return worst


def compare_both(
    module: nn.Module,
    network: str,
    path: Path,
    inputs: tuple[Mapping[str, Tensor], Mapping[str, Tensor]],
    tolerance: float = TOLERANCE,
) -> dict[str, float]:
    """Compare a graph with torch on noise and on real inputs; return the manifest's figures.

    Raises:
        ExportError: As `compare`.
    """
    noise, real = (compare(module, network, given, path, tolerance) for given in inputs)
    return {"random_max_abs": noise, "real_max_abs": real}
