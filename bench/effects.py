"""`python -m bench.effects`: what each effect costs, beside one `cv2.blendLinear` of that size.

One object of a fifth of the picture, as a network of 256 x 256 logits gives it. Timed is the
effect with what users get by default: smoothed masks, and for all but highlight borders drawn to
the picture's edges. Stretching the tracker's own logits, which all share, stands in a row of its
own, as does what smoothing and the edges take of each effect. Each ratio
compares medians taken in turn in the same run, so that whatever else the machine does meets both.
Figures to look at, never a test.
"""

from __future__ import annotations

import itertools
import math
import sys
import time
from collections.abc import Callable, Sequence

import cv2
import numpy as np

from bench.reports.environment import describe_environment
from bench.reports.report import Report, Section, Table, exit_code, publish, report_parser, table
from samcam.live.config import EffectSettings
from samcam.live.effects import EFFECT_NAMES, Effect, EffectSet, Layers, MaskSmoother, refine_layer
from samcam.live.frames import F32, NS_PER_MS, NS_PER_S, ObjectResult, ObjectState
from samcam.live.masks import MaskLayer, grown_to, mask_layer, object_layers
from samcam.live.sources.demo import DemoScene
from samcam.system import prepare_streams

SIZES_WH = ((1280, 720), (1920, 1080))
MASK_SIZE = 256
WARM_UP = 3
BLOCK = "effects"
SHARE = EffectSettings().smoothing
AIMS = {"highlight": 1.0}  # times a blendLinear
DEAREST_AIM = 2.0


def made_up_logits(shift: float = 0.0) -> F32:
    """Return logits of an ellipse of a fifth of the picture, falling off as a network's do."""
    rows, columns = np.mgrid[:MASK_SIZE, :MASK_SIZE] / MASK_SIZE
    radius = np.hypot((columns - 0.5 - shift) / 0.2, (rows - 0.55) / 0.32)
    return np.asarray(np.clip(60 * (1 - radius), -12, 12), np.float32)


def tracked_item(logits: F32, size_wh: tuple[int, int]) -> ObjectResult:
    """Return what the tracker says of an object with this mask."""
    box = (0.0, 0.0, float(size_wh[0]), float(size_wh[1]))
    state = ObjectState.TRACKING
    return ObjectResult(1, state, "made up", logits, 0.9, 4.0, None, box, True, (0,), size_wh)


def margin_px(size_wh: tuple[int, int], effect: Effect) -> int:
    """Return the room around a mask that the compositor leaves."""
    return max(size_wh[1] // 60, math.ceil(effect.reach_px(size_wh[1])))


def measure(size_wh: tuple[int, int], rounds: int) -> dict[str, float]:
    """Return the median milliseconds of a blendLinear ("") and of each effect at this size."""
    width, height = size_wh
    image = DemoScene(size_wh).render(0)[0]
    other = image[::-1].copy()
    weight = np.full((height, width), 0.5, np.float32)
    items = [tracked_item(made_up_logits(shift), size_wh) for shift in (0.0, 0.01)]
    times_ns = itertools.count(step=NS_PER_S // 30)

    slope = object_layers(items[:1], size_wh)[0].logits_per_px

    def smoothed(smoother: MaskSmoother, margin: int) -> tuple[MaskLayer, ...]:
        time_ns = next(times_ns)
        item = items[time_ns % 2]
        layer = mask_layer(1, smoother.smooth((item,), time_ns)[1], size_wh, margin, slope)
        assert layer is not None
        return (layer,)

    def of_effect(effect: Effect) -> Callable[[], object]:
        smoother, margin = MaskSmoother(SHARE), margin_px(size_wh, effect)
        effects = EffectSet(effect)

        def run() -> object:
            layers = soft = smoothed(smoother, margin)
            if effect.name != "highlight":
                soft = tuple(refine_layer(layer, image) for layer in layers)
            cover = layers if effect.covers else soft
            if effect.covers:
                cover = tuple(grown_to(a, b) for a, b in zip(soft, layers, strict=True))
            return effects.apply(image, Layers(soft, cover, layers), (1,))

        return run

    alone = MaskSmoother(SHARE)
    plain = object_layers(items[:1], size_wh, margin_px(size_wh, Effect("blur")))
    work: dict[str, Callable[[], object]] = {
        "": lambda: cv2.blendLinear(image, other, weight, weight),
        "the mask": lambda: object_layers(items[:1], size_wh, margin_px(size_wh, Effect())),
        "smoothing": lambda: smoothed(alone, margin_px(size_wh, Effect("blur"))),
        "edges": lambda: [refine_layer(layer, image) for layer in plain],
        **{name: of_effect(Effect(name)) for name in EFFECT_NAMES},
    }
    taken: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(WARM_UP + rounds):
        for name, run in work.items():
            start = time.perf_counter_ns()
            run()
            if turn >= WARM_UP:
                taken[name].append((time.perf_counter_ns() - start) / NS_PER_MS)
    return {name: float(np.median(values)) for name, values in taken.items()}


def cost_table(measured: dict[tuple[int, int], dict[str, float]]) -> Table:
    """A row for each effect: milliseconds at each size, and how many blendLinear they are."""
    headers = [head for w, h in measured for head in (f"{w}x{h}: p50 ms", "ratio")]
    rows = []
    for name in next(iter(measured.values())):
        aim = f"{AIMS.get(name, DEAREST_AIM):g}" if name in EFFECT_NAMES else "-"
        cells = [
            cell
            for medians in measured.values()
            for cell in (f"{medians[name]:.2f}", f"{medians[name] / medians['']:.2f}")
        ]
        rows.append([name or "one cv2.blendLinear", *cells, aim])
    return table(("effect", *headers, "aim"), rows)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = report_parser(BLOCK, __doc__)
    parser.add_argument("--rounds", type=int, default=200)
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error("expected --rounds of at least 1")
    costs = cost_table({size_wh: measure(size_wh, options.rounds) for size_wh in SIZES_WH})
    report = Report(describe_environment().lines(), [Section(costs)])
    return exit_code(lambda: publish(report, options.markdown, BLOCK), {})


if __name__ == "__main__":
    prepare_streams()
    sys.exit(main())
