"""COCO's run-length encoding of masks, as pycocotools reads it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from samcam.live.frames import Mask

_BITS = 5  # of a count in one letter
_MORE = 1 << _BITS
_FIRST_LETTER = 48  # "0"


def encode_rle(mask: Mask) -> dict[str, list[int]]:
    """Return an (H, W) mask as COCO's uncompressed run-length encoding.

    `size` is [H, W], `counts` are lengths of runs in column order, the first one of zeros.
    Source: pycocotools common/maskApi.c `rleEncode`; `frPyObjects` reads this form.
    """
    flat = mask.ravel(order="F")
    starts = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    counts = np.diff(np.concatenate(([0], starts, [flat.size])))
    runs = [int(count) for count in counts]
    return {"size": list(mask.shape), "counts": [0, *runs] if flat[0] else runs}


def compress_counts(counts: Sequence[int]) -> str:
    """Return the runs of `encode_rle` as the letters of COCO's compressed form.

    Source: pycocotools common/maskApi.c `rleToString`: from the third run on the difference to the
    run before the last one, 5 bits a letter from the low end, bit 6 where more follow.
    """
    letters = bytearray()
    for place, count in enumerate(counts):
        rest = count - counts[place - 2] if place > 2 else count
        while True:
            low, rest = rest & (_MORE - 1), rest >> _BITS
            negative = bool(low & _MORE >> 1)
            done = rest == (-1 if negative else 0)
            letters.append(_FIRST_LETTER + (low if done else low | _MORE))
            if done:
                break
    return letters.decode("ascii")
