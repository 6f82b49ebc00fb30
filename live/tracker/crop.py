"""Where one object is looked for: a part of the picture that the network gets to see alone.

A small model that sees a whole 16:9 picture has a few cells for a small object. A crop around
the place where the object's Kalman filter expects it gives the same network several times the
resolution there. It widens step by step, up to the whole picture, while nothing moves the filter,
and narrows again when something does.

A cell is a pixel of the network's low-resolution mask when it sees the whole picture: the unit of
the motion gate, whatever the crop.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, Final, TypeVar

import cv2
import numpy as np

from samcam.kalman import CameraMotion
from samcam.live.frames import F32, U8, Mask, Prompt
from samcam.live.masks import pixel_box
from samcam.system import Checked, Setting

OUTSIDE_LOGIT: Final = -10.0  # clearly not the object, as a mask prompt says it
WHOLE_FROM: Final = 0.9  # share of the picture's side from which a crop is not worth its run
SIZE_SHARE: Final = 0.3  # of a new size in the damped one: a bad mask must not blow up the crop
LONG_GAP_S: Final = 2.0  # no picture for longer: the object may be anywhere
MAX_UNSURE: Final = 100  # steps; by then any crop is the whole picture
STEP_OUT: Final = 2.0  # how a crop widens for a prompt outside it
BOX_ZOOM: Final = 2.0  # sides of a first box's crop relative to the box's larger side

_CROP_MODELS: Final = frozenset({"nano"})

A = TypeVar("A", U8, Mask)


def wants_crop(model: str) -> bool:
    """Whether `tracker.crop.enabled: auto` means on for a model, by its manifest's name."""
    return model in _CROP_MODELS


@dataclass(frozen=True, slots=True)
class CropSettings(Checked):
    """How large the crop is."""

    zoom: Annotated[
        float,
        Setting(
            "Side of the crop relative to the object's box.",
            "times the object's",
            1.2,
            20,
        ),
    ] = 3.0
    min_share: Annotated[
        float,
        Setting("Smallest crop, as share of the picture's side.", "share of the picture", 0.05, 1),
    ] = 0.25
    growth: Annotated[
        float,
        Setting(
            "How much wider the crop gets with each step without a sure mask.", "times", 1.05, 4
        ),
    ] = 1.15

    def map_size(self, cells: int) -> int:
        """Return the side of the map that the smallest crop's mask fits into without loss."""
        return math.ceil(cells / self.min_share)


@dataclass(frozen=True, slots=True)
class Crop:
    """A part of a picture, in whole source pixels.

    Attributes:
        x, y: Left and top edge.
        width, height: Of the crop.
        picture_wh: Size of the picture that it lies in.
    """

    x: int
    y: int
    width: int
    height: int
    picture_wh: tuple[int, int]

    @classmethod
    def whole(cls, picture_wh: tuple[int, int]) -> Crop:
        """Return the crop that is the whole picture: the network sees what it always saw."""
        return cls(0, 0, *picture_wh, picture_wh)

    @classmethod
    def place(cls, x: float, y: float, share: float, picture_wh: tuple[int, int]) -> Crop:
        """Return the crop nearest to a middle in source pixels that lies in the picture; `share`
        is that of its sides in the picture's."""
        if share >= WHOLE_FROM:
            return cls.whole(picture_wh)
        width, height = (max(1, round(side * share)) for side in picture_wh)
        left = min(max(round(x - width / 2), 0), picture_wh[0] - width)
        top = min(max(round(y - height / 2), 0), picture_wh[1] - height)
        return cls(left, top, width, height, picture_wh)

    @property
    def is_whole(self) -> bool:
        return self.size_wh == self.picture_wh

    @property
    def size_wh(self) -> tuple[int, int]:
        return self.width, self.height

    @property
    def area(self) -> int:
        return self.width * self.height

    def cut(self, array: A) -> A:
        """Return its part of an (H, W, ...) picture or mask; not a copy."""
        if self.is_whole:
            return array
        return array[self.y : self.y + self.height, self.x : self.x + self.width]

    def own_prompt(self, prompt: Prompt) -> Prompt:
        """Return points and box in pixels of the crop."""
        if self.is_whole:
            return prompt
        corner = np.array((self.x, self.y), np.float32)
        box = prompt.box_xyxy_px
        return replace(
            prompt,
            points_xy_px=prompt.points_xy_px - corner,
            box_xyxy_px=None if box is None else box - np.tile(corner, 2),
        )

    def holding(self, prompt: Prompt) -> Crop:
        """Return this crop, doubled until points and box of a prompt lie in it.

        Doubling, so that a pointer that moves over the picture asks for few different crops.
        """
        places = prompt.points_xy_px
        if prompt.box_xyxy_px is not None:
            places = np.concatenate((places, prompt.box_xyxy_px.reshape(2, 2)))
        places = np.clip(places, 0, np.array(self.picture_wh))
        crop = self
        while not crop._holds(places):
            share = max(crop.width / self.picture_wh[0], crop.height / self.picture_wh[1])
            x, y = self.x + self.width / 2, self.y + self.height / 2
            crop = Crop.place(x, y, share * STEP_OUT, self.picture_wh)
        return crop

    def _holds(self, places: F32) -> bool:
        corner = np.array((self.x, self.y))
        return bool(((places >= corner) & (places <= corner + self.size_wh)).all())

    def to_picture(self, boxes_xyxy: F32, cells: int) -> F32:
        """Turn (..., 4) boxes in pixels of the crop's own mask, of side `cells`, into cells;
        empty ones stay empty."""
        if self.is_whole:
            return boxes_xyxy
        picture = np.array(self.picture_wh * 2, np.float64)
        scale = np.array(self.size_wh * 2) / picture
        moved = boxes_xyxy * scale + np.array((self.x, self.y) * 2) * cells / picture
        filled = boxes_xyxy[..., 2:3] > boxes_xyxy[..., 0:1]
        return np.where(filled, moved, 0).astype(np.float32)

    def from_picture(self, box_xyxy: F32, cells: int) -> F32:
        """Turn a (4,) box in cells into pixels of the crop's own mask, of side `cells`."""
        if self.is_whole:
            return box_xyxy
        picture = np.array(self.picture_wh * 2, np.float64)
        corner = np.array((self.x, self.y) * 2) * cells / picture
        own = (box_xyxy - corner) * picture / np.array(self.size_wh * 2)
        return np.asarray(own, np.float32)


