"""`python -m bench`, which `make bench` runs: loop and speed, written into the docs and README."""

from __future__ import annotations

import sys

from bench import loop, speed
from bench.environment import REPOSITORY


def main() -> int:
    """Run both programs; returns the first exit code that is not 0."""
    page, readme = str(REPOSITORY / "docs" / "performance.md"), str(REPOSITORY / "README.md")
    codes = [
        loop.main(["--markdown", page]),
        speed.main(["--markdown", page, "--summary", readme]),
    ]
    return next((code for code in codes if code), 0)


if __name__ == "__main__":
    sys.exit(main())
