"""Figures of a run: timings, progress, the summary at its end."""

from samcam.live.metrics.file import MetricsWriter
from samcam.live.metrics.metrics import CAPTURE_WAIT, COMPOSE, Metrics
from samcam.live.metrics.progress import Progress
from samcam.live.metrics.summary import format_summary

__all__ = [
    "CAPTURE_WAIT",
    "COMPOSE",
    "Metrics",
    "MetricsWriter",
    "Progress",
    "format_summary",
]
