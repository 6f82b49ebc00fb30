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

from bench import borders
from samcam.live.effects import EFFECT_NAMES, EdgeOptions, Effect, ReplaceOptions, over_checkerboard
from samcam.live.feed import BorderOptions, Compositor
from samcam.live.frames import F32, U8, Frame, FrameResult, ObjectResult, ObjectState
from samcam.live.sources.demo import CARD_ID, GEAR_ID, DemoScene
from samcam.system import prepare_streams

SIZE_WH = (640, 360)
FRAME = 20
MASK_SIZE = 256
COARSE_SIZE = 64  # coarser than any model's masks
NANO_SIZE = 128
CLOSE_UP_YX = (160, 70)
CUT_OUT_PX, CUT_OUT_ZOOM = 72, 5
AREA = cv2.INTER_AREA
JPEG_QUALITY = 85


def true_logits(ids: U8, object_id: int = GEAR_ID, size: int = MASK_SIZE) -> F32:
    """Return (size, size) logits of the object: the distance to its border, in their pixels."""
    share = cv2.resize((ids == object_id).astype(np.float32), (size, size), interpolation=AREA)
    mask = (share > 0.5).astype(np.uint8)
    inside = cv2.distanceTransform(mask, cv2.DIST_L2, 5)
    outside = cv2.distanceTransform(1 - mask, cv2.DIST_L2, 5)
    return np.asarray(inside - outside, np.float32)


def tracked_item(logits: F32, object_id: int = GEAR_ID) -> ObjectResult:
    """Return what the tracker says of an object with this mask."""
    box = (0.0, 0.0, float(SIZE_WH[0]), float(SIZE_WH[1]))
    return ObjectResult(
        object_id, ObjectState.TRACKING, "truth", logits, 1.0, 9.0, None, box, True, (0,), SIZE_WH
    )


def sunset(size_wh: tuple[int, int]) -> U8:
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


def pictures() -> dict[str, U8]:
    """Return every picture by the name of its file; what is transparent as the window shows it."""
    image, ids = DemoScene(SIZE_WH).render(FRAME)
    frame = Frame(FRAME, 0, 0, image)
    refined = BorderOptions(refine=True)

    def shown(compositor: Compositor, *items: ObjectResult) -> U8:
        made = compositor.compose(FrameResult(frame, 0, items))
        if made.alpha is None:
            return made.feed_bgr
        return over_checkerboard(made.feed_bgr, made.alpha, made.backdrop_rgb)

    wheel = tracked_item(true_logits(ids))
    made = {
        name: shown(Compositor(effect, borders=refined), wheel)
        for name, effect in effects().items()
    }
    card = tracked_item(true_logits(ids, CARD_ID), CARD_ID)
    own: dict[int, Effect | None] = {CARD_ID: Effect("censor")}
    made["per_object"] = shown(Compositor(Effect("blur"), own=own, borders=refined), wheel, card)
    coarse = tracked_item(true_logits(ids, size=COARSE_SIZE))
    black = Effect("replace", ReplaceOptions((0, 0, 0)))
    for name, options in (("refine_off", BorderOptions()), ("refine_on", refined)):
        whole = shown(Compositor(black, borders=options), coarse)
        part = whole[CLOSE_UP_YX[0] : CLOSE_UP_YX[0] + 180, CLOSE_UP_YX[1] : CLOSE_UP_YX[1] + 180]
        made[name] = np.asarray(cv2.resize(part, None, fx=2, fy=2), np.uint8)
    return made | dict(zip(("cutout_before", "cutout_after"), cut_outs(), strict=True))


def cut_outs() -> tuple[U8, U8]:
    """Return `chroma`'s border as it was, outwards with the wall's colours, and as it is, enlarged.

    The card before a bright wall, with a mask as coarse as `nano`'s.
    """
    colours, share = DemoScene(borders.SIZE_WH).cut_out(FRAME, CARD_ID)
    bright = borders.backgrounds(borders.SIZE_WH)["colours"]
    image = borders.pictured(colours, share, bright)
    logits = borders.network_logits(share, NANO_SIZE)
    rows, columns = np.nonzero(share > 0.5)
    at = int(columns.argmin())
    top, left = int(rows[at]) - CUT_OUT_PX // 2, int(columns[at]) - CUT_OUT_PX // 4
    part = np.s_[top : top + CUT_OUT_PX, left : left + CUT_OUT_PX]
    side = (CUT_OUT_PX * CUT_OUT_ZOOM,) * 2
    before, after = (
        cv2.resize(
            borders.composed(image, logits, edge)[part], side, interpolation=cv2.INTER_NEAREST
        )
        for edge in (borders.BEFORE, Effect("chroma").edge)
    )
    return np.asarray(before, np.uint8), np.asarray(after, np.uint8)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.effects_pictures", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/images/effects"), metavar="DIR")
    out = parser.parse_args(arguments).out
    out.mkdir(parents=True, exist_ok=True)
    made = pictures()
    for name, picture in made.items():
        done, data = cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))
        if not done:
            print(f"error: {name}: no JPEG could be made", file=sys.stderr)
            return 5
        (out / f"{name}.jpg").write_bytes(data.tobytes())
    print(f"{len(made)} pictures in {out}")
    return 0


if __name__ == "__main__":
    prepare_streams()
    sys.exit(main())