def crop_for(
    crop_state: CropState | None,
    prompt: Prompt | None,
    picture_wh: tuple[int, int],
    cells: int,
    settings: CropSettings | None,
) -> Crop:
    """Return where to look for an object, or the part in which its points are decoded.

    Args:
        crop_state: None while nothing has moved the object's filter.
        prompt: Points or a box; None: the object is tracked.
        cells: Side of the network's mask, L.
        settings: None: the whole picture.
    """
    if settings is None or crop_state is None:
        return (
            Crop.whole(picture_wh) if prompt is None else first_crop(prompt, picture_wh, settings)
        )
    crop = crop_state.crop(picture_wh, cells, settings)
    return crop if prompt is None else crop.holding(prompt)


def crop_around(
    box: F32, picture_wh: tuple[int, int], cells: int, settings: CropSettings | None
) -> Crop:
    """Return the crop that shows best what lies in a box, in cells."""
    if settings is None:
        return Crop.whole(picture_wh)
    return CropState.at(box).crop(picture_wh, cells, settings)


def crop_around_mask(mask: Mask, cells: int, settings: CropSettings | None) -> Crop:
    """Return the same for an (H, W) mask of a whole picture."""
    return crop_around(box_of_mask(mask, cells), mask.shape[::-1], cells, settings)


def on_picture(logits: F32, crop: Crop, cells: int, settings: CropSettings | None) -> F32:
    """Return a crop's (L, L) logits on the whole picture, at the crop's resolution."""
    if settings is None or crop.is_whole:
        return logits
    return resampled(logits, crop, Crop.whole(crop.picture_wh), settings.map_size(cells))


def first_crop(prompt: Prompt, picture_wh: tuple[int, int], settings: CropSettings | None) -> Crop:
    """Return the crop in which an object's first points are decoded.

    A box says how large the object is, so it gets a crop around it. A click is decoded on the
    whole picture, as its preview is.
    """
    whole = Crop.whole(picture_wh)
    box = prompt.box_xyxy_px
    if settings is None or box is None:
        return whole
    # in shares of the picture's sides, where `CropState` usually has cells
    crop_state = CropState.at((box / np.array(picture_wh * 2)).astype(np.float32))
    zoomed = replace(settings, zoom=BOX_ZOOM)
    return crop_state.crop(picture_wh, 1, zoomed).holding(prompt)


def source_box(box: F32, size_wh: tuple[int, int], cells: int) -> tuple[float, float, float, float]:
    """Return a (4,) box in cells in source pixels: the mask covers the whole picture, stretched."""
    x1, y1, x2, y2 = (float(value) for value in box)
    x_scale, y_scale = size_wh[0] / cells, size_wh[1] / cells
    return x1 * x_scale, y1 * y_scale, x2 * x_scale, y2 * y_scale


