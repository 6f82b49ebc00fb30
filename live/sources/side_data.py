"""What a decoded frame carries besides its picture, also where PyAV has no name for some of it."""

from __future__ import annotations

from typing import Any, cast

from av.buffer import Buffer
from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame


def _unnamed(cls: type[Type], value: object) -> Any:
    member: Any = object.__new__(cls)
    member._name_, member._value_ = f"UNNAMED_{value}", value
    return member


# FFmpeg knows newer kinds than PyAV's list of them, such as EXIF, and one of them on a frame hides
# all the others: PyAV reads the kind of each before it gives any. Its enum gives those a name now.
cast(Any, Type)._missing_ = classmethod(_unnamed)


def display_matrix(frame: VideoFrame) -> bytes | None:
    """Return a frame's display matrix as FFmpeg has it: nine int32; None where it has none."""
    found = cast(Buffer | None, frame.side_data.get("DISPLAYMATRIX"))
    return None if found is None else bytes(found)
