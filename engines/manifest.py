"""`manifest.json`: everything that is to know about a model folder besides its weights.

The exporter writes it with `write_manifest`, `engines.model_folder` reads it. Its JSON Schema is
docs/schemas/manifest.schema.json; the checks here say the same in words a user can act on.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Final

import numpy as np

from samcam.engines.base import EngineError
from samcam.engines.graph_table import NETWORKS, NetworkSpec, network_specs
from samcam.engines.host_rules import DEFAULT_TOKEN_RULE, F32, TokenRule
from samcam.engines.manifest_checks import LIMIT_KEYS, key_problems, type_problems
from samcam.system.files import (
    MAX_JSON_BYTES,
    open_regular,
    parse_json,
    read_regular,
    reason_of,
    shown_value,
)

MANIFEST_NAME: Final = "manifest.json"
FORMAT_VERSION: Final = 1
FORMS: Final = ("dynamic", "fixed")
MASK_SIZES: Final = "image_size / 4 or image_size / 2"
MEMORY_DTYPES: Final = ("float32", "bfloat16", "float16")
PRECISIONS: Final = ("float32", "float16", "bfloat16", "int8")
HALF_PRECISIONS: Final = ("float16", "bfloat16")

_HASH_CHUNK_BYTES = 1 << 20


class ModelFileError(EngineError):
    """A file of a model is missing, cut short, foreign or wrong: writing the model again helps."""


@dataclass(frozen=True, slots=True)
class GraphFile:
    """One network's file.

    Attributes:
        file: Plain name inside the model folder.
        sha256: Hash of the file, 64 lower-case hex digits.
        bytes: Its size.
        precision: Element type that the network computes in: one of `PRECISIONS`.
    """

    file: str
    sha256: str
    bytes: int
    precision: str = "float32"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Manifest:
    """Sizes, rules and files of one model.

    Attributes:
        name: As the user writes it, for example "nano" or "sam2.1-tiny@512".
        family: "nano" or "sam2.1".
        image_size: S, edge of the square picture in pixels; a multiple of 32.
        mask_size: L, edge of the low-resolution masks: S / 4 (SAM 2) or S / 2 (nano).
        grid: G, edge of the feature map.
        width: D, channels of the feature map and of an object pointer.
        memory_channels: M, channels of one memory.
        candidates: K, tokens of the mask decoder, the single-mask token among them.
        max_cond: Most conditioning memories attended to.
        num_recent: Most recent memories attended to.
        max_recent_ptrs: Most pointers of recent steps attended to.
        no_obj_ptr: (D,) pointer of an absent object, read-only.
        origin: Where the weights come from, one line.
        licence: Licence of the weights, one line.
        form: "dynamic": N and P are as many as given. "fixed": N and P are padded to the limits
            and told apart by `maskmem_valid` and `obj_ptr_valid`.
        memory_dtype: Precision of the memories. "float16": the tensor itself is float16.
            "bfloat16": the memory encoder rounds to it inside, the tensor is float32.
        token_rule: Numbers of `engines.host_rules`.
        files: Network name to its file; empty only for a model without files (the fake one).
        weights: Of the torch definition, for the torch backend; None where nobody knows them.
        measured: Network name to figures by name, such as the largest difference from torch;
            whoever checks a model adds to it. Need not be there.
        half: Network name to precision to a graph in tensorrt/, for TensorRT only. Need not be
            there.
    """

    name: str
    family: str
    image_size: int
    mask_size: int
    grid: int
    width: int
    memory_channels: int
    candidates: int
    max_cond: int
    no_obj_ptr: F32
    origin: str
    licence: str
    num_recent: int = 6
    max_recent_ptrs: int = 15
    form: str = "dynamic"
    memory_dtype: str = "float32"
    token_rule: TokenRule = DEFAULT_TOKEN_RULE
    files: Mapping[str, GraphFile] = field(default_factory=dict)
    weights: GraphFile | None = None
    measured: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    half: Mapping[str, Mapping[str, GraphFile]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        with np.errstate(over="ignore"):  # what float32 cannot hold is refused below
            pointer = np.array(self.no_obj_ptr, np.float32).reshape(-1)
        pointer.flags.writeable = False
        object.__setattr__(self, "no_obj_ptr", pointer)
        object.__setattr__(self, "files", dict(self.files))
        problems = _value_problems(self)
        if problems:
            raise ModelFileError(f"model {self.name}: {'; '.join(problems)}")

    @property
    def max_memories(self) -> int:
        """N at most: conditioning and recent memories."""
        return self.max_cond + self.num_recent

    @property
    def max_pointers(self) -> int:
        """P at most: pointers of conditioning and recent steps."""
        return self.max_cond + self.max_recent_ptrs

    def specs(self) -> dict[str, NetworkSpec]:
        """Return the table of the networks with this model's sizes filled in."""
        sizes = {
            "S": self.image_size,
            "G": self.grid,
            "L": self.mask_size,
            "H": self.mask_size // 2,
            "D": self.width,
            "M": self.memory_channels,
            "K": self.candidates,
        }
        if self.form == "fixed":
            sizes |= {"N": self.max_memories, "P": self.max_pointers}
        return network_specs(sizes, "float16" if self.memory_dtype == "float16" else "float32")


