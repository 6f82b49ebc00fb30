"""Writes the module table of docs/architecture.md from the first lines of rooms and files.

Run `python -m tools.module_table` after adding, removing or changing a file; a test compares.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "architecture.md"
START, END = "<!-- modules: python -m tools.module_table -->", "<!-- /modules -->"
# From the top floor down, as a frame goes.
ROOMS = ("samcam", "live", "export", "engines", "guides", "memory", "kalman", "system", "bench")
_FIRST_ROOMS = ("live", "live/cli", "live/loop", "live/tracker")


def first_paragraph(path: Path) -> str:
    """Return the first paragraph of a file's docstring on one line, as a cell of a table."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split()).replace("|", "\\|")


def folders() -> list[Path]:
    """Return the rooms, outer before inner, those of the frame's way first."""
    found = [p.parent for room in ROOMS for p in (ROOT / room).rglob("__init__.py")]
    names = [folder.relative_to(ROOT).as_posix() for folder in found]
    first = {name: number for number, name in enumerate(("samcam", *_FIRST_ROOMS))}
    order = {name: ROOMS.index(name.partition("/")[0]) for name in names}
    return [
        ROOT / name for name in sorted(names, key=lambda n: (order[n], first.get(n, len(first)), n))
    ]


def table() -> str:
    rows = ["| room or file | what it is for |", "|---|---|"]
    for folder in folders():
        name = folder.relative_to(ROOT).as_posix()
        files = [p for p in sorted(folder.glob("*.py")) if p.name != "__init__.py"]
        if files:
            rows.append(f"| **`{name}/`** | **{first_paragraph(folder / '__init__.py')}** |")
        rows += [f"| `{file.name}` | {first_paragraph(file)} |" for file in files]
    return "\n".join(rows)


def main() -> int:
    """Write the table into the page; returns the exit code."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
    _, end, after = rest.partition(END)
    if not end:
        print(f"{PAGE}: expected the lines {START} and {END}", file=sys.stderr)
        return 1
    PAGE.write_text(f"{before}{START}\n{table()}\n{END}{after}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
