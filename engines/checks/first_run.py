"""The first run of a model's engines on a GPU: compared with ONNX Runtime, the result kept.

It is made while the model loads, before there is a frame, so on painted pictures.
The result holds for these engine files, this GPU, this TensorRT and this driver; with another one
of them the comparison is made again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from samcam.engines.base import EngineError
from samcam.engines.checks.self_check import (
    NetworkCheck,
    compare_networks,
    describe,
    read_checks,
    read_pictures,
    write_checks,
)
from samcam.engines.graph_table import NETWORKS
from samcam.engines.manifest import read_manifest
from samcam.engines.sam2_graphs import Sam2Networks
from samcam.engines.tensorrt.cuda_runtime import find_gpu
from samcam.engines.tensorrt.files import (
    PRECISION_LADDER,
    build_hint,
    graph_path,
    read_record,
)
from samcam.engines.tensorrt.library import Library, import_library
from samcam.system import exporter
from samcam.system.files import is_file

CHECKS_NAME: Final = "checks.json"

_log = logging.getLogger(__name__)


def checks_path(folder: Path, library: Library) -> Path:
    return folder / library.name / CHECKS_NAME


def checks_key(folder: Path, library: Library) -> dict[str, str]:
    """Return what a result holds for.

    Raises:
        EngineError: There is no GPU, no TensorRT, or an engine has no record.
    """
    gpu = find_gpu()
    here = {
        "gpu": f"{gpu.name}, {gpu.compute_capability}",
        "driver": f"{gpu.driver}, CUDA {gpu.cuda}",
        "tensorrt": str(import_library(library).__version__),
    }
    return here | {
        network: read_record(folder, library, network).engine_sha256 for network in NETWORKS
    }


def check_first_run(
    folder: Path,
    library: Library,
    candidate: Sam2Networks,
    open_reference: Callable[[], Sam2Networks],
) -> list[NetworkCheck]:
    """Compare the engines in `candidate` with ONNX Runtime, unless that was done here before.

    `open_reference` opens the same model on ONNX Runtime; it is called only if needed. The result
    is kept in the model folder, so that the next start refuses bad engines at once.

    Raises:
        EngineError: Names the networks whose worst mask is too far off, and what to do.
    """
    path, key = checks_path(folder, library), checks_key(folder, library)
    checks = read_checks(path, key)
    if checks is None:
        _log.info(
            "%s: first run on %s: comparing the engines with ONNX Runtime on painted pictures, "
            "which can take a minute; on your own frames: "
            '%s verify "%s" --frames DIR',
            folder,
            key["gpu"],
            exporter(),
            folder,
        )
        with open_reference() as reference:
            checks = compare_networks(reference, candidate, read_pictures())
        try:
            write_checks(path, key, checks)
        except EngineError as error:  # the answers count, not the note of them
            _log.warning("%s: the next start compares again", error)
        _log.info("%s:\n%s", folder, describe(checks))
    refuse_bad(folder, library, checks)
    return checks


def missed_before(folder: Path, library: Library) -> dict[str, NetworkCheck]:
    """Return the networks whose engines, as they lie there, missed in the last comparison.

    Building them again as they are would not help.
    """
    try:
        key = checks_key(folder, library)
    except EngineError:  # nothing ran here
        return {}
    checks = read_checks(checks_path(folder, library), key) or []
    return {check.network: check for check in checks if check.cases and not check.passed}


def refuse_bad(folder: Path, library: Library, checks: list[NetworkCheck]) -> None:
    """Raise where a network is not good enough.

    Raises:
        EngineError: Names them with their worst IoU, and the command that builds them in a higher
            precision, or else what helps.
    """
    bad = [check for check in checks if not check.passed]
    if bad:
        named = "; ".join(
            f"{check.network}: worst mask IoU {check.min_iou:.3f} ({check.worst}), "
            f"expected at least {check.limit:g}"
            for check in bad
        )
        raise EngineError(
            f"{folder}: the engines do not answer as ONNX Runtime does on this GPU: {named}: "
            f"{_way_out(folder, library, bad)}"
        )


def _way_out(folder: Path, library: Library, bad: list[NetworkCheck]) -> str:
    """Return what to do about networks that miss: building them again only helps if it differs."""
    manifest = read_manifest(folder)
    for check in bad:
        if not check.cases:
            return "are these trained weights? use --backend onnxruntime, which needs no comparison"
        network = check.network
        used = read_record(folder, library, network).fingerprint.precision
        higher = PRECISION_LADDER[PRECISION_LADDER.index(used) + 1 :]
        if not any(
            manifest.files[network].precision == ("float32" if other == "tf32" else other)
            or is_file(graph_path(folder, network, other))
            for other in higher
        ):
            export = "" if used == "float32" else ", export the model with --precision fp32"
            return (
                f"{used} misses as well: use --backend onnxruntime{export}, "
                f"or update {library.title} or the driver"
            )
    return build_hint(folder, library)