def write_manifest(
    folder: Path,
    manifest: Manifest,
    files: Mapping[str, str] | None = None,
    precision: str | Mapping[str, str] = "float32",
) -> Manifest:
    """Hash the networks' files in `folder` and write its `manifest.json`, in one step.

    Args:
        folder: Holds the files.
        manifest: Everything but `files`, which is replaced.
        files: Network name to file name; None: `NETWORK.onnx` for each of the five.
        precision: Element type the networks compute in, for all or by network name.

    Returns:
        The manifest as it reads back.

    Raises:
        ModelFileError: A file is missing or a value is out of range.
    """
    names = {network: f"{network}.onnx" for network in NETWORKS} if files is None else files
    entries: dict[str, GraphFile] = {}
    for network, name in names.items():
        path = folder / name
        if not path.is_file():
            raise ModelFileError(
                f"{path}: missing; export the {network} network before its manifest"
            )
        kind = precision if isinstance(precision, str) else precision.get(network, "float32")
        entries[network] = describe_file(path, kind)
    text = json.dumps(manifest_to_json(replace(manifest, files=entries)), indent=2) + "\n"
    target = folder / MANIFEST_NAME
    parse_manifest(text, target)
    partial = target.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, target)
    return read_manifest(folder)


def describe_file(path: Path, precision: str = "float32") -> GraphFile:
    """Return a file's entry; it must exist."""
    return GraphFile(path.name, file_sha256(path), path.stat().st_size, precision)


def read_manifest(folder: Path) -> Manifest:
    """Read and check `manifest.json` of a model folder.

    Raises:
        ModelFileError: It is missing, not JSON, or wrong; every problem at once, in one line.
    """
    path = folder / MANIFEST_NAME
    try:
        data = read_regular(path, MAX_JSON_BYTES)
    except (OSError, ValueError) as error:
        missing = isinstance(error, FileNotFoundError)
        reason = "missing" if missing else f"cannot be read ({reason_of(error)})"
        raise ModelFileError(f"{path}: {reason}; a model folder needs it") from error
    return parse_manifest(data, path)


def parse_manifest(text: str | bytes, path: Path) -> Manifest:
    """Parse the text of a `manifest.json`; `path` is for messages only.

    Raises:
        ModelFileError: Names the file and every problem.
    """
    try:
        data = parse_json(text)
    except ValueError as error:
        raise ModelFileError(f"{path}: {error}") from error
    if not isinstance(data, dict):
        raise ModelFileError(f"{path}: expected a JSON object, got {shown_value(data)}")
    version = data.get("format_version")
    if version != FORMAT_VERSION:
        raise ModelFileError(
            f"{path}: format_version: expected {FORMAT_VERSION}, got {shown_value(version)}"
        )
    data.setdefault("measured", {})
    data.setdefault("half", {})
    data.setdefault("weights", None)
    problems = key_problems(data, ("format_version", *(f.name for f in fields(Manifest))), "")
    problems += type_problems(data)
    if problems:
        raise ModelFileError(f"{path}: {'; '.join(problems)}")
    values = {key: value for key, value in data.items() if key != "format_version"}
    values["token_rule"] = TokenRule(**data["token_rule"])
    values["files"] = {network: GraphFile(**entry) for network, entry in data["files"].items()}
    values["half"] = {
        network: {precision: GraphFile(**entry) for precision, entry in graphs.items()}
        for network, graphs in data["half"].items()
    }
    values["weights"] = None if data["weights"] is None else GraphFile(**data["weights"])
    try:
        manifest = Manifest(**values)
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error}") from error
    absent = [network for network in NETWORKS if network not in manifest.files]
    if absent:
        raise ModelFileError(f"{path}: files: no entry for {', '.join(absent)}")
    return manifest


