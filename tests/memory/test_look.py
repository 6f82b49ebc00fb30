"""Likeness of a mask to what is remembered."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from samcam.memory import appearance
from samcam.memory.look import F32, cosine


@dataclass(frozen=True)
class Seen:
    obj_ptr: F32
    colours: F32 | None
    appearance: float = 1.0


def seen(
    pointer: tuple[float, float], shares: tuple[float, ...] | None, likeness: float = 1.0
) -> Seen:
    colours = None if shares is None else np.sqrt(np.array(shares, np.float32))
    return Seen(np.array(pointer, np.float32), colours, likeness)


def test_the_most_similar_memory_counts() -> None:
    me = seen((1, 0), (0.5, 0.5, 0))
    same, other = seen((2, 0), (0.5, 0.5, 0)), seen((0, 1), (0, 0, 1))
    assert appearance(me, [other]) == pytest.approx(0)
    assert appearance(me, [other, same]) == pytest.approx(1)
    assert appearance(me, [seen((0, 1), (0.5, 0.5, 0))]) == pytest.approx(0.8)
    assert appearance(me, [seen((-1, 0), (1, 0, 0))]) == pytest.approx(0.8 * np.sqrt(0.5))


def test_a_likeness_is_handed_down() -> None:
    me = seen((1, 0), (0.5, 0.5, 0))
    assert appearance(me, [seen((1, 0), (0.5, 0.5, 0), 0.7)]) == pytest.approx(0.7)
    # it need not be the most similar one: who looked more like the object vouches for more
    prompted, latest = seen((1, 0), (0.3, 0.7, 0)), seen((1, 0), (0.49, 0.51, 0), 0.6)
    assert appearance(me, [latest, prompted]) == appearance(me, [prompted]) > 0.9


@pytest.mark.parametrize(("steps", "low", "high"), [(3, 0.6, 0.72), (20, 0.9, 1)])
def test_a_quick_change_costs_more_likeness_than_a_slow_one(
    steps: int, low: float, high: float
) -> None:
    known = [seen((1, 0), (1, 0))]
    for angle in np.linspace(0, np.pi / 2, steps + 1)[1:]:
        now = seen((1, 0), (np.cos(angle) ** 2, np.sin(angle) ** 2))
        likeness = appearance(now, known[-6:])
        assert likeness is not None
        known.append(Seen(now.obj_ptr, now.colours, likeness))
    assert low < known[-1].appearance < high
    latest = Seen(known[-2].obj_ptr, known[-2].colours)  # what likeness to any memory would say
    assert appearance(known[-1], [latest]) == pytest.approx(
        0.2 + 0.8 * np.cos(np.pi / 2 / steps), abs=1e-4
    )


def test_without_colours_nothing_is_said() -> None:
    me, blind = seen((1, 0), (1, 0)), seen((1, 0), None)
    assert appearance(me, []) is None
    assert appearance(blind, [me]) is None
    assert appearance(me, [blind]) is None


def test_cosine_of_a_zero_vector_is_none_at_all() -> None:
    assert cosine(np.zeros(2, np.float32), np.ones(2, np.float32)) == 0
    assert cosine(np.array((3, 0), np.float32), np.array((1, 0), np.float32)) == pytest.approx(1)
