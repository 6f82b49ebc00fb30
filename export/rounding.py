"""Rounds an INT8 graph's weights to seven bits; those after each make up for its error.

Seven bits because processors without VNNI add two products of an unsigned and a signed byte in 16
bits, which saturate where the weights have eight. Plain rounding to seven bits loses masks; here,
row by row, what rounding one weight changes on typical activations is taken off the rows that are
still to be rounded (Frantar et al. 2022, GPTQ: https://arxiv.org/abs/2210.17323).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
from onnx import numpy_helper

from samcam.engines import U8

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I8 = npt.NDArray[np.int8]

LIMIT: Final = 64  # 2 * 255 * 64 = 32640 is the most that fits into 16 bits
_DAMPING: Final = 0.01  # share of the mean moment, for inputs that never differ
_MANY_ROWS: Final = 4096  # one large product takes less time than many small ones
_BLOCK: Final = 32  # rows whose errors are carried over together


def round_weights_of(fp32: Path, quantised: Path, pictures: Sequence[U8]) -> None:
    """Round the matrix weights of a dynamically quantised graph again, in place.

    Args:
        quantised: The graph after `quantize_dynamic`, with scales for `LIMIT`.
        pictures: (S, S, 3) uint8 BGR, whose activations say which errors matter.
    """
    model = onnx.load(str(quantised))
    constants = {item.name: item for item in model.graph.initializer}
    wanted = {item.name for item in constants.values()}
    before = onnx.load(str(fp32))
    originals = {item.name: item for item in before.graph.initializer}
    sources = {
        node.input[1]: node.input[0]
        for node in before.graph.node
        if node.op_type == "MatMul" and f"{node.input[1]}_quantized" in wanted
    }
    moments = _second_moments(before, sorted(set(sources.values())), pictures)
    for name, source in sources.items():
        scale = numpy_helper.to_array(constants[f"{name}_scale"])
        weights = numpy_helper.to_array(originals[name])
        target = f"{name}_quantized"
        rounded = round_weights(weights, np.broadcast_to(scale, weights.shape[1]), moments[source])
        constants[target].CopyFrom(numpy_helper.from_array(rounded, target))
    onnx.save(model, str(quantised))


def round_weights(weights: F32, scale: npt.ArrayLike, moments: F32) -> I8:
    """Return weights in steps of their column's scale, within -LIMIT..LIMIT.

    Args:
        weights: (K, N) of a product with (..., K) activations.
        scale: (N,) size of one step.
        moments: (K, K) sum of the outer products of the activations.
    """
    steps = weights / np.asarray(scale, np.float32)
    order = np.argsort(-np.diag(moments))  # what weighs most is rounded while all can still help
    steps = steps[order]
    damped = moments[np.ix_(order, order)].astype(np.float64)
    damped[np.diag_indices_from(damped)] += _DAMPING * max(float(np.mean(np.diag(damped))), 1e-12)
    factor = _inverse_factor(damped)
    rounded = np.empty_like(steps)
    for start in range(0, len(steps), _BLOCK):
        end = min(start + _BLOCK, len(steps))
        errors = np.empty((end - start, steps.shape[1]), np.float32)
        for row in range(start, end):
            rounded[row] = np.clip(np.round(steps[row]), -LIMIT, LIMIT)
            error = (steps[row] - rounded[row]) / factor[row, row]
            steps[row:end] -= np.outer(factor[row, row:end], error)
            errors[row - start] = error
        steps[end:] -= factor[start:end, end:].T @ errors
    result: I8 = np.empty(rounded.shape, np.int8)
    result[order] = rounded
    return result


def _inverse_factor(matrix: F64) -> F32:
    """Return the upper triangular U with U.T @ U the inverse of a positive definite matrix.

    The Cholesky factor of the matrix with both axes turned round, turned round, is U's inverse.
    """
    lower = torch.linalg.cholesky(torch.from_numpy(matrix).flip(0, 1))
    unit = torch.eye(len(matrix), dtype=torch.float64)
    upper: F32 = torch.linalg.solve_triangular(lower.flip(0, 1), unit, upper=True).float().numpy()
    return upper


def _second_moments(
    model: onnx.ModelProto, names: Sequence[str], pictures: Sequence[U8]
) -> dict[str, F32]:
    """Return for each named activation, (..., K), the (K, K) sum of its outer products."""
    for name in names:
        model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # it remarks on the outputs that were added
    session: Any = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    moments: dict[str, F32] = {}
    waiting: dict[str, list[F32]] = {name: [] for name in names}
    for picture in pictures:
        answers = session.run(list(names), {"image": np.ascontiguousarray(picture[None])})
        for name, answer in zip(names, answers, strict=True):
            waiting[name].append(answer.reshape(-1, answer.shape[-1]))
            if picture is pictures[-1] or sum(map(len, waiting[name])) >= _MANY_ROWS:
                rows = np.concatenate(waiting[name])
                moments[name] = moments.get(name, np.float32(0)) + rows.T @ rows
                waiting[name].clear()
    return moments
