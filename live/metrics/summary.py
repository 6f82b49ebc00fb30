"""The figures of a finished run as text for people."""

from __future__ import annotations

from collections.abc import Mapping

from samcam.live.metrics.metrics import CAPTURE_WAIT, COMPOSE, SOURCE_AGE, TOTAL, Snapshot

_FIRST = (CAPTURE_WAIT, SOURCE_AGE, "encode", "attend", "decode", "remember", COMPOSE)


def format_summary(snapshot: Snapshot, ending: str) -> str:
    """Return the end summary: rates, drops, source age, times per stage, memory.

    `ending` is why the run ended, such as "end of the source".
    """
    lines = [
        f"summary: {ending}; {snapshot.processed} of {snapshot.captured} frames read were "
        f"processed in {snapshot.elapsed_s:.1f} s",
        f"  rate        source {snapshot.source_fps:.1f} fps, "
        f"inference {snapshot.inference_fps:.1f} fps",
        f"  dropped     {_counts(snapshot.dropped)}",
    ]
    if snapshot.counters:
        lines.append(f"  counted     {_counts(snapshot.counters)}")
    age = snapshot.stages.get(SOURCE_AGE)
    if age is not None:
        lines.append(
            f"  source age  mean {age.mean:.1f} ms, p95 {age.p95:.1f} ms when inference starts"
        )
    totals = [stats for name, stats in snapshot.stages.items() if name.startswith(f"{TOTAL} ")]
    if totals:
        slowest = max(totals, key=lambda stats: stats.mean)
        lines.append(
            f"              mean {slowest.mean:.1f} ms, p95 {slowest.p95:.1f} ms when the picture "
            "leaves"
        )
    if snapshot.peak_rss_mb is None:
        lines.append("  memory      peak not available on this system")
    else:
        lines.append(f"  memory      peak {snapshot.peak_rss_mb:.0f} MiB")
    if snapshot.stages:
        lines += _stage_table(snapshot)
    return "\n".join(lines)


def _stage_table(snapshot: Snapshot) -> list[str]:
    totals = [name for name in snapshot.stages if name.startswith(TOTAL)]
    others = [name for name in snapshot.stages if name not in (*_FIRST, *totals)]
    names = [name for name in (*_FIRST, *others, *totals) if name in snapshot.stages]
    width = max(len("stage (ms)"), *(len(name) for name in names))
    lines = [f"  {'stage (ms)':<{width}} {'p50':>9} {'p95':>9} {'p99':>9} {'values':>9}"]
    for name in names:
        stats = snapshot.stages[name]
        lines.append(
            f"  {name:<{width}} {stats.p50:9.2f} {stats.p95:9.2f} {stats.p99:9.2f} {stats.count:9d}"
        )
    return lines


def _counts(values: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in values.items()) or "nothing"
