"""`python -m export nano`: writes engines/nano/ from training/checkpoint/nano.pt."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Command line; returns the exit code (0 fine, 4 the model cannot be written)."""
    parser = argparse.ArgumentParser(prog="python -m export", description=__doc__)
    parser.add_argument("model", choices=["nano"])
    parser.add_argument("--checkpoint", type=Path, default=ROOT / "training/checkpoint/nano.pt")
    parser.add_argument("--out", type=Path, default=ROOT / "engines/nano")
    parser.add_argument("--size", type=int, default=256, help="picture side in pixels")
    options = parser.parse_args()
    if options.size < 64 or options.size % 32:
        parser.error(f"--size: expected a multiple of 32 from 64, got {options.size}")
    try:
        from export.nano import ExportError, describe, export_nano
    except ImportError as error:
        print(f"export: {error}; install the extra: pip install 'samcam[export]'", file=sys.stderr)
        return 4
    try:
        errors = export_nano(options.checkpoint, options.out, options.size)
    except ExportError as error:
        print(f"export: {error}", file=sys.stderr)
        return 4
    print(describe(errors))
    size = sum(f.stat().st_size for f in options.out.glob("*.onnx"))
    print(f"{options.out}: {size / 1e6:.1f} MB in {len(list(options.out.glob('*.onnx')))} files")
    return 0


if __name__ == "__main__":
    sys.exit(main())
