"""`manifest.json`: everything that is to know about a model folder besides its weights.

The exporter writes it with `write_manifest`, `engines.model_folder` reads it. Its JSON Schema,
docs/schemas/manifest.schema.json, is made from the models here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, make_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias

import numpy as np

from samcam.engines.base import EngineError
from samcam.engines.graph_table import NETWORKS, NetworkSpec, network_specs
from samcam.engines.host_rules import DEFAULT_TOKEN_RULE, F32, TokenRule
from samcam.system import CheckedAs, Section, Setting, read_model
from samcam.system.files import open_regular, parse_json, read_regular, reason_of, write_whole

MANIFEST_NAME: Final = "manifest.json"

Precision: TypeAlias = Annotated[str, CheckedAs(Literal["float32", "float16", "bfloat16", "int8"])]
Sha256: TypeAlias = Annotated[
    str, Setting(limits={"pattern": "^[0-9a-f]{64}$"}, expected="64 lower-case hex digits")
]
Text: TypeAlias = Annotated[str, Setting(limits={"pattern": r"\S"}, expected="a text")]
Network: TypeAlias = Annotated[str, CheckedAs(Literal[tuple(NETWORKS)])]
_Half: TypeAlias = Annotated[str, CheckedAs(Literal["float16", "bfloat16"])]
_Count: TypeAlias = Annotated[int, Setting(low=1)]

_MAX_BYTES: Final = 1 << 20  # ours have some kilobytes
_HASH_CHUNK_BYTES: Final = 1 << 20


class ModelFileError(EngineError):
    """A file of a model is missing, cut short, foreign or wrong: writing the model again helps."""


@dataclass(frozen=True, slots=True)
class GraphFile(Section):
    """One network's file."""

    __needed__: ClassVar = ("precision",)

    file: Annotated[
        str,
        Setting(
            "Plain name inside of the model folder.",
            limits={"pattern": r"^(\.{0,2}[^./\\:][^/\\:]*|\.{3,}[^/\\:]*)$"},
            expected="a plain file name",
        ),
    ]
    sha256: Sha256
    bytes: Annotated[int, Setting("Its size.", low=1)]
    precision: Annotated[Precision, Setting("Element type that the network computes in.")] = (
        "float32"
    )


_Files = make_dataclass("_Files", [(name, GraphFile) for name in NETWORKS], bases=(Section,))


def _mask_size(size: int, before: Mapping[str, Any]) -> str:
    fits = before.get("image_size", 2 * size) in (2 * size, 4 * size)
    return "" if fits else "image_size / 4 or image_size / 2"


def _grid(grid: int, before: Mapping[str, Any]) -> str:
    size = before.get("image_size", grid)
    return f"a divisor of {size}" if size % grid else ""


def _token_rule(rule: TokenRule, before: Mapping[str, Any]) -> str:
    token = rule.single_mask_token
    fits = token < before.get("candidates", token + 1)
    return "" if fits else f"single_mask_token: {token}: expected 0..candidates - 1"


def _half(half: Mapping[str, Mapping[str, GraphFile]], before: Mapping[str, Any]) -> str:
    for network, graphs in half.items():
        for precision, entry in graphs.items():
            name = f"{network}.{precision}.onnx"
            if (entry.file, entry.precision) != (name, precision):
                return f"for {network} in {precision} the file {name} of that precision"
    return ""


