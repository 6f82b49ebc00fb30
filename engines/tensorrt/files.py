"""The engine files of a model folder and the records beside them; nothing here needs TensorRT.

FOLDER/tensorrt/ holds, for each network, NETWORK.engine and its record NETWORK.engine.json, and
for networks in half precision the graph that the engine was built from, NETWORK.PRECISION.onnx.
An engine runs only with the TensorRT version and on the kind of GPU that it was built with.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar, Final, TypeAlias

from samcam.engines.base import EngineError
from samcam.engines.manifest import Manifest, Network, Precision, file_sha256
from samcam.system import Section, Setting, exporter, read_model
from samcam.system import files as system_files
from samcam.system.files import is_file, read_json

ENGINE_FOLDER: Final = "tensorrt"
MAX_POINTS: Final = 64  # of one prompt, the corners of a box included
# What engines are built in; a network that misses, or does not build, goes one higher.
PRECISION_LADDER: Final = ("float16", "bfloat16", "float32")

_Size: TypeAlias = Annotated[int, Setting(low=0)]


class EngineFileError(EngineError):
    """An engine is missing, damaged, stale or foreign: building it again helps."""


@dataclass(frozen=True, slots=True)
class Fingerprint(Section):
    """What an engine was built from, with and for.

    Attributes:
        onnx_sha256: Of the graph it was built from.
        tensorrt: Version, for example "11.4.0.106".
        gpu, compute_capability: For example "8.9".
        driver: Its version. Another one does not make the engine stale, but its answers are
            compared again.
        precision: Element type that the network computes in.
        profile: Axis to [smallest, most usual, largest] length.
    """

    onnx_sha256: str
    tensorrt: str
    gpu: str
    compute_capability: str
    driver: str
    precision: Precision
    profile: Annotated[
        Mapping[str, list[_Size]], Setting(expected="lists of whole numbers by axis")
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


def engine_path(folder: Path, network: str) -> Path:
    return folder / ENGINE_FOLDER / f"{network}.engine"


def graph_path(folder: Path, network: str, precision: str) -> Path:
    """Return where the graph of a network in another precision than the model's is."""
    return folder / ENGINE_FOLDER / f"{network}.{precision}.onnx"


def build_hint(folder: Path) -> str:
    """Return the command that builds a model's engines again."""
    return f'run: {exporter("build_tensorrt")} "{folder}"'


def profile_of(manifest: Manifest) -> dict[str, list[int]]:
    """Return the range of each axis that a graph may leave free.

    Memories and pointers are padded to their limits; one point is what tracking gives.
    """
    memories, pointers = manifest.max_memories, manifest.max_pointers
    return {
        "B": [1, 1, 1],
        "N": [memories] * 3,
        "P": [pointers] * 3,
        "T": [1, 2, MAX_POINTS],
    }


def write_engine(folder: Path, engine: bytes, record: EngineRecord) -> EngineRecord:
    """Write an engine and its record, with hash and size filled in; a crash in between leaves an
    engine without a record.

    Raises:
        EngineError: They cannot be written.
    """
    path = engine_path(folder, record.network)
    digest = hashlib.sha256(engine).hexdigest()
    written = replace(record, engine_sha256=digest, engine_bytes=len(engine))
    remove(record_path(path))
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


def read_record(folder: Path, network: str) -> EngineRecord:
    """Read the record of a network's engine.

    Raises:
        EngineFileError: The engine or its record is missing, or it is not a record.
    """
    engine = engine_path(folder, network)
    path = record_path(engine)
    if not is_file(engine):
        raise EngineFileError(f"{engine}: missing: {build_hint(folder)}")
    try:
        record = read_model(EngineRecord, read_json(path))
    except (OSError, ValueError) as error:
        said = "; ".join(str(error).splitlines())
        reason = "missing" if isinstance(error, FileNotFoundError) else f"unreadable ({said})"
        raise EngineFileError(f"{path}: {reason}: {build_hint(folder)}") from error
    if record.network != network:
        raise EngineFileError(
            f"{path}: of the network {record.network}, expected {network}: {build_hint(folder)}"
        )
    return record


def check_record(folder: Path, record: EngineRecord, manifest: Manifest, here: Fingerprint) -> None:
    """Compare an engine's record with the model and with this machine.

    `here` has TensorRT, GPU and profile as they are now; its hash and precision are not looked at.

    Raises:
        EngineFileError: Names the first difference and the command that builds the engine again.
    """
    made = record.fingerprint
    entry = manifest.files[record.network]
    differences = [
        ("another TensorRT", made.tensorrt, here.tensorrt),
        ("another GPU", made.gpu, here.gpu),
        ("another GPU", made.compute_capability, here.compute_capability),
        ("other limits", dict(made.profile), dict(here.profile)),
        ("another model file", record.model_sha256[:12], entry.sha256[:12]),
    ]
    graph = graph_path(folder, record.network, made.precision)
    if is_file(graph):
        differences.append(("another graph", made.onnx_sha256[:12], file_sha256(graph)[:12]))
    elif made.precision == entry.precision:
        differences.append(("another model file", made.onnx_sha256[:12], entry.sha256[:12]))
    for what, then, now in differences:
        if then != now:
            raise EngineFileError(
                f"{engine_path(folder, record.network)}: built for {what}: expected {now}, "
                f"found {then}: {build_hint(folder)}"
            )


def read_engine(folder: Path, record: EngineRecord) -> bytes:
    """Read an engine and compare it with its record.

    Raises:
        EngineFileError: It is missing, truncated or another one.
    """
    path = engine_path(folder, record.network)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise EngineFileError(f"{path}: cannot be read ({error}): {build_hint(folder)}") from error
    if len(data) != record.engine_bytes:
        what = "truncated" if len(data) < record.engine_bytes else "not the model's file"
        raise EngineFileError(
            f"{path}: {what}: expected {record.engine_bytes} bytes, got {len(data)}: "
            f"{build_hint(folder)}"
        )
    digest = hashlib.sha256(data).hexdigest()
    if digest != record.engine_sha256:
        raise EngineFileError(
            f"{path}: damaged: expected SHA-256 {record.engine_sha256[:12]}…, got {digest[:12]}…: "
            f"{build_hint(folder)}"
        )
    return data
