"""The slot: order, drops, room, closing, errors that cross threads."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from samcam.live.slots import Closed, Slot
from tests.helpers.bounds import WAIT_S


class Worker:
    """Runs one call in a thread and keeps its answer or its error."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self.answer: Any = None
        self.error: BaseException | None = None
        self._call = call
        self._thread = threading.Thread(target=self._run, name="slot-test")
        self._thread.start()

    def _run(self) -> None:
        try:
            self.answer = self._call()
        except BaseException as error:
            self.error = error

    def join(self) -> Worker:
        """Wait for the call to end."""
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive(), "the call is stuck"
        return self


class WatchedSlot(Slot[int]):
    """A slot that says when someone is about to wait on it."""

    def __init__(self, mode: Any) -> None:
        super().__init__(mode)
        self.waiting = threading.Event()
        wait_for = self._changed.wait_for

        def watched(predicate: Callable[[], bool], timeout: float | None = None) -> bool:
            if not predicate():
                self.waiting.set()
            return wait_for(predicate, timeout)

        self._changed.wait_for = watched  # type: ignore[assignment, method-assign]


def test_newest_wins_counts_what_it_drops() -> None:
    slot: Slot[int] = Slot("newest")
    assert [slot.put(i) for i in range(5)] == [True] * 5
    assert slot.get(0) == 4
    assert slot.dropped == 4
    slot.put(5)
    assert slot.get(0) == 5
    assert slot.dropped == 4


def test_get_returns_none_on_time_out() -> None:
    assert Slot[int]("newest").get(0) is None
    assert Slot[int]("blocking").get(0.001) is None


def test_an_item_that_is_false_is_still_an_item() -> None:
    slot: Slot[int] = Slot("blocking")
    slot.put(0)
    assert not slot.put(1, timeout=0)
    assert slot.get(0) == 0


def test_blocking_delivers_everything_in_order() -> None:
    slot: Slot[int] = Slot("blocking")
    got: list[int] = []

    def read() -> None:
        while True:
            item = slot.get(WAIT_S)
            assert item is not None
            got.append(item)

    reader = Worker(read)
    for i in range(500):
        assert slot.put(i, WAIT_S)
    slot.close()
    assert isinstance(reader.join().error, Closed)
    assert got == list(range(500))
    assert slot.dropped == 0


def test_blocking_put_times_out_and_keeps_the_unread_item() -> None:
    slot: Slot[int] = Slot("blocking")
    assert slot.put(1)
    assert not slot.put(2, timeout=0.001)
    assert slot.get(0) == 1
    assert slot.get(0) is None


def test_put_wakes_a_waiting_get() -> None:
    slot = WatchedSlot("newest")
    reader = Worker(lambda: slot.get(WAIT_S))
    assert slot.waiting.wait(WAIT_S)
    slot.put(7)
    assert reader.join().answer == 7


def test_get_wakes_a_waiting_put() -> None:
    slot = WatchedSlot("blocking")
    slot.put(1)
    writer = Worker(lambda: slot.put(2))
    assert slot.waiting.wait(WAIT_S)
    assert slot.get(0) == 1
    assert writer.join().answer is True
    assert slot.get(0) == 2


@pytest.mark.parametrize("mode", ["newest", "blocking"])
def test_close_wakes_a_waiting_get(mode: str) -> None:
    slot = WatchedSlot(mode)
    reader = Worker(lambda: slot.get())
    assert slot.waiting.wait(WAIT_S)
    slot.close()
    assert isinstance(reader.join().error, Closed)


def test_close_wakes_a_waiting_put() -> None:
    slot = WatchedSlot("blocking")
    slot.put(1)
    writer = Worker(lambda: slot.put(2))
    assert slot.waiting.wait(WAIT_S)
    slot.close()
    assert isinstance(writer.join().error, Closed)
    assert slot.get(0) == 1, "the last item put before the end is still delivered"


@pytest.mark.parametrize("mode", ["newest", "blocking"])
def test_put_after_close_says_so(mode: Any) -> None:
    slot: Slot[int] = Slot(mode)
    slot.close()
    assert slot.closed
    with pytest.raises(Closed):
        slot.put(1)


@pytest.mark.parametrize("mode", ["newest", "blocking"])
def test_after_a_clean_end_the_last_item_is_delivered_once(mode: Any) -> None:
    slot: Slot[int] = Slot(mode)
    slot.put(3)
    slot.close()
    slot.close()
    assert slot.get() == 3
    with pytest.raises(Closed):
        slot.get()


def test_an_error_raises_at_once_with_the_producers_traceback() -> None:
    slot: Slot[int] = Slot("newest")

    def the_producer_breaks() -> None:
        slot.put(1)
        try:
            raise OSError("unplugged")
        except OSError as error:
            slot.close(error)

    Worker(the_producer_breaks).join()
    lengths = []
    for _ in range(3):
        with pytest.raises(OSError, match="unplugged") as caught:
            slot.get(0)
        frames = traceback.extract_tb(caught.value.__traceback__)
        assert "the_producer_breaks" in [frame.name for frame in frames]
        lengths.append(len(frames))
    assert len(set(lengths)) == 1, "the traceback grows with every read"


def test_a_blocking_slot_gives_its_last_item_before_the_error() -> None:
    """A recording that breaks off lost the frame before the break, on some runs."""
    slot: Slot[int] = Slot("blocking")
    slot.put(1)
    slot.close(OSError("broken file"))
    assert slot.get(0) == 1
    for _ in range(2):
        with pytest.raises(OSError, match="broken file"):
            slot.get(0)


def test_the_first_error_wins_also_over_a_clean_close() -> None:
    slot: Slot[int] = Slot("newest")
    slot.close()
    slot.close(ValueError("first"))
    slot.close(KeyError("second"))
    slot.close()
    with pytest.raises(ValueError, match="first"):
        slot.get()


def test_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="expected newest or blocking, got 'latest'"):
        Slot[int]("latest")  # type: ignore[arg-type]
