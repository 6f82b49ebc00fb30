"""What every sink but the window promises, whoever it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from samcam.live.effects.effects import Effect
from samcam.live.feed.compositor import compose
from samcam.live.frames import Composite
from samcam.live.sinks.base import FrameSink
from samcam.live.sinks.choose import SinkOptions, open_sinks, parse_sinks
from samcam.live.sinks.masks import MasksSink
from samcam.live.sinks.null import NullSink
from samcam.live.sinks.video import VideoOptions, VideoSink
from samcam.live.sources.base import SourceInfo
from tests.helpers.results import MS, disc_logits, result_of, stand_in, textured, tracked

SIZE = (96, 64)
INFO = SourceInfo("here", "demo", SIZE, 25.0, None, live=False)
MakeSink = Callable[[Path], FrameSink]

SINKS: dict[str, MakeSink] = {
    "video": lambda folder: VideoSink(folder / "a" / "b.mp4", 25.0, VideoOptions()),
    "masks": lambda folder: MasksSink(folder / "a" / "b"),
    "none": lambda _: NullSink(),
}


@pytest.fixture(params=SINKS)
def make_sink(request: pytest.FixtureRequest) -> MakeSink:
    return SINKS[request.param]


def composite(index: int = 0, size_wh: tuple[int, int] = SIZE) -> Composite:
    objects = (tracked(1, disc_logits(32, 16, 16, 7)),)
    return compose(result_of(textured(size_wh), objects, index, index * 40 * MS), Effect())


def test_the_suite_covers_every_kind() -> None:
    kinds = {spec.kind for spec in parse_sinks(("window", "video:a.mp4", "masks:b", "none"))}
    assert kinds - {"window"} == set(SINKS)


def test_the_name_is_what_the_user_wrote(make_sink: MakeSink, tmp_path: Path) -> None:
    made = make_sink(tmp_path)
    made.close()
    kind = made.name.partition(":")[0]
    opened = open_sinks((made.name,), SinkOptions(), INFO).workers[0]
    assert opened.name == made.name
    assert opened.thread_name == f"sink-{kind}"
    assert opened.finish(None) is None


def test_pictures_come_read_only_and_stay_unchanged(make_sink: MakeSink, tmp_path: Path) -> None:
    given = composite()
    feed, ids = given.feed_bgr.copy(), given.object_ids.copy()
    sink = make_sink(tmp_path)
    sink.put(given)
    sink.close()
    np.testing.assert_array_equal(given.feed_bgr, feed)
    np.testing.assert_array_equal(given.object_ids, ids)


def test_closing_twice_is_harmless(make_sink: MakeSink, tmp_path: Path) -> None:
    sink = make_sink(tmp_path)
    sink.put(composite())
    sink.close()
    sink.close()


def test_closing_before_any_picture_leaves_nothing_behind(
    make_sink: MakeSink, tmp_path: Path
) -> None:
    """An output of a run that never had a frame is no broken file."""
    sink = make_sink(tmp_path)
    sink.close()
    assert [path for path in tmp_path.rglob("*.*") if path.stat().st_size == 0] == [
        path for path in tmp_path.rglob("tracks.jsonl")
    ]


def test_gaps_stand_ins_and_another_size_are_taken(make_sink: MakeSink, tmp_path: Path) -> None:
    """A live source drops frames, loses its signal and may come back with another size."""
    sink = make_sink(tmp_path)
    first = composite(3)
    for item in (first, composite(9), stand_in(first, 900 * MS), composite(40, (65, 33))):
        sink.put(item)
    sink.close()
