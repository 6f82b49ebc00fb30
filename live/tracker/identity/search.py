"""Where a lost object is looked for: over the whole picture, and in crops of it, in turn."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

from samcam.live.tracker.crop import Crop, CropSettings, CropState

MIN_SEARCH_SHARE: Final = 0.35  # of the picture's sides: some 16 crops to go through
GRID_BELOW: Final = 0.6  # from this share on the whole picture shows the object as well


def search_crop(
    crop_state: CropState | None,
    steps: int,
    picture_wh: tuple[int, int],
    cells: int,
    settings: CropSettings | None,
) -> Crop:
    """Return where to look for an object that was not seen for `steps` steps.

    First the crop widens around the last place, up to the whole picture. Then every other step
    sees the whole picture, and those between see one crop of a grid after the other, the nearest
    first: there a small object is as large as it was before. Each step is one run of the networks.

    Args:
        crop_state: The last place; None: not known.
        cells: Side of the network's mask, L.
        settings: None: always the whole picture.
    """
    whole = Crop.whole(picture_wh)
    if settings is None or crop_state is None:
        return whole
    around = crop_state.crop(picture_wh, cells, settings)
    if not around.is_whole or steps % 2 == 0:
        return around
    share = max(crop_state.size / cells * settings.zoom, settings.min_share, MIN_SEARCH_SHARE)
    if share >= GRID_BELOW:
        return whole
    places = _grid(share, settings.zoom)
    x, y = crop_state.x / cells, crop_state.y / cells
    nearest = sorted(places, key=lambda at: (at[0] - x) ** 2 + (at[1] - y) ** 2)
    x, y = nearest[steps // 2 % len(nearest)]
    return Crop.place(x * picture_wh[0], y * picture_wh[1], share, picture_wh)


@lru_cache(maxsize=64)
def _grid(share: float, zoom: float) -> tuple[tuple[float, float], ...]:
    """Return the middles of crops, in shares of the picture's sides, that cover the picture so
    that an object of the expected size lies whole in one of them."""
    stride = share * max(1 - 1 / zoom, 0.5)
    count = math.ceil((1 - share) / stride) + 1
    step = (1 - share) / (count - 1)
    middles = [share / 2 + index * step for index in range(count)]
    return tuple((x, y) for y in middles for x in middles)