def resampled(logits: F32, seen: Crop, wanted: Crop, size: int) -> F32:
    """Return (L, L) logits of the crop `seen` as (size, size) ones of the crop `wanted`.

    What `seen` does not cover is `OUTSIDE_LOGIT`.
    """
    if seen == wanted and size == len(logits):
        return logits
    scale_x = wanted.width / size * len(logits) / seen.width
    scale_y = wanted.height / size * len(logits) / seen.height
    first_x = (wanted.x - seen.x + 0.5 * wanted.width / size) * len(logits) / seen.width
    first_y = (wanted.y - seen.y + 0.5 * wanted.height / size) * len(logits) / seen.height
    columns = _covered(first_x, scale_x, size, len(logits))
    rows = _covered(first_y, scale_y, size, len(logits))
    answer = np.full((size, size), OUTSIDE_LOGIT, np.float32)
    if not columns or not rows:
        return answer
    to_seen = np.array(
        [
            [scale_x, 0.0, first_x + columns.start * scale_x - 0.5],
            [0.0, scale_y, first_y + rows.start * scale_y - 0.5],
        ]
    )
    answer[rows.start : rows.stop, columns.start : columns.stop] = cv2.warpAffine(
        logits,
        to_seen,
        (len(columns), len(rows)),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return answer


def _covered(first: float, scale: float, size: int, length: int) -> range:
    """Return which of `size` pixels have their centre, at `first + i * scale`, in 0..length."""
    start = max(0, math.ceil(-first / scale))
    return range(start, max(start, min(size, math.floor((length - first) / scale) + 1)))


@dataclass(frozen=True, slots=True)
class CropState:
    """Where an object's crop is, and how sure that is.

    Attributes:
        x, y: Middle of the object's box, in cells.
        size: Larger side of the box in cells, damped.
        unsure: Steps since a mask last moved the filter, fewer with every step that does.
        in_sight: Of these, those on which a mask showed that it is there, though not where.
    """

    x: float
    y: float
    size: float
    unsure: int = 0
    in_sight: int = 0

    @classmethod
    def at(cls, box_xyxy: F32) -> CropState:
        """Return the state at a box in cells."""
        x1, y1, x2, y2 = (float(value) for value in box_xyxy)
        return cls((x1 + x2) / 2, (y1 + y2) / 2, max(x2 - x1, y2 - y1))

    def predicted(
        self, predicted_box: F32 | None, dt_s: float, camera: CameraMotion | None = None
    ) -> CropState:
        """Return the state on the next frame, `dt_s` seconds later.

        Without a predicted box (the filter was forgotten) the last place stays where it is in the
        scene: `camera`, in cells, moves it. After a cut or a long gap it is the whole picture.
        """
        there = self
        if camera is not None:
            x, y = camera.moved(self.x, self.y)
            most = camera.side  # of the picture: errors of hours without a mask must not add up
            x, y = min(max(x, 0.0), most), min(max(y, 0.0), most)
            there = replace(self, x=x, y=y, size=min(self.size * camera.zoom, most))
        if predicted_box is not None:
            place = CropState.at(predicted_box)
            there = replace(there, x=place.x, y=place.y)
        nowhere = dt_s > LONG_GAP_S or (camera is not None and camera.is_cut)
        if nowhere:
            return replace(there, unsure=MAX_UNSURE, in_sight=0)
        unsure = min(self.unsure + 1, MAX_UNSURE)
        passed = unsure - self.unsure  # none where it is counted no further: the sightings age
        return replace(there, unsure=unsure, in_sight=max(self.in_sight - 1 + passed, 0))

    def updated(self, box: F32) -> CropState:
        """Return the state after a mask moved the filter to a box in cells."""
        there = CropState.at(box)
        size = self.size + SIZE_SHARE * (there.size - self.size)
        unsure = max(self.unsure - 1, 0) // 2
        return replace(there, size=size, unsure=unsure, in_sight=min(self.in_sight, unsure))

    def seen(self) -> CropState:
        """Return the state after a mask that moved no filter, of an object that is in sight where
        it is looked for: its crop need not widen."""
        return replace(self, in_sight=min(self.in_sight + 1, self.unsure))

    def crop(self, picture_wh: tuple[int, int], cells: int, settings: CropSettings) -> Crop:
        share = max(self.size / cells * settings.zoom, settings.min_share)
        share *= settings.growth ** max(self.unsure - self.in_sight - 1, 0)
        x, y = self.x * picture_wh[0] / cells, self.y * picture_wh[1] / cells
        return Crop.place(x, y, share, picture_wh)


def box_of_mask(mask: Mask, cells: int) -> F32:
    """Return the box of an (H, W) mask with pixels in it, in cells."""
    box = pixel_box(mask)
    if box is None:
        raise ValueError("expected a mask with at least one pixel set")
    x_scale, y_scale = cells / mask.shape[1], cells / mask.shape[0]
    return np.array(
        (box.x1 * x_scale, box.y1 * y_scale, box.x2 * x_scale, box.y2 * y_scale), np.float32
    )
