"""Writes the list of everything that trained `nano`, from the index that free_data.py keeps."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

_HEAD = """# Attribution

Written by `python -m training.free_data --attribution training/ATTRIBUTION.md`; do not edit.

Pictures that training may show to `nano`, with their makers and licences. None of them is part of
this repository or of the weights' files: they are fetched ([README.md](README.md#sources)).
Cut-outs are pasted, relit and bent, backgrounds cropped, photographs cropped and warped.
"""


def write_attribution(index: Path, out: Path) -> None:
    """Write the page `out` from an index (JSON)."""
    known = json.loads(index.read_text(encoding="utf-8"))
    parts = [_HEAD, _packages(known)]
    if known["photographs"]:
        parts.append(_photographs(known["photographs"]))
    out.write_text("\n".join(parts), encoding="utf-8")


def _packages(known: dict[str, Any]) -> str:
    lines = ["## Debian packages", ""]
    for package in known["packages"]:
        rows = [row for row in known[package["kind"]] if row["package"] == package["name"]]
        lines += [
            f"### {package['name']} {package['version']}", "",
            f"{len(rows)} pictures as {package['kind']}. {package['uri']}, SHA-256",
            f"`{package['sha256']}`.", "",
        ]  # fmt: skip
        by_terms: dict[tuple[str, str], list[str]] = defaultdict(list)
        for row in rows:
            path = row["path"].removeprefix(package["folder"]).lstrip("/")
            by_terms[row["licence"], row["copyright"]].append(path)
        for (licence, holders), paths in sorted(by_terms.items()):
            lines.append(f"- **{licence}**, {holders}: {', '.join(f'`{p}`' for p in paths)}")
        lines.append("")
    return "\n".join(lines)


def _photographs(rows: list[dict[str, Any]]) -> str:
    lines = ["## Labelled photographs", ""]
    by_origin: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_origin[row["set"], row["origin"]].append(row)
    for (name, origin), group in sorted(by_origin.items()):
        repository, _, commit = origin.partition("@")
        lines += [
            f"### {name}: {repository}", "",
            f"{len(group)} pictures of https://github.com/{repository}, commit `{commit}`.", "",
        ]  # fmt: skip
        by_terms: dict[tuple[str, str], list[str]] = defaultdict(list)
        for row in group:
            by_terms[row["licence"], row["attribution"]].append(f"`{row['path']}`")
        for (licence, attribution), paths in sorted(by_terms.items()):
            files = f"{len(paths)} pictures" if len(paths) > 3 else ", ".join(paths)
            lines.append(f"- **{licence}**, {attribution}: {files}")
        lines.append("")
    return "\n".join(lines)
