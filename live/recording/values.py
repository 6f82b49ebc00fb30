"""Commands as JSON and back: a class's name and its fields; pictures and masks as PNG beside it.

Works for every member of `live.commands.Command` whose fields are made of None, truth values,
numbers, texts, tuples, arrays and such classes.
"""

from __future__ import annotations

import hashlib
import math
import re
import struct
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Final, cast, get_args, get_origin, get_type_hints

import cv2
import numpy as np
from numpy.typing import NDArray

from samcam.live.commands import Command, SetEffect
from samcam.live.effects import EFFECT_NAMES, OBJECT_EFFECTS
from samcam.live.frames import MAX_OBJECT_ID, MIN_OBJECT_ID, U8
from samcam.live.sources import MAX_MEGAPIXELS
from samcam.system.files import read_regular, reason_of, shown_value

ARRAYS_FOLDER: Final = "arrays"
COMMAND_CLASSES: Final[Mapping[str, type]] = {cls.__name__: cls for cls in get_args(Command)}

_ARRAY_FILE = re.compile(rf"{ARRAYS_FOLDER}/[0-9a-f]{{16}}\.png")
_DTYPES: Final = ("bool", "float32", "float64", "int32", "int64", "uint8")
_PNG_CHANNELS: Final = (1, 3, 4)
_PNG_MAGIC: Final = b"\x89PNG\r\n\x1a\n"
_PNG_HEADER: Final = struct.Struct(">16x2I2B")  # width, height, bits, colour type
_PNG_COLOURS: Final[Mapping[int, tuple[int, ...]]] = {0: (), 2: (3,), 6: (4,)}
_MAX_ARRAY_BYTES: Final = 1 << 28
_MAX_VALUES: Final = 1 << 20  # of an array without a file: points and boxes
_LARGEST: Final = 1e9  # of coordinates and labels: far beyond any picture
_RANGES: Final[Mapping[str, tuple[float, float]]] = {
    "bool": (0, 1),
    "uint8": (0, 255),
    **dict.fromkeys(("float32", "float64", "int32", "int64"), (-_LARGEST, _LARGEST)),
}
_KINDS: Final[Mapping[Any, str]] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    np.ndarray: "an array",
    NoneType: "null",
}
_PLAIN: Final = (bool, int, float, str, NoneType)


class Arrays:
    """The folder of arrays too large for a row, named by their content."""

    def __init__(self, folder: Path) -> None:
        """Use `arrays` in this folder; it is made with its first file."""
        self._folder = folder

    def save(self, array: NDArray[Any]) -> str:
        """Write an array of bool or uint8 as PNG, unless it is there; return its name.

        Raises:
            OSError: It cannot be written.
        """
        pixels = array.astype(np.uint8) * 255 if array.dtype == np.bool_ else array
        done, data = cv2.imencode(".png", np.ascontiguousarray(pixels))
        if not done:
            raise OSError(f"a picture of {array.shape} could not be encoded")
        content = data.tobytes()
        name = f"{ARRAYS_FOLDER}/{hashlib.sha256(content).hexdigest()[:16]}.png"
        path = self._folder / name
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            partial = path.with_name(path.name + ".part")
            partial.write_bytes(content)
            partial.replace(path)
        return name

    def load(self, name: object, shape: tuple[int, ...]) -> U8:
        """Read what `save` wrote.

        Raises:
            ValueError: The name is none of `save`'s, or the file is missing, damaged or too large.
        """
        if not isinstance(name, str) or not _ARRAY_FILE.fullmatch(name):
            raise ValueError(
                f"file: {shown_value(name)}: expected {ARRAYS_FOLDER}/ and 16 hex digits"
            )
        folder = self._folder / ARRAYS_FOLDER
        if folder.is_symlink():
            raise ValueError(f"{ARRAYS_FOLDER}: a link; expected a folder of the recording")
        try:
            data = read_regular(self._folder / name, _MAX_ARRAY_BYTES, follow=False)
        except (OSError, ValueError) as error:
            raise ValueError(f"{name}: cannot be read: {reason_of(error)}") from error
        pixels = None
        if _png_shape(data) == _stored(shape):
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if pixels is None or pixels.dtype != np.uint8 or pixels.size != math.prod(shape):
            raise ValueError(f"{name}: damaged, or not of the shape {list(shape)}")
        return np.asarray(pixels, np.uint8).reshape(shape)


