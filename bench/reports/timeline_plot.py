"""One object's way through a clip in a picture: scores, truth, state with reasons, memory.

Drawn with matplotlib, which is loaded when the first one is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from bench.reports.sheet import SheetError
from samcam.live.frames import U8

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Row: TypeAlias = Mapping[str, Any]  # of tracks.jsonl: docs/schemas/tracks.schema.json

WIDTH_IN: Final = 15.0
DPI: Final = 110
PICTURES: Final = 9
MOST_REASONS: Final = 12
_LEFT, _RIGHT = 0.065, 0.865  # of the figure's width; legends stand to the right
_PAGE: Final = "#ffffff"
_INK: Final = "#222222"
_FAINT: Final = "#9a9a9a"
STATE_COLOURS: Final = {
    "tracking": "#59a14f",
    "uncertain": "#f2c14e",
    "lost": "#c8443d",
    "recovered": "#4e9ac7",
}
TIER_COLOURS: Final = {
    "conditioning": "#f0a020",
    "sensory": "#58c4dd",
    "working": "#6abf69",
    "long_term": "#c86dd7",
}
TIER_NAMES: Final = {
    "conditioning": "conditioning (a prompt)",
    "sensory": "sensory (the last frame)",
    "working": "working (recent, gated)",
    "long_term": "long-term (anchors)",
}
SCORES: Final = (
    ("predicted_iou", "predicted IoU", "#1f77b4", "-"),
    ("motion_iou", "motion IoU", "#8c564b", "-"),
    ("guide_iou", "guide IoU", "#9467bd", "-"),
    ("appearance", "appearance", "#e377c2", "--"),
)


@dataclass(frozen=True, slots=True)
class Timeline:
    """What is drawn.

    Attributes:
        title: Above all.
        rows: Of one object, ascending frames.
        truth: Frame to overlap with the truth, 0..1, where there is one.
        truth_name: What that is, such as J.
        pictures: Frame to (h, w, 3) uint8 BGR; a few of them are shown.
    """

    title: str
    rows: Sequence[Row]
    truth: Mapping[int, float] = field(default_factory=dict)
    truth_name: str = "J"
    pictures: Mapping[int, U8] = field(default_factory=dict)

    def values(self, key: str) -> np.ndarray:
        """Return one figure of every row, nan where there is none."""
        found = [row.get(key) for row in self.rows]
        return np.array([np.nan if value is None else float(value) for value in found])

    @property
    def frames(self) -> np.ndarray:
        return np.array([int(row["frame"]) for row in self.rows])

    def changes(self) -> list[tuple[int, str, str]]:
        """Return frame, state and reason wherever the state changed, the first row included."""
        found: list[tuple[int, str, str]] = []
        for row in self.rows:
            if not found or found[-1][1] != row["state"]:
                found.append((int(row["frame"]), str(row["state"]), str(row["reason"])))
        return found


def write_timeline(path: Path, timeline: Timeline) -> None:
    """Draw a timeline into a PNG file.

    Raises:
        SheetError: It cannot be written, or matplotlib is not installed.
    """
    if not timeline.rows:
        return
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise SheetError(f"{path}: needs matplotlib; pip install matplotlib") from error
    shown = _chosen(timeline.pictures, timeline.frames)
    slots = max(1, *(len(row["memory_steps"]) for row in timeline.rows))
    listed = timeline.changes()[:MOST_REASONS]
    heights = [_strip_height(timeline.pictures, shown), 0.35, 3.0, 1.3, 0.17 * max(slots, 4) + 0.25]
    notes = 0.3 + 0.19 * len(listed)
    total = sum(heights) + 0.16 * len(heights) + 1.0 + notes
    figure = Figure(figsize=(WIDTH_IN, total), dpi=DPI, facecolor=_PAGE)
    FigureCanvasAgg(figure)
    axes = figure.subplots(
        5,
        1,
        sharex=True,
        gridspec_kw={
            "height_ratios": heights,
            "hspace": 0.16 * 5 / sum(heights),
            "left": _LEFT,
            "right": _RIGHT,
            "top": 1 - 0.55 / total,
            "bottom": (notes + 0.45) / total,
        },
    )
    strip, band, scores, logits, memory = axes
    figure.suptitle(timeline.title, x=_LEFT, y=1 - 0.16 / total, ha="left", fontsize=14)
    _draw_pictures(strip, timeline, shown)
    _draw_states(band, timeline)
    _draw_scores(scores, timeline)
    _draw_object_score(logits, timeline)
    _draw_memory(memory, timeline, slots)
    memory.set_xlabel("frame")
    frames = timeline.frames
    memory.set_xlim(frames[0] - 0.5, frames[-1] + 0.5)
    for number, (frame, state, reason) in enumerate(listed):
        y = (notes - 0.12 - 0.19 * number) / total
        figure.text(_LEFT, y, f"frame {frame}", fontsize=8.5, va="top", color=_FAINT)
        colour = STATE_COLOURS.get(state, _INK)
        figure.text(_LEFT + 0.055, y, state, fontsize=8.5, va="top", color=colour, weight="bold")
        figure.text(_LEFT + 0.125, y, reason, fontsize=8.5, va="top", color=_INK)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, facecolor=_PAGE)
    except OSError as error:
        raise SheetError(f"{path}: cannot be written: {error.strerror}") from error


def _chosen(pictures: Mapping[int, U8], frames: np.ndarray) -> list[int]:
    """Return the frames of the pictures that are nearest to evenly spread places."""
    if not pictures:
        return []
    known = np.array(sorted(pictures))
    first, last = int(frames[0]), int(frames[-1])
    middles = first - 0.5 + (np.arange(PICTURES) + 0.5) * (last - first + 1) / PICTURES
    return [int(known[np.abs(known - middle).argmin()]) for middle in middles]


def _strip_height(pictures: Mapping[int, U8], shown: Sequence[int]) -> float:
    """Return how high the pictures are where they stand side by side, in inches."""
    if not shown:
        return 0.05
    height, width = pictures[shown[0]].shape[:2]
    return min(2.6, float(WIDTH_IN * (_RIGHT - _LEFT) / PICTURES * height / width))


def _draw_pictures(axes: Axes, timeline: Timeline, shown: Sequence[int]) -> None:
    axes.set_yticks([])
    axes.tick_params(bottom=False)
    for side in axes.spines.values():
        side.set_visible(False)
    if not shown:
        return
    first, last = int(timeline.frames[0]), int(timeline.frames[-1])
    width = (last - first + 1) / len(shown)
    for place, frame in enumerate(shown):
        picture = timeline.pictures[frame]
        left = first - 0.5 + place * width
        high, wide = picture.shape[:2]
        room = WIDTH_IN * (_RIGHT - _LEFT) / len(shown) / _strip_height(timeline.pictures, shown)
        across = min(0.98, wide / high / room)  # upright pictures do not fill their place
        middle = left + width / 2
        extent = (middle - across * width / 2, middle + across * width / 2, 0.0, 1.0)
        axes.imshow(picture[..., ::-1], extent=extent, aspect="auto", interpolation="antialiased")
        axes.text(extent[0], 1.02, f" frame {frame}", fontsize=7.5, color=_FAINT, va="bottom")
    axes.set_ylim(0, 1)


def _draw_states(axes: Axes, timeline: Timeline) -> None:
    """Draw the band of states; every change of the reason in it is a thin line."""
    changes = timeline.changes()
    end = int(timeline.frames[-1]) + 1
    for (frame, state, _), after in zip(changes, [*changes[1:], (end, "", "")], strict=True):
        length = after[0] - frame
        axes.axvspan(frame - 0.5, after[0] - 0.5, color=STATE_COLOURS.get(state, _FAINT), lw=0)
        if length > len(timeline.rows) * 0.012 * len(state):
            axes.text(frame - 0.5 + length / 2, 0.5, state, fontsize=8, ha="center", va="center")
    before = ""
    for row in timeline.rows:
        reason = "".join(c for c in str(row["reason"]) if not c.isdigit())  # figures always change
        if before and reason != before:
            axes.axvline(int(row["frame"]) - 0.5, color="#ffffff", lw=0.8)
        before = reason
    axes.set_yticks([])
    axes.set_ylim(0, 1)
    axes.set_ylabel("state", rotation=0, ha="right", va="center")
    axes.tick_params(bottom=False)


def _draw_scores(axes: Axes, timeline: Timeline) -> None:
    frames = timeline.frames
    if timeline.truth:
        known = sorted(timeline.truth)
        name = f"{timeline.truth_name} (truth)"
        if len(known) > 0.5 * len(frames):
            whole = np.array([timeline.truth.get(int(frame), np.nan) for frame in frames])
            axes.fill_between(frames, 0, whole, color="#d9d9d9", lw=0, step="mid", label=name)
        else:  # annotated here and there
            axes.plot(known, [timeline.truth[at] for at in known], "k^", ms=6, label=name)
    for key, name, colour, line in SCORES:
        values = timeline.values(key)
        if not np.isnan(values).all():
            axes.plot(frames, values, line, color=colour, lw=1.4, label=name, marker=".", ms=2)
    _finish(axes, "overlap and\nscores, 0..1", legend=True)
    axes.set_ylim(-0.02, 1.02)
    axes.set_yticks(np.linspace(0, 1, 6))


def _draw_object_score(axes: Axes, timeline: Timeline) -> None:
    frames, values = timeline.frames, np.clip(timeline.values("object_score"), -20, 20)
    axes.axhline(0, color=_FAINT, lw=0.8)
    axes.fill_between(frames, 0, values, where=values > 0, color="#cfe8cf", lw=0, step="mid")
    axes.fill_between(frames, 0, values, where=values < 0, color="#f3cfcf", lw=0, step="mid")
    axes.plot(frames, values, color=_INK, lw=1.1)
    _finish(axes, "object score,\nlogit")


def _draw_memory(axes: Axes, timeline: Timeline, slots: int) -> None:
    """Draw a row per memory that each step attended to, in the colour of its tier.

    A number says of which step a memory is, where it stays for long. The older, the paler.
    """
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Patch

    frames = timeline.frames
    cells = np.zeros((slots, int(frames[-1]) - int(frames[0]) + 1, 4))
    used: dict[str, None] = {}
    for slot in range(slots):
        for begin, end, step, tier in _runs(timeline.rows, slot):
            used[tier] = None
            if end - begin > 0.035 * len(frames):
                axes.text(begin, slot, f"{step}", fontsize=6.5, va="center", color=_INK)
    for row in timeline.rows:
        column = int(row["frame"]) - int(frames[0])
        for slot, (step, tier) in enumerate(_memories(row)):
            age = max(1, int(row.get("step", row["frame"])) - step)
            cells[slot, column, :3] = to_rgb(TIER_COLOURS.get(tier, _FAINT))
            cells[slot, column, 3] = max(0.3, 1.0 - 0.09 * np.log2(age))
    extent = (frames[0] - 0.5, frames[-1] + 0.5, slots - 0.5, -0.5)
    axes.imshow(cells, extent=extent, aspect="auto", interpolation="nearest")
    for edge in range(1, slots):
        axes.axhline(edge - 0.5, color=_PAGE, lw=1.6)
    admitted = [int(row["frame"]) for row in timeline.rows if row["admitted"]]
    axes.plot(admitted, np.full(len(admitted), slots - 0.15), "|", color=_INK, ms=5, mew=0.8)
    axes.set_ylim(slots + 0.3, -0.6)
    axes.set_yticks(range(slots), [str(slot + 1) for slot in range(slots)], fontsize=7)
    _finish(axes, "memories\nattended to")
    patches = [Patch(color=TIER_COLOURS.get(t, _FAINT), label=TIER_NAMES.get(t, t)) for t in used]
    admitting = axes.plot([], [], "|", color=_INK, label="admitted")
    _legend(axes, handles=[*patches, *admitting])


def _memories(row: Row) -> list[tuple[int, str]]:
    """Return step and tier of each memory that a row attended to."""
    tiers = list(row.get("memory_tiers") or ())
    tiers += [""] * (len(row["memory_steps"]) - len(tiers))
    return [(int(step), str(tier)) for step, tier in zip(row["memory_steps"], tiers, strict=True)]


def _runs(rows: Sequence[Row], slot: int) -> list[tuple[int, int, int, str]]:
    """Return from which frame to before which one a slot held the memory of which step and tier."""
    found: list[tuple[int, int, int, str]] = []
    for row in rows:
        memories = _memories(row)
        if slot >= len(memories):
            continue
        frame, (step, tier) = int(row["frame"]), memories[slot]
        if found and found[-1][1:] == (frame, step, tier):
            found[-1] = (found[-1][0], frame + 1, step, tier)
        else:
            found.append((frame, frame + 1, step, tier))
    return found


def _finish(axes: Axes, name: str, legend: bool = False) -> None:
    axes.set_ylabel(name, fontsize=9)
    axes.grid(axis="x", color="#e6e6e6", lw=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if legend:
        _legend(axes)


def _legend(axes: Axes, **handles: Any) -> None:
    axes.legend(
        loc="upper left", bbox_to_anchor=(1.005, 1.0), fontsize=8.5, frameon=False,
        borderaxespad=0, **handles,
    )  # fmt: skip
