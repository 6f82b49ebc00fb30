"""`manifest.json`: everything that is to know about a model folder besides its weights.

The exporter writes it with `write_manifest`, `engines.model_folder` reads it. Its JSON Schema is
docs/schemas/manifest.schema.json; the checks here say the same in words a user can act on.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from engines.base import EngineError
from engines.graph_table import NETWORKS, NetworkSpec, network_specs
from engines.host_rules import DEFAULT_TOKEN_RULE, F32, TokenRule

MANIFEST_NAME: Final = "manifest.json"
FORMAT_VERSION: Final = 1
FORMS: Final = ("dynamic", "fixed")
MEMORY_DTYPES: Final = ("float32", "bfloat16", "float16")
PRECISIONS: Final = ("float32", "float16", "bfloat16", "int8")

_HASH_CHUNK_BYTES = 1 << 20
_TEXT_KEYS = ("name", "family", "origin", "licence", "form", "memory_dtype")
_SIZE_KEYS = ("image_size", "mask_size", "grid", "width", "memory_channels", "candidates")
_LIMIT_KEYS = ("max_cond", "num_recent", "max_recent_ptrs")
_FILE_KEYS = ("file", "sha256", "bytes", "precision")


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
        mask_size: L, edge of the low-resolution masks: S / 4.
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

    def __post_init__(self) -> None:
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
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = "missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error})"
        raise ModelFileError(f"{path}: {reason}; a model folder needs it") from error
    return parse_manifest(text, path)


def parse_manifest(text: str, path: Path) -> Manifest:
    """Parse the text of a `manifest.json`; `path` is for messages only.

    Raises:
        ModelFileError: Names the file and every problem.
    """
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise ModelFileError(
            f"{path}: not valid JSON (line {error.lineno}: {error.msg})"
        ) from error
    if not isinstance(data, dict):
        raise ModelFileError(f"{path}: expected a JSON object, got {type(data).__name__}")
    version = data.get("format_version")
    if version != FORMAT_VERSION:
        raise ModelFileError(f"{path}: format_version: expected {FORMAT_VERSION}, got {version!r}")
    data.setdefault("measured", {})
    data.setdefault("weights", None)
    problems = _key_problems(data, ("format_version", *(f.name for f in fields(Manifest))), "")
    problems += _type_problems(data)
    if problems:
        raise ModelFileError(f"{path}: {'; '.join(problems)}")
    values = {key: value for key, value in data.items() if key != "format_version"}
    values["token_rule"] = TokenRule(**data["token_rule"])
    values["files"] = {network: GraphFile(**entry) for network, entry in data["files"].items()}
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

    special = {"no_obj_ptr", "token_rule", "files", "weights", "measured"}
    plain = {f.name: getattr(manifest, f.name) for f in fields(manifest) if f.name not in special}
    return {
        "format_version": FORMAT_VERSION,
        **plain,
        "token_rule": keys_of(manifest.token_rule),
        "files": {network: keys_of(entry) for network, entry in manifest.files.items()},
        **({"weights": keys_of(manifest.weights)} if manifest.weights else {}),
        **({"measured": manifest.measured} if manifest.measured else {}),
        "no_obj_ptr": [float(value) for value in manifest.no_obj_ptr],
    }


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file as 64 lower-case hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_HASH_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _key_problems(data: Mapping[str, Any], known: tuple[str, ...], prefix: str) -> list[str]:
    """Name unknown keys, each with the nearest known one, and missing ones."""
    problems = []
    for key in data:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            problems.append(
                f"{prefix}{key}: unknown key" + (f" (did you mean {near[0]}?)" if near else "")
            )
    return problems + [f"{prefix}{key}: missing" for key in known if key not in data]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _type_problems(data: Mapping[str, Any]) -> list[str]:
    """Check JSON types; a missing key is another check's problem."""
    problems = []
    for keys, kind, what in (
        (_TEXT_KEYS, str, "a text"),
        (_SIZE_KEYS + _LIMIT_KEYS, int, "a whole number"),
        (("token_rule", "files", "measured"), dict, "an object"),
        (("no_obj_ptr",), list, "a list of numbers"),
    ):
        for key in keys:
            value = data.get(key)
            if key in data and (not isinstance(value, kind) or isinstance(value, bool)):
                problems.append(f"{key}: expected {what}, got {value!r}")
    pointer = data.get("no_obj_ptr")
    if isinstance(pointer, list) and not all(map(_is_number, pointer)):
        problems.append("no_obj_ptr: expected a list of numbers")
    rule = data.get("token_rule")
    if isinstance(rule, dict):
        problems += _key_problems(rule, tuple(f.name for f in fields(TokenRule)), "token_rule.")
        problems += [
            f"token_rule.{key}: expected {'a whole number' if whole else 'a number'}, got {value!r}"
            for key, value in rule.items()
            for whole in (key in ("single_mask_token", "multimask_max_points"),)
            if not _is_number(value) or (whole and not isinstance(value, int))
        ]
    entries = data.get("files")
    if isinstance(entries, dict):
        for network, entry in entries.items():
            problems += _file_problems(network, entry)
    if data.get("weights") is not None:
        problems += _entry_problems("weights", data["weights"])
    return problems + _measured_problems(data.get("measured"))


