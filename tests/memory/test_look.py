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


def seen(pointer: tuple[float, float], shares: tuple[float, ...] | None) -> Seen:
    colours = None if shares is None else np.sqrt(np.array(shares, np.float32))
    return Seen(np.array(pointer, np.float32), colours)


def test_the_most_similar_memory_counts() -> None:
    me = seen((1, 0), (0.5, 0.5, 0))
    same, other = seen((2, 0), (0.5, 0.5, 0)), seen((0, 1), (0, 0, 1))
    assert appearance(me, [other]) == pytest.approx(0)
    assert appearance(me, [other, same]) == pytest.approx(1)
    assert appearance(me, [seen((0, 1), (0.5, 0.5, 0))]) == pytest.approx(0.8)
    assert appearance(me, [seen((-1, 0), (1, 0, 0))]) == pytest.approx(0.8 * np.sqrt(0.5))


def test_without_colours_nothing_is_said() -> None:
    me, blind = seen((1, 0), (1, 0)), seen((1, 0), None)
    assert appearance(me, []) is None
    assert appearance(blind, [me]) is None
    assert appearance(me, [blind]) is None


def test_cosine_of_a_zero_vector_is_none_at_all() -> None:
    assert cosine(np.zeros(2, np.float32), np.ones(2, np.float32)) == 0
    assert cosine(np.array((3, 0), np.float32), np.array((1, 0), np.float32)) == pytest.approx(1)
