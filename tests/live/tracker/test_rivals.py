"""Several objects: a mask that is rather another one's is refused, one of both is parted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from samcam.engines.fake_backend import fake_networks
from samcam.guides import Box
from samcam.live.commands import GuideBox
from samcam.live.frames import F32, U8, FrameResult
from samcam.live.masks import logits_box
from samcam.live.tracker.identity.rivals import (
    TOGETHER_S,
    Place,
    contenders,
    owner,
    parted,
    parts,
)
from samcam.live.tracker.presets import PRESETS, preset
from samcam.live.tracker.tracker import Tracker
from tests.helpers.tracker_networks import SIZE, Script, click, frame
from tests.helpers.tracker_plans import BOX, FIX, run, same, seen_on, taking_any


def box(x: float, size: float = 10) -> F32:
    return np.array((x, 20, x + size, 30), np.float32)


@dataclass
class Colours:
    """What something looks like: one of three colours."""

    which: int
    obj_ptr: F32 = field(default_factory=lambda: np.ones(4, np.float32))
    appearance: float = 1.0

    @property
    def colours(self) -> F32:
        return np.eye(3, dtype=np.float32)[self.which]


RED, BLUE = Colours(0), Colours(1)
GREY = (128, 128, 128)  # of a picture


@pytest.mark.parametrize(
    ("mask", "likeness", "rivals", "expected"),
    [
        (box(20), 1.0, [Place(2, box(40), (RED,))], []),
        (box(20), 1.0, [Place(2, box(21), (RED,)), Place(3, box(22), (BLUE, RED))], [2, 3]),
        (box(20), 1.0, [Place(2, box(21), (BLUE,))], []),  # it only passes there
        (box(20), 0.25, [Place(2, box(21), (BLUE,))], [2]),
        (box(20), None, [Place(2, box(21), (BLUE,))], [2]),  # nobody knows what it looks like
        (box(20), 1.0, [Place(2, box(21))], [2]),
    ],
)
def test_a_mask_may_be_theirs_where_they_are_and_that_looks_like_it(
    mask: F32, likeness: float | None, rivals: list[Place], expected: list[int]
) -> None:
    assert [one.object_id for one in contenders(mask, RED, likeness, rivals)] == expected


@pytest.mark.parametrize(
    ("mask", "own", "rivals", "expected"),
    [
        (box(20), box(20), [], None),
        (box(40), box(20), [Place(2, box(40))], 2),
        (box(40), None, [Place(2, box(41))], 2),  # a lost one takes none
        (box(30), box(30), [Place(2, box(30.2))], None),
        (box(30), box(30.2), [Place(2, box(30))], None),
        (box(40), box(20), [Place(2, box(42)), Place(3, box(40))], 3),
    ],
)
def test_a_mask_is_whose_place_it_fits(
    mask: F32, own: F32 | None, rivals: list[Place], expected: int | None
) -> None:
    assert owner(mask, own, rivals) == owner(mask, own, rivals[::-1]) == expected


NOWHERE = np.zeros(4, np.float32)


def test_only_what_was_not_expected_is_parted() -> None:
    near, inside = Place(2, box(32)), Place(3, np.array((22, 22, 26, 26), np.float32))
    assert parts(box(20, 22), box(20), [near, inside, Place(4, NOWHERE)]) == [near]
    assert parts(box(20), box(20), [near, inside]) == []


def test_a_mask_of_both_is_parted_between_them() -> None:
    both = np.full((64, 64), -6, np.float32)
    both[20:30, 20:42] = 6
    whole = np.array((0, 0, 64, 64), np.float32)
    left = parted(both, whole, box(20), box(32))
    right = parted(both, whole, box(32), box(20))
    np.testing.assert_allclose(logits_box(left)[[0, 2]], (20, 31), atol=0.6)
    np.testing.assert_allclose(logits_box(right)[[0, 2]], (31, 42), atol=0.6)
    assert not ((left > 0) & (right > 0)).any()


class Pair:
    """Two objects at rest; the test says what the decoder answers to which call."""

    def __init__(
        self,
        ids: tuple[int, int],
        rivals: bool = True,
        colours: Sequence[tuple[int, int, int]] = (GREY, GREY),
        **more: Any,
    ) -> None:
        self.first, self.second = Script(), Script()
        self._scripts = dict(zip(sorted(ids), (self.first, self.second), strict=True))
        if ids[0] > ids[1]:
            self._scripts = dict(zip(sorted(ids), (self.second, self.first), strict=True))
        self._turn: list[Script] = []
        networks = fake_networks(decoder=lambda feeds: self._next().decode(feeds))
        self.tracker = Tracker(networks, replace(preset("default"), rivals=rivals, **more))
        self._ids, self._index = ids, 0
        self.picture = np.full((SIZE[1], SIZE[0], 3), 128, np.uint8)
        for colour, mask in zip(colours, (A, B), strict=True):
            x1, y1, x2, y2 = (round(edge) for edge in px(*mask))
            self.picture[y1:y2, x1:x2] = colour
        for object_id, x in zip(ids, (250, 450), strict=True):
            self.tracker.prompt(click(x, 250, object_id=object_id))
        self.show(((20, 20, 10),) * 4, ((40, 20, 10),) * 4)

    def _next(self) -> Script:
        """Whose turn it is; the last one is asked twice where it is corrected."""
        return self._turn.pop(0) if len(self._turn) > 1 else self._turn[0]

    def show(self, first: object, second: object, times: int = 1) -> FrameResult:
        self.first.masks, self.second.masks = first, second  # type: ignore[assignment]
        for _ in range(times):
            self._turn = list(self._scripts.values())
            result = self.tracker.step(frame(self._index, self.picture))
            self._index += 1
        return result

    def lefts(self, result: FrameResult) -> list[int | None]:
        """Columns where the masks begin, the first object's first; None: not seen."""
        found = {
            one.object_id: None
            if one.mask_logits is None
            else round(float(logits_box(one.mask_logits)[0]))
            for one in result.objects
        }
        return [found[object_id] for object_id in self._ids]


