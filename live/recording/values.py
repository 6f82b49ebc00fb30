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
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Final, cast, get_args, get_origin, get_type_hints

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.bounded_files import read_regular, reason_of
from live.commands import Command
from live.frames import U8
from live.sources.options import MAX_MEGAPIXELS

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
            raise ValueError(f"array file {name!r}: expected {ARRAYS_FOLDER}/ and 16 hex digits")
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
        raise ValueError("a command: expected an object with a type")
    return cast(Command, _decode(value, arrays))


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
    given = {name: _decode(item, arrays) for name, item in value.items() if name != "type"}
    cls = COMMAND_CLASSES.get(str(value.get("type")))
    if cls is None:
        raise ValueError(
            f"command {value.get('type')}: expected one of {', '.join(COMMAND_CLASSES)}"
        )
    try:
        hints = get_type_hints(cls)
        for key, item in given.items():
            if key in hints and not _is_of(item, hints[key]):
                raise ValueError(f"command {cls.__name__}: {key}: not a value of its kind")
        return cls(**given)
    except TypeError as error:
        raise ValueError(f"command {cls.__name__}: {error}") from error


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
            f"an array of {str(dtype)[:40]}: expected a shape of whole numbers and one of "
            f"{', '.join(_DTYPES)}"
        )
    if "file" in value:
        pixels = arrays.load(value["file"], tuple(shape))
        return pixels > 0 if dtype == "bool" else pixels
    try:
        values = value.get("values")
        if not isinstance(values, list) or len(values) > _MAX_VALUES:
            raise ValueError(f"expected a list of at most {_MAX_VALUES} values")
        return np.array(values, np.dtype(dtype)).reshape(shape)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"an array of {dtype} {shape}: {error}") from error
