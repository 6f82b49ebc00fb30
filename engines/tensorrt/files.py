"""The engine files of a model folder and the records beside them; nothing here needs TensorRT.

FOLDER/tensorrt/, or FOLDER/tensorrt-rtx/ for TensorRT for RTX, holds NETWORK.engine and its record
NETWORK.engine.json for each network. The graphs in half precision, from which both are built, are
FOLDER/tensorrt/NETWORK.PRECISION.onnx; NETWORK.kernels is what TensorRT for RTX compiled on the
GPU of this machine. An engine runs only with the version that it was built with,
and on the kinds of GPU that its record names.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal, TypeAlias

from samcam.engines.base import EngineError
from samcam.engines.graph_table import MASK_DECODER, MEMORY_ATTENTION
from samcam.engines.manifest import Manifest, Network, file_sha256
from samcam.engines.tensorrt.library import TENSORRT, TENSORRT_RTX, Library
from samcam.system import CheckedAs, Section, Setting, exporter, read_model
from samcam.system import files as system_files
from samcam.system.files import is_file, read_json

GRAPH_FOLDER: Final = TENSORRT.name  # of the graphs in half precision, for both libraries
MAX_POINTS: Final = 64  # of one prompt, the corners of a box included
# What engines are built in; a network that misses, or does not build, goes one higher.
# tf32 and float32 are built from the same graph: with and without TF32 in its matrix products.
PRECISION_LADDER: Final = ("float16", "bfloat16", "tf32", "float32")

_Size: TypeAlias = Annotated[int, Setting(low=0)]
_Capability: TypeAlias = Annotated[
    str,
    Setting(limits={"pattern": r"^[0-9]+\.[0-9]+\+?$"}, expected="a number such as 8.9 or 8.0+"),
]
_Rung: TypeAlias = Annotated[str, CheckedAs(Literal[PRECISION_LADDER])]


class EngineFileError(EngineError):
    """An engine is missing, damaged, stale or foreign: building it again helps."""


@dataclass(frozen=True, slots=True)
class Fingerprint(Section):
    """What an engine was built from, with and for.

    Attributes:
        onnx_sha256: Of the graph it was built from.
        tensorrt: Version of the library, for example "11.4.0.106".
        gpu: Its name; empty for an engine of any GPU with the capability.
        compute_capability: For example "8.9", or "8.0+" for that one and every newer one.
        driver: Its version; empty where none was needed. Another one does not make the engine
            stale, but its answers are compared again.
        precision: Rung of the ladder that the network computes in.
        profiles: In the engine's order, axis to [smallest, most usual, largest] length.
    """

    onnx_sha256: str
    tensorrt: str
    gpu: str
    compute_capability: _Capability
    driver: str
    precision: _Rung
    profiles: Annotated[
        list[Mapping[str, list[_Size]]],
        Setting(expected="for each profile lists of whole numbers by axis"),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRecord(Section):
    """What is written beside an engine.

    Attributes:
        model_sha256: Of this network's file in the model's manifest.
        engine_sha256, engine_bytes: Of the engine.
        asked: Precision that was asked for; the fingerprint has the one that was good enough.
        reason: Why the two differ; empty where they do not.
    """

    __needed__: ClassVar = ("format_version",)

    format_version: Annotated[int, Setting(low=1, high=1, expected="1")] = 1
    network: Network
    model_sha256: str
    engine_sha256: str
    engine_bytes: _Size
    asked: str
    reason: str
    fingerprint: Fingerprint


def engine_path(folder: Path, library: Library, network: str) -> Path:
    return folder / library.name / f"{network}.engine"


def graph_path(folder: Path, network: str, precision: str) -> Path:
    """Return where the graph of a network in another precision than the model's is."""
    return folder / GRAPH_FOLDER / f"{network}.{precision}.onnx"


def build_hint(folder: Path, library: Library) -> str:
    """Return the command that builds a model's engines again."""
    option = " --rtx" if library is TENSORRT_RTX else ""
    return f'run: {exporter("build_tensorrt")} "{folder}"{option}'


def profiles_of(manifest: Manifest, network: str) -> list[dict[str, list[int]]]:
    """Return the optimisation profiles of a network's engine, in the engine's order.

    Each has the [smallest, most usual, largest] length of the axes that a graph may leave free.
    Memories and pointers are padded to a step of `Manifest.row_steps`; one point is what tracking
    gives.
    """
    one = {"B": [1, 1, 1]}
    if network == MEMORY_ATTENTION:
        return [one | {"N": [n] * 3, "P": [p] * 3} for n, p in manifest.row_steps]
    if network == MASK_DECODER:
        return [one | {"T": [1, 1, 1]}, one | {"T": [1, 2, MAX_POINTS]}]
    return [one]


