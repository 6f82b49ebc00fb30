"""The tables of the hard cases: a row per setup, a column per case."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from bench.cases.results import Cell, Results
from bench.cases.scoring import RECOVERY_S, CaseScore
from bench.reports.environment import Environment
from bench.reports.report import Report, Section, Table, number_and_error, table

Show = Callable[[Sequence[CaseScore]], str | None]


def _overlap(scores: Sequence[CaseScore]) -> str:
    return number_and_error([score.overlap for score in scores])


def _recovered(scores: Sequence[CaseScore]) -> str | None:
    returns = [value for score in scores for value in score.returns]
    if not returns:
        return None
    noticed = [value for value in returns if value is not None]
    median = f", {np.median(noticed):.2f} s" if noticed else ""
    return f"{len(noticed)} of {len(returns)}{median}"


def _false_masks(scores: Sequence[CaseScore]) -> str | None:
    known = [score.false_masks for score in scores if score.false_masks is not None]
    return number_and_error(known) if known else None


def _on_decoy(scores: Sequence[CaseScore]) -> str | None:
    known = [score.on_decoy for score in scores if score.on_decoy is not None]
    return number_and_error(known) if known else None


def _judged(cells: Sequence[Cell]) -> list[CaseScore]:
    return [cell.score for cell in cells if cell.score is not None]


def _by_case(results: Results, cases: Sequence[str], show: Show) -> Table | None:
    """None where no case has such a figure."""
    found: dict[str, dict[str, str]] = {}
    clips: dict[str, int] = {}
    for label in results.labels():
        for case in cases:
            cells = results.of(label, case)
            if scores := _judged(cells):
                clips[case] = max(clips.get(case, 0), len(scores))
                if (text := show(scores)) is not None:
                    found.setdefault(label, {})[case] = text
    used = [case for case in cases if any(case in row for row in found.values())]
    if not used:
        return None
    rows = [
        [label, *(_with_count(results, label, case, row, clips[case]) for case in used)]
        for label, row in found.items()
    ]
    return table(("setup", *(f"{case} ({clips[case]})" for case in used)), rows)


def _with_count(results: Results, label: str, case: str, row: dict[str, str], most: int) -> str:
    """A cell; with its number of clips where others have more."""
    if case not in row:
        return "-"
    count = len(_judged(results.of(label, case)))
    return row[case] if count == most else f"{row[case]} ({count} only)"


def hard_cases_report(
    results: Results, cases: Sequence[str], environment: Environment, threads: int
) -> Report:
    """All that was measured so far; `cases` gives the columns' order."""
    commits = ", ".join(dict.fromkeys(cell.commit for cell in results.cells.values()))
    head = [results.model, f"commit {commits}", *environment.lines()[1:], f"threads {threads}"]
    shown: list[tuple[str, Show]] = [
        ("Overlap where the object is seen (clips), mean ± standard error", _overlap),
        (f"Recovered within {RECOVERY_S:g} s (clips), median time of those", _recovered),
        ("False masks: share of the pictures without the object (clips)", _false_masks),
        ("On the twin: share of the pictures with it (clips)", _on_decoy),
    ]
    found = [(title, _by_case(results, cases, show)) for title, show in shown]
    return Report(head, [Section(body, title) for title, body in found if body is not None])
