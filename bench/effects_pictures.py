"""`python -m bench.effects_pictures`: one small picture per effect, for docs/effects.md.

A frame of the demo scene with its true mask of one object, in the settings' defaults.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from live.compositor import compose
from live.effects import EFFECT_NAMES, EdgeOptions, Effect, ReplaceOptions
from live.frames import F32, U8, Frame, FrameResult, ObjectResult, ObjectState
from live.sources.demo_scene import GEAR_ID, DemoScene

SIZE_WH = (640, 360)
FRAME = 20
MASK_SIZE = 256
JPEG_QUALITY = 85


def true_logits(ids: U8) -> F32:
    """Return (256, 256) logits of the object: the distance to its border, in their pixels."""
    share = cv2.resize((ids == GEAR_ID).astype(np.float32), (MASK_SIZE, MASK_SIZE))
    mask = (share > 0.5).astype(np.uint8)
    inside = cv2.distanceTransform(mask, cv2.DIST_L2, 5)
    outside = cv2.distanceTransform(1 - mask, cv2.DIST_L2, 5)
    return np.asarray(inside - outside, np.float32)


def sunset(size_wh: tuple[int, int]) -> U8:
    """Return a made-up picture for `replace`."""
    down = np.linspace(0, 1, size_wh[1], dtype=np.float32)[:, None, None]
    top, bottom = np.array((120, 50, 40), np.float32), np.array((90, 160, 250), np.float32)
    column = top + (bottom - top) * down
    return np.repeat(column, size_wh[0], axis=1).astype(np.uint8)


def effects() -> dict[str, Effect]:
    """Return the effects to show, by the name of the file."""
    shown = {name: Effect(name) for name in EFFECT_NAMES}
    shown["replace"] = Effect("replace", ReplaceOptions(image_bgr=sunset(SIZE_WH)))
    shown["grayscale_inverted"] = Effect("grayscale", edge=EdgeOptions(invert=True))
    shown["blur_feather"] = Effect("blur", edge=EdgeOptions(feather_px=20.0))
    return shown


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the pictures; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.effects_pictures", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/images/effects"), metavar="DIR")
    out = parser.parse_args(arguments).out
    out.mkdir(parents=True, exist_ok=True)
    image, ids = DemoScene(SIZE_WH).render(FRAME)
    box = (0.0, 0.0, float(SIZE_WH[0]), float(SIZE_WH[1]))
    item = ObjectResult(
        GEAR_ID, ObjectState.TRACKING, "truth", true_logits(ids), 1.0, 9.0, None, box, True, (0,)
    )
    result = FrameResult(Frame(FRAME, 0, 0, image), 0, (item,))
    for name, effect in effects().items():
        feed = compose(result, effect).feed_bgr
        done, data = cv2.imencode(".jpg", feed, (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))
        if not done:
            print(f"error: {name}: no JPEG could be made", file=sys.stderr)
            return 5
        (out / f"{name}.jpg").write_bytes(data.tobytes())
    print(f"{len(effects())} pictures in {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
