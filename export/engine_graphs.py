"""The graphs that a model's engines are built from, by network and rung of the precision ladder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from samcam.engines import (
    EMBEDDED_MODEL,
    NETWORKS,
    EngineError,
    Manifest,
    ModelFileError,
    find_model,
    is_model_name,
    read_manifest,
    rebuild_hint,
    verify_files,
)
from samcam.engines.tensorrt import HAS_BFLOAT16, PRECISION_LADDER, Library, graph_path
from samcam.export.engine_compiler import Target
from samcam.system import exporter, install

if TYPE_CHECKING:
    import onnx

FLOAT16, BFLOAT16, TF32, FLOAT32 = PRECISION_LADDER
_NOT_OLD: Final = (BFLOAT16, TF32)  # what GPUs below 8.0 lack


@dataclass(frozen=True, slots=True)
class Rung:
    """A graph that an engine can be built from.

    Attributes:
        precision: Of the ladder.
        graph: The file.
        lowered: Whether the graph is the file's, in fp16.
    """

    precision: str
    graph: Path
    lowered: bool = False


def read_model_graphs(
    folder: Path, target: Target, start: str | None
) -> tuple[Manifest, dict[str, list[Rung]]]:
    """Read a manifest, compare every file with it, and return the rungs of each network.

    Args:
        start: Lowest precision wanted; None for the lowest there is.

    Raises:
        EngineError: A file is wrong, or in a precision that no engine is built from.
    """
    try:
        manifest = read_manifest(folder)
        verify_files(folder, manifest, half=start not in (TF32, FLOAT32))
        found = {network: _rungs(folder, manifest, network) for network in NETWORKS}
    except ModelFileError as error:
        raise EngineError(f"{error}: {rebuild_hint(folder.name)}") from error
    lowest = 0 if start is None else PRECISION_LADDER.index(start)
    wanted = PRECISION_LADDER[lowest:]
    if target.capability < HAS_BFLOAT16:
        wanted = tuple(precision for precision in wanted if precision not in _NOT_OLD)
    rungs = {
        network: [rung for rung in all_of_it if rung.precision in wanted]
        for network, all_of_it in found.items()
    }
    for network, left in rungs.items():
        if not left:
            raise EngineError(
                f"{folder}: {network}: no graph in {' or '.join(wanted)}, which compute capability "
                f"{target} and --precision leave: export the model again, in fp32"
            )
    return manifest, rungs


def _rungs(folder: Path, manifest: Manifest, network: str) -> list[Rung]:
    """Return the graphs of a network, the lowest precision first.

    Raises:
        EngineError: The model's own graph is in a precision that no engine is built from.
        ModelFileError: A graph lies there that the manifest does not name.
    """
    entry = manifest.files[network]
    own = folder / entry.file
    if entry.precision not in PRECISION_LADDER:
        built_from = ", ".join(p for p in PRECISION_LADDER if p != TF32)
        raise EngineError(
            f"{own}: precision {entry.precision}: engines are built from {built_from}: "
            "export the model with another --precision"
        )
    found = {entry.precision: Rung(entry.precision, own)}
    if entry.precision == FLOAT32:
        found[TF32] = Rung(TF32, own)
    for precision in (FLOAT16, BFLOAT16):
        path = graph_path(folder, network, precision)
        if precision in manifest.half.get(network, {}):
            found.setdefault(precision, Rung(precision, path))
        elif path.is_file():
            raise ModelFileError(f"{path}: not in the model's manifest")
    if _is_lowered_here(manifest, network):
        found.setdefault(FLOAT16, Rung(FLOAT16, own, lowered=True))
    return [found[precision] for precision in PRECISION_LADDER if precision in found]


def _is_lowered_here(manifest: Manifest, network: str) -> bool:
    """Whether a network's fp16 graph is made from its ONNX file: nano's, which has no other."""
    if manifest.family != EMBEDDED_MODEL or network in manifest.half:
        return False
    from samcam.export.half.from_onnx import LOWERED

    return network in LOWERED


def load_graph(rung: Rung, network: str, target: Target) -> onnx.ModelProto:
    """Return the graph of a rung, with what the target has.

    Raises:
        EngineError: The file is not an ONNX graph.
    """
    import onnx
    from google.protobuf.message import DecodeError

    from samcam.export.half.capability import for_capability
    from samcam.export.half.from_onnx import half_from_onnx

    try:
        model = onnx.load(rung.graph)
    except (OSError, DecodeError, ValueError) as error:
        raise EngineError(f"{rung.graph}: cannot be read ({error})") from error
    if rung.lowered:
        model = half_from_onnx(model, network)
    return for_capability(model, target.capability, target.library.old_fp32_products)


def require_onnx(library: Library) -> None:
    """Import the package that reads graphs.

    Raises:
        EngineError: Says what installs it.
    """
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise EngineError(f"onnx cannot be imported ({error})", install(library.extra)) from error


def require_half(folder: Path) -> None:
    """Refuse a model whose engines would all be built from fp32 graphs.

    Raises:
        EngineError: Says what exports the others.
        ModelFileError: The manifest is damaged.
    """
    manifest = read_manifest(folder)
    kinds = {entry.precision for entry in manifest.files.values()}
    if manifest.half or manifest.family == EMBEDDED_MODEL or kinds != {FLOAT32}:
        return
    raise EngineError(
        f"{folder}: has no graphs in half precision; --precision fp32 builds engines in fp32",
        _export_hint(folder, manifest),
    )


def _export_hint(folder: Path, manifest: Manifest) -> str:
    if not is_model_name(manifest.name):
        return "export the model again with --precision fp16"
    line = f"run: {exporter()} {manifest.name} --precision fp16"
    try:
        usual = find_model(manifest.name).resolve() == folder.resolve()
    except EngineError:
        usual = False
    return line if usual else f'{line} --out "{folder}"'