def _stored(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return an array's shape as a PNG has it: one channel is none."""
    return shape[:2] if shape[2:] == (1,) else shape


def _png_shape(data: bytes) -> tuple[int, ...] | None:
    """Return what a PNG claims to be, before it is unpacked: few bytes can become gigabytes.

    None where it is none of ours, which have 8 bits a channel, or larger than any picture may be.
    """
    if len(data) < _PNG_HEADER.size or not data.startswith(_PNG_MAGIC):
        return None
    width, height, depth, colour = _PNG_HEADER.unpack_from(data)
    if depth != 8 or colour not in _PNG_COLOURS or width * height > MAX_MEGAPIXELS * 1e6:
        return None
    return height, width, *_PNG_COLOURS[colour]


def encode_command(command: Command, arrays: Arrays) -> dict[str, Any]:
    """Return a command as a JSON object.

    Raises:
        TypeError: It has a value that a recording cannot hold.
        OSError: A picture of it cannot be written.
    """
    return cast(dict[str, Any], _encode(command, arrays))


def decode_command(value: object, arrays: Arrays) -> Command:
    """Return the command that `encode_command` was given.

    Raises:
        ValueError: It is no command, or not one of this release.
    """
    if not isinstance(value, dict) or "type" not in value:
        raise ValueError(f"a command: expected an object with a type, got {shown_value(value)}")
    return cast(Command, _decode(value, arrays))


def check_ranges(command: Command) -> None:
    """See that a run could have been given a command: one that it refuses does nothing.

    Raises:
        ValueError: Names command, field, value and what was expected.
    """
    where = f"command {type(command).__name__}"
    object_id = getattr(command, "object_id", None)
    if object_id is not None and not MIN_OBJECT_ID <= object_id <= MAX_OBJECT_ID:
        raise ValueError(
            f"{where}: object_id: {shown_value(object_id)}: expected a whole number "
            f"{MIN_OBJECT_ID}..{MAX_OBJECT_ID}"
        )
    if isinstance(command, SetEffect) and command.name is not None:
        names = EFFECT_NAMES if object_id is None else OBJECT_EFFECTS
        if command.name not in names:
            shown = shown_value(command.name)
            raise ValueError(f"{where}: name: {shown}: expected one of {', '.join(names)}, or null")


def _encode(value: object, arrays: Arrays) -> object:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple):
        return [_encode(item, arrays) for item in value]
    if isinstance(value, np.ndarray) and value.dtype.name in _DTYPES:
        shape = list(value.shape)
        row: dict[str, object] = {"dtype": value.dtype.name, "shape": shape}
        if _is_picture(value):
            return row | {"file": arrays.save(value)}
        return row | {"values": value.ravel().tolist()}
    name = type(value).__name__
    if is_dataclass(value) and COMMAND_CLASSES.get(name) is type(value):
        items = {item.name: _encode(getattr(value, item.name), arrays) for item in fields(value)}
        return {"type": name, **items}
    raise TypeError(f"a recording cannot hold a {name}")


def _is_picture(array: NDArray[Any]) -> bool:
    if array.dtype not in (np.uint8, np.bool_) or not array.size:
        return False
    return array.ndim == 2 or (
        array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] in _PNG_CHANNELS
    )