def write_engine(
    folder: Path, library: Library, engine: bytes, record: EngineRecord
) -> EngineRecord:
    """Write an engine and its record, with hash and size filled in; a crash in between leaves an
    engine without a record.

    Raises:
        EngineError: They cannot be written.
    """
    path = engine_path(folder, library, record.network)
    digest = hashlib.sha256(engine).hexdigest()
    written = replace(record, engine_sha256=digest, engine_bytes=len(engine))
    remove(record_path(path))
    remove(kernels_path(path))  # of the engine before
    write_engine_file(path, engine)
    text = json.dumps(asdict(written), indent=2) + "\n"
    write_engine_file(record_path(path), text.encode())
    return written


def write_engine_file(path: Path, data: bytes) -> None:
    """Write a file in one step: it is the old one or the new one, never a part.

    Raises:
        EngineError: It cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        system_files.write_whole(path, data, lasting=True)
    except OSError as error:
        raise EngineError(f"{path}: cannot be written: {error.strerror or error}") from error


def remove(path: Path) -> None:
    """Remove a file if it exists.

    Raises:
        EngineError: It cannot be removed.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise EngineError(f"{path}: cannot be removed: {error.strerror or error}") from error


def record_path(engine: Path) -> Path:
    return engine.with_name(engine.name + ".json")


def kernels_path(engine: Path) -> Path:
    """Return where is kept what TensorRT for RTX compiled of an engine on this GPU."""
    return engine.with_suffix(".kernels")


def read_record(folder: Path, library: Library, network: str) -> EngineRecord:
    """Read the record of a network's engine.

    Raises:
        EngineFileError: The engine or its record is missing, or it is not a record.
    """
    engine = engine_path(folder, library, network)
    path = record_path(engine)
    if not is_file(engine):
        raise EngineFileError(f"{engine}: missing: {build_hint(folder, library)}")
    try:
        record = read_model(EngineRecord, read_json(path))
    except (OSError, ValueError) as error:
        said = "; ".join(str(error).splitlines())
        reason = "missing" if isinstance(error, FileNotFoundError) else f"unreadable ({said})"
        raise EngineFileError(f"{path}: {reason}: {build_hint(folder, library)}") from error
    if record.network != network:
        raise EngineFileError(
            f"{path}: of the network {record.network}, expected {network}: "
            f"{build_hint(folder, library)}"
        )
    return record


def check_record(
    folder: Path, library: Library, record: EngineRecord, manifest: Manifest, here: Fingerprint
) -> None:
    """Compare an engine's record with the model and with this machine.

    `here` has version, GPU and profiles as they are now; its hash and precision are not looked at.

    Raises:
        EngineFileError: Names the first difference and the command that builds the engine again.
    """
    made = record.fingerprint
    entry = manifest.files[record.network]
    differences = [
        (f"another {library.title}", made.tensorrt, here.tensorrt),
        ("other limits", list(map(dict, made.profiles)), list(map(dict, here.profiles))),
        ("another model file", record.model_sha256[:12], entry.sha256[:12]),
    ]
    if made.gpu:
        differences.append(("another GPU", made.gpu, here.gpu))
    if not _runs_on(made.compute_capability, here.compute_capability):
        differences.append(("another GPU", made.compute_capability, here.compute_capability))
    graph = graph_path(folder, record.network, made.precision)
    if is_file(graph):
        differences.append(("another graph", made.onnx_sha256[:12], file_sha256(graph)[:12]))
    elif made.precision in (entry.precision, "tf32"):
        differences.append(("another model file", made.onnx_sha256[:12], entry.sha256[:12]))
    for what, then, now in differences:
        if then != now:
            raise EngineFileError(
                f"{engine_path(folder, library, record.network)}: built for {what}: "
                f"expected {now}, found {then}: {build_hint(folder, library)}"
            )


def _runs_on(built_for: str, capability: str) -> bool:
    """Whether an engine for a compute capability, such as "8.9" or "8.0+", runs on another one."""
    if not built_for.endswith("+"):
        return built_for == capability
    least, found = (tuple(map(int, text.split("."))) for text in (built_for[:-1], capability))
    return found >= least


def read_engine(folder: Path, library: Library, record: EngineRecord) -> bytes:
    """Read an engine and compare it with its record.

    Raises:
        EngineFileError: It is missing, truncated or another one.
    """
    path = engine_path(folder, library, record.network)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise EngineFileError(
            f"{path}: cannot be read ({error}): {build_hint(folder, library)}"
        ) from error
    if len(data) != record.engine_bytes:
        what = "truncated" if len(data) < record.engine_bytes else "not the model's file"
        raise EngineFileError(
            f"{path}: {what}: expected {record.engine_bytes} bytes, got {len(data)}: "
            f"{build_hint(folder, library)}"
        )
    digest = hashlib.sha256(data).hexdigest()
    if digest != record.engine_sha256:
        raise EngineFileError(
            f"{path}: damaged: expected SHA-256 {record.engine_sha256[:12]}…, got {digest[:12]}…: "
            f"{build_hint(folder, library)}"
        )
    return data