A, B = (20, 20, 10), (40, 20, 10)
BOTH_IDS = pytest.mark.parametrize("ids", [(1, 2), (2, 1)])


@BOTH_IDS
def test_the_next_candidate_is_taken_or_nothing(ids: tuple[int, int]) -> None:
    pair = Pair(ids)
    assert pair.lefts(pair.show((A,) * 4, (B,) * 4, times=8)) == [20, 40]
    assert pair.lefts(pair.show((B, B, A, B), (B,) * 4)) == [20, 40]
    result = pair.show((B,) * 4, (B,) * 4)
    assert pair.lefts(result) == [None, 40]
    (refused,) = [one for one in result.objects if one.object_id == ids[0]]
    assert f"it is object {ids[1]}" in refused.reason
    assert not refused.admitted


@BOTH_IDS
def test_objects_that_change_places_are_refused_both(ids: tuple[int, int]) -> None:
    pair = Pair(ids)
    pair.show((A,) * 4, (B,) * 4, times=8)
    assert pair.lefts(pair.show((B,) * 4, (A,) * 4)) == [None, None]


def test_a_thing_that_was_clicked_twice_is_learnt_twice() -> None:
    pair = Pair((1, 2))
    pair.show((A,) * 4, (B,) * 4, times=8)  # the id means another thing then
    pair.tracker.remove(2)
    pair.tracker.prompt(click(250, 250, object_id=2))
    for _ in range(20):
        result = pair.show((A,) * 4, (A,) * 4)
        assert pair.lefts(result) == [20, 20]
        assert all(one.admitted for one in result.objects)


def test_a_thing_that_was_clicked_twice_leaves_the_picture_and_comes_back() -> None:
    """Where both only coast off, nobody has seen them apart."""
    pair = Pair((1, 2))
    pair.show((A,) * 4, (B,) * 4, times=8)
    pair.tracker.remove(2)
    pair.tracker.prompt(click(250, 250, object_id=2))
    for x in (*range(20, 64, 2), *([64] * 40)):
        pair.show(((x, 20, 10),) * 4, ((x, 20, 10),) * 4)
        assert not any(track.rivals for track in pair.tracker._timeline.tracks.values())
    result = pair.show((A,) * 4, (A,) * 4, times=6)
    assert pair.lefts(result) == [20, 20]


