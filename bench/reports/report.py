"""What every bench program shares: tables, their block in a Markdown file, errors and exit codes.

<!-- bench:NAME -->
...replaced...
<!-- /bench -->
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

BAD_INPUT = 2  # exit codes, as run_live.py has them
NO_MODEL = 4
NO_OUTPUT = 5


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
        rule = ("---", *("---:" for _ in self.headers[1:]))
        lines = (self.headers, rule, *self.rows)
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def number(value: float | None, digits: int = 3) -> str:
    """A figure as a cell; a dash where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"


def mean_and_error(values: Sequence[float]) -> tuple[float, float | None]:
    """Return the mean of values, and its standard error; of one value there is none."""
    spread = stdev(values) / len(values) ** 0.5 if len(values) > 1 else None
    return fmean(values), spread


def number_and_error(values: Sequence[float]) -> str:
    """A mean with its standard error as a cell; a dash without values."""
    if not values:
        return number(None)
    mean, error = mean_and_error(values)
    return number(mean) if error is None else f"{number(mean)} ± {number(error)}"


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
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


def write_block(path: Path, name: str, body: str | None) -> None:
    """Replace one marked block of a Markdown file; ReportError where file or block is missing.

    `body`: None only looks whether it could be.
    """
    try:
        text = path.read_text(encoding="utf-8")
        changed = replace_block(text, name, body or "")
        if body is None:
            with path.open("ab"):
                pass
        elif changed != text:
            path.write_text(changed, encoding="utf-8")
    except OSError as error:
        raise ReportError(f"{path}: cannot be rewritten: {error.strerror}") from error
    except ReportError as error:
        raise ReportError(f"{path}: {error}") from error


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a report: a table or finished text, under a title where there is one.

    Attributes:
        in_page: Whether the page gets it too, and not the terminal alone.
    """

    body: Table | str
    title: str = ""
    in_page: bool = True

    def plain(self) -> str:
        text = self.body if isinstance(self.body, str) else self.body.plain()
        return f"{self.title}\n{text}" if self.title else text

    def markdown(self) -> str:
        text = self.body if isinstance(self.body, str) else self.body.markdown()
        return f"**{self.title}**\n\n{text}" if self.title else text


@dataclass(frozen=True, slots=True)
class Report:
    """What a program found.

    Attributes:
        head: Where and with what the figures were taken, a line each.
    """

    head: Sequence[str]
    sections: Sequence[Section]

    def plain(self) -> str:
        return "\n\n".join(["\n".join(self.head), *(part.plain() for part in self.sections)])

    def markdown(self) -> str:
        head = "\n".join(f"- {line}" for line in self.head)
        return "\n\n".join([head, *(part.markdown() for part in self.sections if part.in_page)])


def publish(
    report: Report,
    markdown: Path | None,
    block: str,
    json_path: Path | None = None,
    data: object = None,
) -> None:
    """Print a report, and write it into its block of a Markdown file if one is named.

    `data`, everything that was measured, goes to `json_path` first: a wrong page must not cost a
    long measurement.

    Raises:
        ReportError: A file cannot be written, or the block is missing.
    """
    print(report.plain())
    if json_path is not None:
        try:
            json_path.parent.mkdir(parents=True, exist_ok=True)
            json_path.write_text(json.dumps(data, indent=1), encoding="utf-8")
        except OSError as error:
            raise _unwritable(json_path, error) from error
    if markdown is not None:
        write_block(markdown, block, report.markdown())


def report_parser(block: str, doc: str | None) -> argparse.ArgumentParser:
    """Return the parser of the program `bench.BLOCK`, with `--markdown FILE` for `publish`."""
    parser = argparse.ArgumentParser(prog=f"python -m bench.{block}", description=doc)
    add_output(parser, "--markdown", block)
    return parser


def add_output(parser: argparse.ArgumentParser, option: str, block: str = "") -> None:
    """Add an option for a file of figures, or for a Markdown file with a block for them.

    Where it cannot be written the program ends at once with one line and `NO_OUTPUT`: what it
    measures can take hours.
    """
    words = f"replace its block bench:{block}" if block else None
    parser.add_argument(
        option, type=Path, metavar="FILE", help=words, action=_OutputAction, block=block
    )


class _OutputAction(argparse.Action):
    """Takes the path of a file that can be written."""

    def __init__(self, *args: Any, block: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._block = block

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        try:
            _check_output(values, self._block)
        except ReportError as error:
            parser.exit(NO_OUTPUT, f"error: {option_string} {error}\n")
        setattr(namespace, self.dest, values)


def _check_output(path: Path, block: str) -> None:
    """Raise a ReportError where a file cannot be written, or lacks its block; it stays as it is."""
    if block:
        write_block(path, block, None)
        return
    new = not path.exists()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab"):
            pass
        if new:
            path.unlink()
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> ReportError:
    return ReportError(f"{path}: cannot be written: {error.strerror}")


def exit_code(work: Callable[[], object], codes: Mapping[type[Exception], int]) -> int:
    """Do a program's work; an expected error becomes one line and its exit code.

    Of several `codes` that fit the first counts. A `ReportError` is `NO_OUTPUT` in every program.
    """
    known: dict[type[Exception], int] = {**codes, ReportError: NO_OUTPUT}
    try:
        work()
    except tuple(known) as error:
        lines = [line.strip() for line in str(error).splitlines()]
        print(f"error: {' '.join(filter(None, lines))}", file=sys.stderr)
        return next(code for kind, code in known.items() if isinstance(error, kind))
    return 0


def faults_code(work: Callable[[], Iterable[str]], codes: Mapping[type[Exception], int]) -> int:
    """Do a program's work, which says what is not as it should be: a line each, and exit code 1.

    An expected error comes first, as in `exit_code`.
    """
    faults: list[str] = []
    code = exit_code(lambda: faults.extend(work()), codes)
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    return code or (1 if faults else 0)