def _measured_problems(measured: object) -> list[str]:
    """Check the figures, where they are an object at all."""
    if not isinstance(measured, dict):
        return []
    return [
        f"measured.{network}: expected numbers by name, got {figures!r}"
        for network, figures in measured.items()
        if not isinstance(figures, dict) or not all(map(_is_number, figures.values()))
    ]


def _file_problems(network: str, entry: object) -> list[str]:
    prefix = f"files.{network}"
    if network not in NETWORKS:
        return [f"{prefix}: unknown network, expected one of {', '.join(NETWORKS)}"]
    return _entry_problems(prefix, entry)


def _entry_problems(prefix: str, entry: object) -> list[str]:
    """Check the JSON types of a `GraphFile`."""
    if not isinstance(entry, dict):
        return [f"{prefix}: expected an object, got {entry!r}"]
    problems = _key_problems(entry, _FILE_KEYS, f"{prefix}.")
    for key in ("file", "sha256", "precision"):
        if not isinstance(entry.get(key, ""), str):
            problems.append(f"{prefix}.{key}: expected a text, got {entry[key]!r}")
    size = entry.get("bytes", 0)
    if not isinstance(size, int) or isinstance(size, bool):
        problems.append(f"{prefix}.bytes: expected a whole number, got {size!r}")
    return problems


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
        (m.mask_size * 4 == size, "mask_size", "image_size / 4", m.mask_size),
        (m.grid >= 1 and size % max(m.grid, 1) == 0, "grid", f"a divisor of {size}", m.grid),
        (len(m.no_obj_ptr) == m.width, "no_obj_ptr", f"{m.width} numbers", len(m.no_obj_ptr)),
        (bool(np.isfinite(m.no_obj_ptr).all()), "no_obj_ptr", "finite numbers", "inf or nan"),
        (0 <= single < m.candidates, "token_rule.single_mask_token", "0..candidates - 1", single),
        (points >= 0, "token_rule.multimask_max_points", "at least 0", points),
        (delta >= 0, "token_rule.stability_delta", "at least 0", delta),
        (0 <= threshold <= 1, "token_rule.stability_threshold", "0..1", threshold),
    ]
    for key in ("width", "memory_channels", "candidates", *_LIMIT_KEYS):
        value = getattr(m, key)
        checks.append((value >= 1, key, "at least 1", value))
    for network, entry in m.files.items():
        checks += _file_checks(f"files.{network}", entry)
    if m.weights is not None:
        checks += _file_checks("weights", m.weights)
    return [
        f"{key}: expected {expected}, got {value!r}"
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