def test_what_came_together_is_shared_for_some_seconds_only() -> None:
    """The user says that an object is where another one is; both were seen apart before."""
    pair = Pair((1, 2))
    pair.show((A,) * 4, (B,) * 4, times=8)
    pair.tracker.prompt(click(250, 250, object_id=2))
    pair.show((A,) * 4, (A,) * 4)
    shared = pair.show((A,) * 4, (A,) * 4)
    assert pair.lefts(shared) == [20, 20]
    assert not any(one.admitted for one in shared.objects)
    result = pair.show((A,) * 4, (A,) * 4, times=round(TOGETHER_S * 30) + 6)
    assert pair.lefts(result) == [20, 20]
    assert all(one.admitted for one in result.objects)


@BOTH_IDS
def test_what_slides_onto_another_object_is_lost(ids: tuple[int, int]) -> None:
    pair = Pair(ids)
    pair.show((A,) * 4, (B,) * 4, times=8)
    for x in range(39, 19, -1):
        pair.show((A,) * 4, ((x, 20, 10),) * 4)
    assert pair.lefts(pair.show((A,) * 4, (A,) * 4, times=60)) == [20, None]


class LookAlike:
    """A guide that goes by looks, and has taken the other one for its object."""

    def start(self, picture: U8, box: Box) -> None:
        """Take no notice."""

    def update(self, picture: U8) -> tuple[Box, float]:
        return px(*B), 0.9


def px(x: int, y: int, edge: int) -> Box:
    """Return the box of a scripted mask in source pixels."""
    across, down = SIZE[0] / 64, SIZE[1] / 64
    return x * across, y * down, (x + edge) * across, (y + edge) * down


def test_a_detector_has_a_say_in_whose_a_mask_is() -> None:
    pair = Pair((1, 2), guide="boxes")
    pair.show((A,) * 4, (B,) * 4, times=8)
    pair.tracker.apply(GuideBox(1, *px(*B)))
    result = pair.show((B,) * 4, (B,) * 4)
    assert pair.lefts(result) == [40, 40]
    assert result.objects[0].admitted
    pair.tracker.apply(GuideBox(1, *px(*B)))
    result = pair.show((B,) * 4, (B,) * 4)
    assert [one.admitted for one in result.objects] == [True, False], "the other one may hide it"


def test_a_guide_that_goes_by_looks_has_none() -> None:
    pair = Pair((1, 2), make_guide=LookAlike)
    pair.show((A,) * 4, (B,) * 4, times=8)
    assert pair.lefts(pair.show((B,) * 4, (B,) * 4)) == [None, 40]


def test_one_object_alone_is_as_without_the_rule() -> None:
    settings = taking_any(preset("default"))
    plan = {2: [BOX], 9: [FIX], 14: [seen_on(10, FIX)]}
    assert all(same(run(settings, plan), run(replace(settings, rivals=False), plan), 5))


def test_without_the_rule_any_mask_is_taken() -> None:
    pair = Pair((1, 2), rivals=False)
    pair.show((A,) * 4, (B,) * 4, times=8)
    assert pair.lefts(pair.show((B,) * 4, (B,) * 4)) == [40, 40]


def test_a_removed_object_has_no_claim() -> None:
    pair = Pair((1, 2))
    pair.show((A,) * 4, (B,) * 4, times=8)
    pair.tracker.remove(2)
    pair._ids, pair._scripts = (1,), {1: pair.first}  # type: ignore[assignment]
    assert pair.lefts(pair.show((B,) * 4, ())) == [40]


def test_only_default_and_what_builds_on_it_compare_objects() -> None:
    assert [name for name, one in PRESETS.items() if one.rivals] == ["default", "long"]
    with pytest.raises(ValueError, match="rivals: the preset sam2 has no motion gate"):
        replace(PRESETS["sam2"], rivals=True)