def _no_obj_ptr(pointer: Sequence[float], before: Mapping[str, Any]) -> str:
    width = before.get("width", len(pointer))
    if len(pointer) != width:
        return f"{width} numbers, got {len(pointer)}"
    with np.errstate(over="ignore"):
        finite = np.isfinite(np.array(pointer, np.float32)).all()
    return "" if finite else "numbers that float32 holds"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Manifest(Section):
    """Sizes, rules and files of one model; empty `files` only in one without any, the fake one."""

    __needed__: ClassVar = (
        *("format_version", "num_recent", "max_recent_ptrs", "form", "memory_dtype", "token_rule"),
        "files",
    )

    format_version: Annotated[int, Setting(low=1, high=1, expected="1")] = 1
    name: Annotated[Text, Setting('As the user writes it, such as "nano" or "sam2.1-tiny@512".')]
    family: Annotated[str, Setting('"nano" or "sam2.1".')]
    image_size: Annotated[
        int,
        Setting(
            "S, edge of the square picture.",
            unit="px",
            low=32,
            limits={"multiple_of": 32},
            expected="a multiple of 32",
        ),
    ]
    mask_size: Annotated[
        int,
        Setting(
            "L, edge of the low-resolution masks: S / 4 (SAM 2) or S / 2 (nano).",
            low=1,
            rule=_mask_size,
        ),
    ]
    grid: Annotated[int, Setting("G, edge of the feature map; divides S.", low=1, rule=_grid)]
    width: Annotated[_Count, Setting("D, channels of the feature map and of an object pointer.")]
    memory_channels: Annotated[_Count, Setting("M, channels of one memory.")]
    candidates: Annotated[
        _Count, Setting("K, tokens of the mask decoder, the single-mask token among them.")
    ]
    max_cond: Annotated[_Count, Setting("Most conditioning memories attended to.")]
    origin: Annotated[str, Setting("Where the weights come from, one line.")]
    licence: Annotated[str, Setting("Licence of the weights, one line.")]
    num_recent: Annotated[_Count, Setting("Most recent memories attended to.")] = 6
    max_recent_ptrs: Annotated[_Count, Setting("Most pointers of recent steps attended to.")] = 15
    form: Annotated[
        str,
        CheckedAs(Literal["dynamic", "fixed"]),
        Setting(
            "dynamic: N and P are as many as given. fixed: they are padded to the limits and told "
            "apart by `maskmem_valid` and `obj_ptr_valid`."
        ),
    ] = "dynamic"
    memory_dtype: Annotated[
        str,
        CheckedAs(Literal["float32", "bfloat16", "float16"]),
        Setting(
            "Precision of the memories. float16: the tensor itself. bfloat16: the memory encoder "
            "rounds to it inside, the tensor is float32."
        ),
    ] = "float32"
    token_rule: Annotated[TokenRule, Setting(rule=_token_rule)] = DEFAULT_TOKEN_RULE
    files: Annotated[
        Mapping[str, GraphFile], CheckedAs(_Files), Setting("By network, of which each has one.")
    ] = field(default_factory=dict)
    weights: Annotated[
        GraphFile | None,
        Setting("Of the torch definition; beside this file, nano's in training/checkpoint/."),
    ] = None
    half: Annotated[
        Mapping[Network, Mapping[_Half, GraphFile]],
        Setting("Graphs in half precision in the folder tensorrt/, for TensorRT only.", rule=_half),
    ] = field(default_factory=dict)
    measured: Annotated[
        Mapping[str, Mapping[str, float]],
        Setting("Figures of those who checked the model, by network and name."),
    ] = field(default_factory=dict)
    no_obj_ptr: Annotated[
        F32,
        CheckedAs(tuple[float, ...]),
        Setting("(D,) pointer of an absent object, read-only.", rule=_no_obj_ptr),
    ]

    def __post_init__(self) -> None:
        pointer = np.array(self.no_obj_ptr, np.float32).reshape(-1)
        pointer.flags.writeable = False
        object.__setattr__(self, "no_obj_ptr", pointer)
        if isinstance(self.files, _Files):
            object.__setattr__(self, "files", vars(self.files))

    @property
    def max_memories(self) -> int:
        """N at most: conditioning and recent memories."""
        return self.max_cond + self.num_recent

    @property
    def max_pointers(self) -> int:
        """P at most: pointers of conditioning and recent steps."""
        return self.max_cond + self.max_recent_ptrs

    @property
    def row_steps(self) -> tuple[tuple[int, int], ...]:
        """What (N, P) are padded to where they are, ascending: what one prompt needs, and the
        limits; in the fixed form the limits only."""
        limits = self.max_memories, self.max_pointers
        if self.form == "fixed":
            return (limits,)
        return tuple(dict.fromkeys(((self.num_recent + 1, self.max_recent_ptrs + 1), limits)))

    def padded(self) -> Manifest:
        """Return that of the model where it runs for a few shapes only: memories and pointers are
        padded to `row_steps`. Nothing is written in this form."""
        return self if self.form == "fixed" else replace(self, form="padded")

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
        if self.form != "dynamic" and len(self.row_steps) == 1:
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
    write_whole(target, text.encode())
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
        data = read_regular(path, _MAX_BYTES)
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
        return read_model(Manifest, parse_json(text))
    except ValueError as error:
        raise ModelFileError(f"{path}: {'; '.join(str(error).splitlines())}") from error


def manifest_to_json(manifest: Manifest) -> dict[str, object]:
    """Return what `manifest.json` holds, in reading order."""
    data = asdict(manifest) | {"no_obj_ptr": manifest.no_obj_ptr.tolist()}
    return {
        key: data[key] for key in data if data[key] or key not in ("weights", "half", "measured")
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