def manifest_to_json(manifest: Manifest) -> dict[str, object]:
    """Return what `manifest.json` holds, in reading order."""

    def keys_of(value: GraphFile | TokenRule) -> dict[str, object]:
        return {f.name: getattr(value, f.name) for f in fields(value)}

    special = {"no_obj_ptr", "token_rule", "files", "weights", "measured", "half"}
    plain = {f.name: getattr(manifest, f.name) for f in fields(manifest) if f.name not in special}
    return {
        "format_version": FORMAT_VERSION,
        **plain,
        "token_rule": keys_of(manifest.token_rule),
        "files": {network: keys_of(entry) for network, entry in manifest.files.items()},
        **({"weights": keys_of(manifest.weights)} if manifest.weights else {}),
        **(
            {
                "half": {
                    network: {precision: keys_of(entry) for precision, entry in graphs.items()}
                    for network, graphs in manifest.half.items()
                }
            }
            if manifest.half
            else {}
        ),
        **({"measured": manifest.measured} if manifest.measured else {}),
        "no_obj_ptr": [float(value) for value in manifest.no_obj_ptr],
    }


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a regular file as 64 lower-case hex digits.

    Raises:
        OSError: It cannot be read, or is a pipe or a device, which may have no end.
    """
    digest = hashlib.sha256()
    with open_regular(path) as stream:
        while chunk := stream.read(_HASH_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _value_problems(manifest: Manifest) -> list[str]:
    """Check ranges and what must fit together."""
    m, rule = manifest, manifest.token_rule
    size, points, delta = m.image_size, rule.multimask_max_points, rule.stability_delta
    threshold, single = rule.stability_threshold, rule.single_mask_token
    checks: list[tuple[bool, str, str, object]] = [
        (bool(m.name.strip()), "name", "a name", m.name),
        (m.form in FORMS, "form", _one_of(FORMS), m.form),
        (m.memory_dtype in MEMORY_DTYPES, "memory_dtype", _one_of(MEMORY_DTYPES), m.memory_dtype),
        (size >= 32 and size % 32 == 0, "image_size", "a multiple of 32", size),
        (size in (m.mask_size * 2, m.mask_size * 4), "mask_size", MASK_SIZES, m.mask_size),
        (m.grid >= 1 and size % max(m.grid, 1) == 0, "grid", f"a divisor of {size}", m.grid),
        (len(m.no_obj_ptr) == m.width, "no_obj_ptr", f"{m.width} numbers", len(m.no_obj_ptr)),
        (bool(np.isfinite(m.no_obj_ptr).all()), "no_obj_ptr", "finite numbers", "inf or nan"),
        (0 <= single < m.candidates, "token_rule.single_mask_token", "0..candidates - 1", single),
        (points >= 0, "token_rule.multimask_max_points", "at least 0", points),
        (delta >= 0, "token_rule.stability_delta", "at least 0", delta),
        (0 <= threshold <= 1, "token_rule.stability_threshold", "0..1", threshold),
    ]
    for key in ("width", "memory_channels", "candidates", *LIMIT_KEYS):
        value = getattr(m, key)
        checks.append((value >= 1, key, "at least 1", value))
    for network, entry in m.files.items():
        checks += _file_checks(f"files.{network}", entry)
    for network, graphs in m.half.items():
        for precision, entry in graphs.items():
            prefix = f"half.{network}.{precision}"
            checks += _file_checks(prefix, entry)
            same = precision == entry.precision in HALF_PRECISIONS
            checks.append((same, f"{prefix}.precision", _one_of(HALF_PRECISIONS), entry.precision))
            name = f"{network}.{precision}.onnx"
            checks.append((entry.file == name, f"{prefix}.file", name, entry.file))
    if m.weights is not None:
        checks += _file_checks("weights", m.weights)
    return [
        f"{key}: expected {expected}, got {shown_value(value)}"
        for holds, key, expected, value in checks
        if not holds
    ]


def _file_checks(prefix: str, entry: GraphFile) -> list[tuple[bool, str, str, object]]:
    """Return (holds, key, expected, value) of one file's entry."""
    plain = entry.file not in ("", ".", "..") and not re.search(r"[/\\:]", entry.file)
    sha = re.fullmatch(r"[0-9a-f]{64}", entry.sha256) is not None
    known = entry.precision in PRECISIONS
    return [
        (plain, f"{prefix}.file", "a plain file name", entry.file),
        (sha, f"{prefix}.sha256", "64 lower-case hex digits", entry.sha256),
        (entry.bytes > 0, f"{prefix}.bytes", "a positive size", entry.bytes),
        (known, f"{prefix}.precision", _one_of(PRECISIONS), entry.precision),
    ]


def _one_of(values: tuple[str, ...]) -> str:
    return " or ".join(values)
