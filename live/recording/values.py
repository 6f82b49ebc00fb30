"""Commands as JSON and back: a class's name and its fields; pictures and masks as PNG beside it.

Works for every member of `live.commands.Command` whose fields are made of None, truth values,
numbers, texts and arrays.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, make_dataclass
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Final, Literal, cast, get_args, get_origin, get_type_hints

import cv2
import numpy as np
from numpy.typing import NDArray

from samcam.live.commands import Command, SetEffect
from samcam.live.effects import EFFECT_NAMES, OBJECT_EFFECTS
from samcam.live.frames import MAX_OBJECT_ID, MIN_OBJECT_ID, U8
from samcam.live.sources import MAX_MEGAPIXELS
from samcam.system import CheckedAs, ModelError, Section, Setting, read_model
from samcam.system.files import read_regular, reason_of, shown_value, write_whole

ARRAYS_FOLDER: Final = "arrays"
COMMAND_CLASSES: Final[Mapping[str, type]] = {cls.__name__: cls for cls in get_args(Command)}

_DTYPES: Final = ("bool", "float32", "float64", "int32", "int64", "uint8")
_ARRAY_FILE: Final = rf"^{ARRAYS_FOLDER}/[0-9a-f]{{16}}\.png$"
_PNG_CHANNELS: Final = (1, 3, 4)
_PNG_MAGIC: Final = b"\x89PNG\r\n\x1a\n"
_PNG_HEADER: Final = struct.Struct(">16x2I2B")  # width, height, bits, colour type
_PNG_COLOURS: Final[Mapping[int, tuple[int, ...]]] = {0: (), 2: (3,), 6: (4,)}
_MAX_ARRAY_BYTES: Final = 1 << 28
_MAX_VALUES: Final = 1 << 20  # of an array without a file: points and boxes
_LARGEST: Final = 1e9  # of coordinates and labels: far beyond any picture
_HIGHEST: Final = {"bool": 1, "uint8": 255}


@dataclass(frozen=True, slots=True)
class ArrayRow(Section):
    """An array: its values row by row, or a PNG file (a mask: 255 where it is true)."""

    dtype: Annotated[str, CheckedAs(Literal[_DTYPES])]
    shape: Annotated[
        tuple[int, ...],
        Setting(
            low=0,
            limits={"max_length": 3, "fail_fast": True},
            expected="at most three whole numbers",
        ),
    ]
    values: Annotated[
        tuple[float | bool, ...] | None,
        Setting(
            low=-_LARGEST,
            high=_LARGEST,
            limits={"max_length": _MAX_VALUES, "fail_fast": True},
            expected=f"at most {_MAX_VALUES} numbers up to {_LARGEST:g}",
        ),
    ] = None
    file: Annotated[
        str | None,
        Setting(limits={"pattern": _ARRAY_FILE}, expected=f"{ARRAYS_FOLDER}/ and 16 hex digits"),
    ] = None

    def __post_init__(self) -> None:
        if (self.values is None) == (self.file is None):
            raise ValueError("values: expected either them or a file")
        count, high = math.prod(self.shape), _HIGHEST.get(self.dtype, _LARGEST)
        values = self.values
        if values is not None and not (
            len(values) == count and all(value <= high and -value <= high for value in values)
        ):
            shown = f"as the shape {shown_value(self.shape)} and {self.dtype} say"
            raise ValueError(f"values: {shown_value(values)}: expected {count} numbers, {shown}")

    def read(self, arrays: Arrays) -> NDArray[Any]:
        """Return the array.

        Raises:
            ValueError: Its file is missing, damaged or too large.
        """
        if self.file is not None:
            pixels = arrays.load(self.file, self.shape)
            return pixels > 0 if self.dtype == "bool" else pixels
        return np.array(self.values, np.dtype(self.dtype)).reshape(self.shape)


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
            write_whole(path, content)
        return name

    def load(self, name: str, shape: tuple[int, ...]) -> U8:
        """Read what `save` wrote.

        Args:
            name: As `ArrayRow` has it.

        Raises:
            ValueError: The file is missing, damaged or too large.
        """
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
    """Return an array's shape as in a PNG, which has no axis for one channel."""
    return shape[:2] if shape[2:] == (1,) else shape


def _png_shape(data: bytes) -> tuple[int, ...] | None:
    """Return the shape in a PNG's header, before decoding: few bytes can become gigabytes.

    None if the PNG is not 8 bits a channel, or larger than any picture may be.
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
        ValueError: It is not a command of this release.
    """
    if not isinstance(value, dict) or "type" not in value:
        raise ValueError(f"a command: expected an object with a type, got {shown_value(value)}")
    given = {key: part for key, part in value.items() if key != "type"}
    name = value["type"]
    cls = COMMAND_CLASSES.get(name) if isinstance(name, str) else None
    if cls is None:
        shown = name[:40] if isinstance(name, str) else shown_value(name, 40)
        raise ValueError(f"command {shown}: expected one of {', '.join(COMMAND_CLASSES)}")
    try:
        row: Any = read_model(_row_of(cls), given)
        made = {key: _read(key, getattr(row, key), arrays) for key in given}
        return cast(Command, cls(**made))
    except ModelError as error:
        raise ValueError(f"command {name}: {error.line}") from error
    except ValueError as error:
        raise ValueError(f"command {name}: {error}") from error


def check_effect(command: Command) -> None:
    """Check that an effect exists: a run refuses others, so no recording has them.

    Raises:
        ValueError: Names command, field, value and what was expected.
    """
    if isinstance(command, SetEffect) and command.name is not None:
        names = EFFECT_NAMES if command.object_id is None else OBJECT_EFFECTS
        if command.name not in names:
            raise ValueError(
                f"command SetEffect: name: {shown_value(command.name)}: expected one of "
                f"{', '.join(names)}, or null"
            )


def _read(key: str, value: object, arrays: Arrays) -> object:
    """Return a field of a command from that of its row."""
    if not isinstance(value, ArrayRow):
        return value
    try:
        return value.read(arrays)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from error


@cache
def _row_of(cls: type) -> type:
    """Return the model of a command's row: its fields, with `ArrayRow` for arrays."""
    hints = get_type_hints(cls)
    made: list[Any] = []
    for item in fields(cls):
        parts = get_args(hints[item.name]) or (hints[item.name],)
        kind: Any = hints[item.name]
        if any(get_origin(part) is np.ndarray for part in (kind, *parts)):
            kind = ArrayRow | None if NoneType in parts else ArrayRow
        if item.name == "object_id":
            kind = Annotated[kind, Setting(low=MIN_OBJECT_ID, high=MAX_OBJECT_ID)]
        needed = item.default is MISSING and item.default_factory is MISSING
        made.append((item.name, kind) if needed else (item.name, kind, field(default=None)))
    return make_dataclass(cls.__name__, made, bases=(Section,), frozen=True)


def _encode(value: object, arrays: Arrays) -> object:
    if value is None or isinstance(value, bool | int | float | str):
        return value
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
