"""Writes HEIC pictures as iPhones do: a grid of HEVC tiles, cropped, mirrored, turned by notes.

The boxes are those of ISO/IEC 23008-12; each tile is a key frame of PyAV's
x265, or a picture of Pillow's for AVIF.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from samcam.live.frames import U8


@dataclass(frozen=True, slots=True)
class HeicSpec:
    """How a picture is stored.

    Attributes:
        tile_px: Side of the square tiles.
        clap_wh: Size that is left in the middle after cropping; None: all.
        turns: Quarter turns anticlockwise (irot), before mirroring.
        mirror: Axis of imir, 0 upside down, 1 left to right; None: not mirrored.
        avif: AV1 in place of HEVC.
    """

    tile_px: int = 64
    clap_wh: tuple[int, int] | None = None
    turns: int = 0
    mirror: int | None = None
    avif: bool = False


def _box(kind: str, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I", 8 + len(body)) + kind.encode() + body


def _full(kind: str, *parts: bytes, version: int = 0, flags: int = 0) -> bytes:
    return _box(kind, struct.pack(">I", version << 24 | flags), *parts)


def _body(data: bytes, kind: bytes) -> bytes:
    at = data.index(kind) - 4
    return data[at + 8 : at + struct.unpack(">I", data[at : at + 4])[0]]


def _encode_tile(tile_bgr: U8, avif: bool) -> tuple[bytes, bytes]:
    """Return the body of the box hvcC or av1C, and the key frame as mp4 stores it."""
    file = io.BytesIO()
    if avif:
        Image.fromarray(tile_bgr[:, :, ::-1]).save(file, "AVIF", quality=95, subsampling="4:4:4")
        return _body(file.getvalue(), b"av1C"), _body(file.getvalue(), b"mdat")
    side = tile_bgr.shape[0]
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx265", rate=Fraction(1))
        stream.width = stream.height = side
        stream.pix_fmt = "yuv444p"
        stream.options = {"crf": "4", "x265-params": "log-level=none:keyint=1:pools=1:range=full"}
        stream.codec_context.color_range = 2
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(tile_bgr), "bgr24")
        frame = frame.reformat(format="yuv444p", dst_colorspace="ITU601", dst_color_range="JPEG")
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    data = file.getvalue()
    hvcc = _body(data, b"hvcC")
    with av.open(io.BytesIO(data)) as container:
        (packet,) = [p for p in container.demux(video=0) if p.size]
        return hvcc, bytes(packet)


def write_heic(path: Path, image_bgr: U8, spec: HeicSpec) -> Path:
    """Write a (H, W, 3) picture; what the properties make of it is the reader's business."""
    height, width = image_bgr.shape[:2]
    side = spec.tile_px
    rows, columns = -(-height // side), -(-width // side)
    padded = np.zeros((rows * side, columns * side, 3), np.uint8)
    padded[:height, :width] = image_bgr
    tiles = [
        _encode_tile(padded[y : y + side, x : x + side], spec.avif)
        for y in range(0, rows * side, side)
        for x in range(0, columns * side, side)
    ]
    count, grid_id = len(tiles), len(tiles) + 1
    grid = struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, width, height)
    colours = _box("colr", b"nclx", struct.pack(">HHHB", 1, 13, 6, 0x80))
    properties = [
        _box("av1C" if spec.avif else "hvcC", tiles[0][0]),
        _full("ispe", struct.pack(">II", side, side)),
        _full("ispe", struct.pack(">II", width, height)),
        colours,
    ]
    of_grid = [3, 4]
    if spec.clap_wh is not None:
        w, h = spec.clap_wh
        properties.append(_box("clap", struct.pack(">IIIIiIiI", w, 1, h, 1, 0, 1, 0, 1)))
        of_grid.append(len(properties) | 0x80)
    properties.append(_box("irot", bytes([spec.turns])))
    of_grid.append(len(properties) | 0x80)
    if spec.mirror is not None:
        properties.append(_box("imir", bytes([spec.mirror])))
        of_grid.append(len(properties) | 0x80)
    of_tile = [1 | 0x80, 2, 4]
    entries = b"".join(
        struct.pack(">HB", item, len(own)) + bytes(own)
        for item, own in [*((i, of_tile) for i in range(1, count + 1)), (grid_id, of_grid)]
    )
    iprp = _box(
        "iprp",
        _box("ipco", *properties),
        _full("ipma", struct.pack(">I", count + 1), entries),
    )
    coded = b"av01\0" if spec.avif else b"hvc1\0"
    infos = [
        _full(
            "infe",
            struct.pack(">HH", i, 0),
            coded,
            version=2,
            flags=1,
        )
        for i in range(1, count + 1)
    ]
    infos.append(_full("infe", struct.pack(">HH", grid_id, 0), b"grid\0", version=2))
    made_of = _box(
        "dimg", struct.pack(">HH", grid_id, count), struct.pack(f">{count}H", *range(1, count + 1))
    )

    def meta(first: int) -> bytes:
        offset, locations = first, []
        for item, (_, data) in enumerate(tiles, 1):
            locations.append(struct.pack(">HHHHII", item, 0, 0, 1, offset, len(data)))
            offset += len(data)
        locations.append(struct.pack(">HHHHII", grid_id, 0, 0, 1, offset, len(grid)))
        return _full(
            "meta",
            _full("hdlr", b"\0" * 4, b"pict", b"\0" * 12, b"\0"),
            _full("pitm", struct.pack(">H", grid_id)),
            _full("iinf", struct.pack(">H", count + 1), *infos),
            _full("iref", made_of),
            iprp,
            _full("iloc", b"\x44\0", struct.pack(">H", count + 1), *locations, version=1),
        )

    brand = b"avif" if spec.avif else b"heic"
    start = _box("ftyp", brand, struct.pack(">I", 0), b"mif1" + brand)
    first = len(start) + len(meta(0)) + 8
    payload = b"".join(data for _, data in tiles) + grid
    path.write_bytes(start + meta(first) + _box("mdat", payload))
    return path
