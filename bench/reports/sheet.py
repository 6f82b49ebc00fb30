"""Contact sheets: some frames of a clip in one picture, with truth, answer and score."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from samcam.live.frames import U8

SHEET_TILES = 12
COLUMNS = 4
TILE_WIDTH_PX = 360
CAPTION_HEIGHT_PX = 24
TRUTH_BGR = (255, 255, 255)
# BGR of object ids 1..6, told apart by colour-blind readers (Okabe and Ito); then repeated.
OBJECT_BGR = (
    (0, 159, 230),
    (233, 180, 86),
    (115, 158, 0),
    (66, 228, 240),
    (0, 94, 213),
    (167, 121, 204),
)


class SheetError(OSError):
    """A contact sheet cannot be written."""


def pick_frames(count: int, wanted: Sequence[int] = (), tiles: int = SHEET_TILES) -> list[int]:
    """Choose at most `tiles` of `count` frames, ascending: the wanted ones, then evenly spread
    ones.

    `wanted` are frames with a truth, in order; all if they fit, else an even choice of them.
    """
    pool = list(wanted) if wanted else list(range(count))
    if len(pool) >= tiles:
        places = np.linspace(0, len(pool) - 1, tiles).round().astype(int)
        return sorted({pool[place] for place in places})
    chosen = set(pool)
    for place in np.linspace(0, count - 1, tiles).round().astype(int):
        if len(chosen) < tiles:
            chosen.add(int(place))
    return sorted(chosen)


def _outline(picture: U8, mask: U8, colour: tuple[int, int, int], width: int) -> None:
    contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, contours, -1, colour, width, cv2.LINE_AA)


def draw_tile(
    image_bgr: U8,
    ids: U8,
    truth_ids: U8 | None,
    caption: str,
    truth_box_xywh: NDArray[np.float64] | None = None,
) -> U8:
    """Draw one tile: the answer as a tint, the truth as a white line, the caption below.

    Args:
        image_bgr: (H, W, 3).
        ids, truth_ids: (H, W) object ids, 0 for none.
        caption: One short line of ASCII.
        truth_box_xywh: (4,) in pixels of the picture; drawn where it is valid.
    """
    height = max(1, round(image_bgr.shape[0] * TILE_WIDTH_PX / image_bgr.shape[1]))
    size = (TILE_WIDTH_PX, height)
    tile = np.asarray(cv2.resize(image_bgr, size, interpolation=cv2.INTER_AREA), np.uint8)
    small = np.asarray(cv2.resize(ids, size, interpolation=cv2.INTER_NEAREST), np.uint8)
    for object_id in np.unique(small[small > 0]):
        colour = OBJECT_BGR[(int(object_id) - 1) % len(OBJECT_BGR)]
        inside = small == object_id
        tile[inside] = (tile[inside] * 0.45 + np.array(colour) * 0.55).astype(np.uint8)
        _outline(tile, inside.astype(np.uint8), colour, 2)
    if truth_ids is not None:
        truth = np.asarray(cv2.resize(truth_ids, size, interpolation=cv2.INTER_NEAREST), np.uint8)
        for object_id in np.unique(truth[truth > 0]):
            _outline(tile, (truth == object_id).astype(np.uint8), TRUTH_BGR, 1)
    if truth_box_xywh is not None and np.isfinite(truth_box_xywh).all():
        scale = TILE_WIDTH_PX / image_bgr.shape[1]
        x, y, w, h = (truth_box_xywh * scale).round().astype(int).tolist()
        cv2.rectangle(tile, (x, y), (x + w, y + h), TRUTH_BGR, 1)
    bar = np.full((CAPTION_HEIGHT_PX, TILE_WIDTH_PX, 3), 24, np.uint8)
    cv2.putText(
        bar, caption, (6, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA
    )
    return np.concatenate([tile, bar])


def write_sheet(path: Path, title: str, tiles: Sequence[U8]) -> None:
    """Write tiles, of any heights, as a grid under a title; SheetError where it fails."""
    height = max(tile.shape[0] for tile in tiles)
    columns = min(COLUMNS, len(tiles))
    padded = [
        np.pad(tile, ((0, height - tile.shape[0]), (0, 0), (0, 0)), constant_values=24)
        for tile in tiles
    ]
    blank = np.full_like(padded[0], 24)
    padded += [blank] * (-len(padded) % columns)
    rows = [np.concatenate(padded[i : i + columns], axis=1) for i in range(0, len(padded), columns)]
    head = np.full((34, rows[0].shape[1], 3), 24, np.uint8)
    cv2.putText(
        head, title, (8, 23), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255, 255, 255), 1, cv2.LINE_AA
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    done, png = cv2.imencode(".png", np.concatenate([head, *rows]))
    assert done  # encoding uint8 pictures in memory does not fail
    try:
        path.write_bytes(png.tobytes())
    except OSError as error:
        raise SheetError(f"{path}: cannot write the contact sheet: {error.strerror}") from error
