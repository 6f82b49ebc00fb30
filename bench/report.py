"""Tables of figures: plain for the terminal, Markdown for the docs, written between markers.

<!-- bench:NAME -->
...replaced...
<!-- /bench -->
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


class ReportError(ValueError):
    """A block cannot be replaced; the message names the file and the marker."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of finished text cells; the first column is left-aligned, the others right."""

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.headers):
                raise ValueError(f"row: expected {len(self.headers)} cells, got {row}")

    def plain(self) -> str:
        """Aligned columns for a terminal."""
        lines = [self.headers, *self.rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.headers))]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if i == 0 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        )

    def markdown(self) -> str:
        """A Markdown table."""
        rule = ("---", *("---:" for _ in self.headers[1:]))
        lines = (self.headers, rule, *self.rows)
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def number(value: float | None, digits: int = 3) -> str:
    """A figure as a cell; a dash where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Make a `Table` from any sequences of cells."""
    return Table(tuple(headers), tuple(tuple(row) for row in rows))


def replace_block(text: str, name: str, body: str) -> str:
    """Replace what stands between the markers of the block `name`; the markers stay.

    Raises:
        ReportError: The block is missing, or there is more than one.
    """
    marker = re.escape(f"<!-- bench:{name} -->")
    # The body may not run over the start of another block: then this one's end is missing.
    inside = r"(?:(?!<!-- bench:).)*?"
    pattern = re.compile(f"({marker}\n){inside}(<!-- /bench -->)", re.DOTALL)
    count = len(re.findall(marker, text))
    if count != 1 or len(pattern.findall(text)) != 1:
        raise ReportError(
            f"block {name}: expected one <!-- bench:{name} --> line followed by "
            f"<!-- /bench -->, found {count}"
        )
    return pattern.sub(lambda match: f"{match[1]}{body.strip()}\n{match[2]}", text)


def write_block(path: Path, name: str, body: str) -> None:
    """Replace one marked block of a Markdown file.

    Raises:
        ReportError: The file or the block is missing.
    """
    try:
        text = path.read_text(encoding="utf-8")
        changed = replace_block(text, name, body)
        if changed != text:
            path.write_text(changed, encoding="utf-8")
    except OSError as error:
        raise ReportError(f"{path}: cannot be rewritten: {error.strerror}") from error
    except ReportError as error:
        raise ReportError(f"{path}: {error}") from error