def _decode(value: object, arrays: Arrays) -> object:
    if isinstance(value, list):
        return tuple(_decode(item, arrays) for item in value)
    if not isinstance(value, dict):
        return value
    if "dtype" in value:
        return _decode_array(value, arrays)
    name = value.get("type")
    cls = COMMAND_CLASSES.get(name) if isinstance(name, str) else None
    if cls is None:
        shown = name[:40] if isinstance(name, str) else shown_value(name, 40)
        raise ValueError(f"command {shown}: expected one of {', '.join(COMMAND_CLASSES)}")
    try:
        return cls(**_decode_fields(cls, value, arrays))
    except ValueError as error:
        raise ValueError(f"command {name}: {error}") from error


def _decode_fields(cls: type, row: Mapping[str, Any], arrays: Arrays) -> dict[str, Any]:
    """Return the fields of a command.

    Raises:
        ValueError: Names the first that is missing, unknown or of another kind.
    """
    hints = get_type_hints(cls)
    for key in row:
        if key != "type" and key not in hints:
            raise ValueError(f"{key[:40]}: unknown; expected {', '.join(hints)}")
    given = {}
    for item in fields(cls):
        if item.name not in row:
            if item.default is MISSING and item.default_factory is MISSING:
                raise ValueError(f"{item.name}: missing; expected {_kinds(hints[item.name])}")
            continue
        hint = hints[item.name]
        try:
            found = _decode(row[item.name], arrays) if _is_made_up(hint) else row[item.name]
        except ValueError as error:
            raise ValueError(f"{item.name}: {error}") from error
        if not _is_of(found, hint):
            shown, expected = shown_value(row[item.name]), _kinds(hint)
            raise ValueError(f"{item.name}: {shown}: expected {expected}")
        given[item.name] = found
    return given


def _kinds(hint: Any) -> str:
    """Return what a field's type is called."""
    if isinstance(hint, UnionType):
        return " or ".join(map(_kinds, get_args(hint)))
    return _KINDS.get(get_origin(hint) or hint, "a value of another kind")


def _is_made_up(hint: Any) -> bool:
    """Whether a field may hold what JSON has no form of its own for, such as an array."""
    parts = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    return any((get_origin(part) or part) not in _PLAIN for part in parts)


def _is_of(value: object, hint: Any) -> bool:
    """Whether a value is of a field's type, such as `int | None` or an array."""
    if isinstance(hint, UnionType):
        return any(_is_of(value, part) for part in get_args(hint))
    if isinstance(value, bool) and hint is not bool:
        return False
    return isinstance(value, get_origin(hint) or hint)


def _decode_array(value: dict[str, Any], arrays: Arrays) -> NDArray[Any]:
    dtype, shape = value["dtype"], value.get("shape")
    fine = isinstance(shape, list) and all(type(n) is int and 0 <= n < 1 << 31 for n in shape)
    if dtype not in _DTYPES or not isinstance(shape, list) or not fine or len(shape) > 3:
        raise ValueError(
            f"an array of dtype {shown_value(dtype, 40)} and shape {shown_value(shape, 40)}: "
            f"expected at most three whole numbers as shape and one of {', '.join(_DTYPES)}"
        )
    if "file" in value:
        pixels = arrays.load(value["file"], tuple(shape))
        return pixels > 0 if dtype == "bool" else pixels
    values, count = value.get("values"), math.prod(shape)
    if count > _MAX_VALUES:
        raise ValueError(
            f"shape: {shown_value(shape, 40)}: expected at most {_MAX_VALUES} numbers in an array "
            "without a file"
        )
    low, high = _RANGES[dtype]
    if (
        not isinstance(values, list)
        or len(values) != count
        or not all(isinstance(one, int | float) and low <= one <= high for one in values)
    ):
        raise ValueError(
            f"values: {shown_value(values)}: expected {count} numbers "
            f"{low:g}..{high:g}, as the shape {shown_value(shape, 40)} says"
        )
    return np.array(values, np.dtype(dtype)).reshape(shape)
