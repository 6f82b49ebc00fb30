"""Which object the next click is for, and which there are; main thread only."""

from __future__ import annotations

from collections.abc import Collection

from samcam.live.frames import MAX_OBJECT_ID, MIN_OBJECT_ID


class ObjectChoice:
    """Object 1 at first.

    Attributes:
        object_id: Which object the next click is for.
        clicked: Which one the last prompt was for; None: there was none since all were forgotten.
    """

    def __init__(self) -> None:
        self.object_id = MIN_OBJECT_ID
        self.clicked: int | None = None
        self._known: frozenset[int] = frozenset()
        self._awaited: set[int] = set()  # prompted, not yet known

    @property
    def present(self) -> frozenset[int]:
        """Objects that are tracked or on their way."""
        return self._known | self._awaited

    def learn(self, object_ids: Collection[int]) -> None:
        """Take over which objects the tracker knows as of the newest picture."""
        self._known = frozenset(object_ids)
        self._awaited -= self._known

    def prompted(self, object_id: int) -> None:
        """Note that a prompt for an object is on its way."""
        self.clicked = object_id
        self._awaited |= {object_id} - self._known

    def forget(self, object_id: int) -> None:
        """Note that an object is to go; it stays the one that the next click is for."""
        self._awaited.discard(object_id)

    def forget_all(self) -> None:
        """Note that all are to go; the next click is for the first one again."""
        self._awaited.clear()
        self.object_id, self.clicked = MIN_OBJECT_ID, None

    def free(self) -> int | None:
        """Return the smallest number that no object has; None where all are taken."""
        numbers = range(MIN_OBJECT_ID, MAX_OBJECT_ID + 1)
        return next((number for number in numbers if number not in self.present), None)
