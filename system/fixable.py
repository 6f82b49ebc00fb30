"""Errors that say what is wrong and, apart from it, what to do about it."""

from __future__ import annotations


class FixableError(Exception):
    """The message has both; a table may show each in its place.

    Attributes:
        reason: What is wrong, in one line.
        fix: What to do about it, with the command where one helps; "" where that is unknown.
    """

    def __init__(self, reason: str, fix: str = "", where: str = "") -> None:
        """Make the error; the message begins with `where`, such as "--output window: "."""
        super().__init__(where + (f"{reason}: {fix}" if fix else reason))
        self.reason = reason
        self.fix = fix
