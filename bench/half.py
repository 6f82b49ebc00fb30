"""`python -m bench.half MODEL... --pictures DIR`: what half precision makes of the masks.

Every half-precision graph that TensorRT's engines are built from, against the model's fp32 graph,
on real pictures: two clicks, a box, and tracking by two memories and by full banks of them, network
by network, as the comparison after a build does it. Both run on ONNX Runtime; the graphs round
every result to its own type, which GPUs do at most that often. A larger picture size sees fewer
pictures, for the same work.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import onnx

from bench.reports.environment import describe_environment
from bench.reports.report import (
    BAD_INPUT,
    NO_MODEL,
    Report,
    Section,
    Table,
    exit_code,
    publish,
    report_parser,
    table,
)
from samcam.engines import (
    MEMORY_ATTENTION,
    NETWORKS,
    U8,
    EngineError,
    EngineOptions,
    Manifest,
    OnnxRuntimeBackend,
    Sam2Networks,
    find_model,
    read_manifest,
    usable_cores,
)
from samcam.engines.checks import NetworkCheck, compare_networks
from samcam.engines.tensorrt import HAS_BFLOAT16, graph_path
from samcam.export.half import (
    LOWERED,
    for_capability,
    half_from_onnx,
    open_rounded,
)
from samcam.system import prepare_streams

BLOCK: Final = "half"
DEFAULT_COUNT: Final = 12
COUNT_SIZE: Final = 512  # the picture size that --count is meant for
TURING: Final = (7, 5)
FORMS: Final = ("float16", "bfloat16")


class PictureError(ValueError):
    """There are no pictures to compare on; the message names the folder."""


@dataclass(frozen=True)
class Row:
    """One network of a model in one form."""

    model: str
    form: str
    check: NetworkCheck

    def cells(self) -> tuple[str, ...]:
        found = self.check
        figures = (f"{found.cases}", f"{found.min_iou:.4f}", f"{found.mean_iou:.4f}")
        return (f"{self.model} {self.form}", found.network, *figures, found.worst)


def read_evenly(folder: Path, count: int) -> list[U8]:
    """Read `count` of the JPEG files below a folder, evenly over their sorted names.

    Raises:
        PictureError: There is none, or one cannot be read.
    """
    files = sorted(folder.rglob("*.jpg"))
    if not files:
        raise PictureError(f"{folder}: no .jpg files below it")
    places = np.linspace(0, len(files) - 1, min(count, len(files))).round().astype(int)
    pictures = []
    for path in (files[place] for place in places):
        picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if picture is None:
            raise PictureError(f"{path}: not a readable picture")
        pictures.append(picture.astype(np.uint8, copy=False))
    return pictures


def half_models(folder: Path, manifest: Manifest, form: str) -> dict[str, onnx.ModelProto]:
    """Return the graph of every network that a form changes; nano's are made here."""
    own = {network: str(folder / entry.file) for network, entry in manifest.files.items()}
    if manifest.family == "nano":
        lowered = LOWERED if form == "float16" else ()
        return {network: half_from_onnx(onnx.load(own[network]), network) for network in lowered}
    paths = {network: graph_path(folder, network, form) for network in NETWORKS}
    return {network: onnx.load(str(path)) for network, path in paths.items() if path.is_file()}


def forms_of(
    folder: Path, manifest: Manifest, forms: Sequence[str]
) -> Iterator[tuple[str, dict[str, onnx.ModelProto]]]:
    """Give every form's name and the graphs of the networks that it changes."""
    for form in forms:
        models = half_models(folder, manifest, form)
        if models:
            yield form, models
        if form == "float16" and MEMORY_ATTENTION in models and manifest.family != "nano":
            older = for_capability(models[MEMORY_ATTENTION], TURING)
            yield f"{form} below {'.'.join(map(str, HAS_BFLOAT16))}", {MEMORY_ATTENTION: older}


def measure(
    folder: Path, manifest: Manifest, pictures: Sequence[U8], forms: Sequence[str] = FORMS
) -> list[Row]:
    """Compare forms of a model with fp32.

    Raises:
        EngineError: A network does not run.
    """
    options = EngineOptions(threads=usable_cores())
    exact = {
        network: OnnxRuntimeBackend(network, folder / entry.file, options)
        for network, entry in manifest.files.items()
    }
    rows = []
    with Sam2Networks(manifest, exact) as reference:
        for form, models in forms_of(folder, manifest, forms):
            rounded = Sam2Networks(manifest, {**exact, **open_rounded(models, options)})
            checks = compare_networks(
                reference, rounded, pictures, list(models), banks=manifest.row_steps
            )
            rows += [Row(manifest.name, form, check) for check in checks]
    return rows


def result_table(rows: Sequence[Row]) -> Table:
    headers = ("model, form", "network", "masks", "minimum IoU", "mean IoU", "the worst one")
    return table(headers, [row.cells() for row in rows])


def run(given: argparse.Namespace) -> None:
    rows: list[Row] = []
    head = list(describe_environment().lines())
    for name in given.models:
        folder = find_model(name)
        manifest = read_manifest(folder)
        wanted = max(1, round(given.count * (COUNT_SIZE / manifest.image_size) ** 2))
        pictures = read_evenly(given.pictures, wanted)
        started = time.monotonic()
        rows += measure(folder, manifest, pictures, given.form or FORMS)
        spent = time.monotonic() - started
        head.append(f"{manifest.name}: {len(pictures)} pictures, {spent:.0f} s")
    publish(Report(head, [Section(result_table(rows))]), given.markdown, BLOCK)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns 0, or 2, 4 and 5 as every bench program."""
    parser = report_parser(BLOCK, __doc__)
    parser.add_argument("models", nargs="+", help="names of installed models, or their folders")
    parser.add_argument("--pictures", type=Path, required=True, help="folder with .jpg files below")
    parser.add_argument(
        "--count", type=int, default=DEFAULT_COUNT, help=f"pictures at {COUNT_SIZE} px"
    )
    parser.add_argument("--form", action="append", choices=FORMS, help="only this; repeatable")
    given = parser.parse_args(arguments)
    return exit_code(
        lambda: run(given),
        {EngineError: NO_MODEL, PictureError: BAD_INPUT},
    )


if __name__ == "__main__":
    prepare_streams()
    sys.exit(main())
