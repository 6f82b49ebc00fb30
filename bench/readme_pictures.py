"""`python -m bench.readme_pictures`: the moving picture and the strip of effects in README.

The moving picture is the feed that `python -m bench.demo` left in OUT/demo.mp4; before it stands
the first picture as it came, with a pointer that clicks where the demo's clicks are.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import cv2
import numpy as np

from bench.demo import SIZE_WH
from bench.effects_pictures import pictures
from samcam.live.frames import U8
from samcam.live.sources.demo import DemoScene, demo_clicks
from samcam.system import prepare_streams

MOVING_WH = (640, 360)
EVERY = 3  # frames of the feed's 30 a second: ten a second are shown
FRAME_MS = 100
CLICK_MS = 500
QUALITY = 60
MAX_BYTES = 1_000_000  # no larger file belongs into the repository
STRIP = (
    "highlight",
    "blur",
    "replace",
    "chroma",
    "transparent",
    "spotlight",
    "grayscale",
    "censor",
)
TILE_WH = (300, 169)
CAPTION_PX = 30
_POINTER = ((0, 0), (0, 17), (4, 13), (7, 20), (10, 19), (7, 12), (12, 12))


def draw_pointer(picture: U8, at: tuple[int, int], pressed: bool) -> U8:
    """Return a copy with a mouse pointer, and a ring around a pressed one."""
    shown = picture.copy()
    if pressed:
        cv2.circle(shown, at, 16, (255, 255, 255), 3, cv2.LINE_AA)
    outline = np.array([[at[0] + 1.4 * x, at[1] + 1.4 * y] for x, y in _POINTER], np.int32)
    cv2.fillPoly(shown, [outline], (255, 255, 255), cv2.LINE_AA)
    cv2.polylines(shown, [outline], True, (0, 0, 0), 1, cv2.LINE_AA)
    return shown


def clicks() -> Iterator[tuple[U8, int]]:
    """Give the first picture with the pointer on each object, then pressed; and milliseconds."""
    first = np.asarray(cv2.resize(DemoScene(SIZE_WH).render(0)[0], MOVING_WH), np.uint8)
    for _, (x, y) in sorted(demo_clicks(SIZE_WH).items()):
        at = round(x * MOVING_WH[0] / SIZE_WH[0]), round(y * MOVING_WH[1] / SIZE_WH[1])
        for pressed in (False, True):
            yield draw_pointer(first, at, pressed), CLICK_MS


def feed(video: Path) -> Iterator[tuple[U8, int]]:
    """Give every third picture of the demo's feed, and milliseconds."""
    with av.open(str(video)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number % EVERY == 0:
                picture = np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)
                small = cv2.resize(picture, MOVING_WH, interpolation=cv2.INTER_AREA)
                yield np.asarray(small, np.uint8), FRAME_MS


def moving_picture(video: Path) -> bytes:
    """Return an animated WebP in an endless loop; OSError where the video cannot be read."""
    shown = [*clicks(), *feed(video)]
    animation = cv2.Animation()
    animation.frames = [picture for picture, _ in shown]
    animation.durations = [time_ms for _, time_ms in shown]
    done, data = cv2.imencodeanimation(".webp", animation, (cv2.IMWRITE_WEBP_QUALITY, QUALITY))
    if not done:
        raise OSError("this OpenCV writes no animated WebP")
    return bytes(data)


def strip() -> U8:
    """Return the effects side by side, each under its name, in two rows."""
    made = pictures()
    tiles = []
    for name in STRIP:
        tile = cv2.resize(made[name], TILE_WH, interpolation=cv2.INTER_AREA)
        bar = np.full((CAPTION_PX, TILE_WH[0], 3), 24, np.uint8)
        place, font = (8, 21), cv2.FONT_HERSHEY_SIMPLEX
        cv2.putText(bar, name, place, font, 0.6, (255, 255, 255), 1, cv2.LINE_AA)
        tiles.append(np.concatenate([bar, np.asarray(tile, np.uint8)]))
    half = len(tiles) // 2
    rows = [np.concatenate(part, axis=1) for part in (tiles[:half], tiles[half:])]
    return np.asarray(np.concatenate(rows), np.uint8)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.readme_pictures", description=__doc__)
    parser.add_argument("--video", type=Path, default=Path("out/demo.mp4"), metavar="FILE")
    parser.add_argument("--out", type=Path, default=Path("docs/images"), metavar="DIR")
    options = parser.parse_args(arguments)
    try:
        moving = moving_picture(options.video)
    except OSError as error:
        print(f"error: --video {options.video}: {error}; run: make demo", file=sys.stderr)
        return 3
    if len(moving) > MAX_BYTES:
        print(f"error: {len(moving)} bytes, expected at most {MAX_BYTES}", file=sys.stderr)
        return 5
    done, data = cv2.imencode(".jpg", strip(), (cv2.IMWRITE_JPEG_QUALITY, 85))
    assert done  # encoding uint8 pictures in memory does not fail
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "demo.webp").write_bytes(moving)
    (options.out / "effects.jpg").write_bytes(data.tobytes())
    print(f"wrote demo.webp ({len(moving) / 1e6:.1f} MB) and effects.jpg to {options.out}")
    return 0


if __name__ == "__main__":
    prepare_streams()
    sys.exit(main())
