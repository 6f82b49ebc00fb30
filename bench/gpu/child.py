"""`python -m bench.gpu.child STEP ORDER RESULT`: one step of the GPU day, called by `bench.gpu`."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from bench.gpu.day import answer
from bench.gpu.order import Order, Outcome
from bench.gpu.steps import steps_of
from samcam.system import prepare_streams


def main(step_name: str, order_file: str, result_file: str) -> int:
    """Run a step; its outcome goes to the file, what it says to the terminal."""
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    result = Path(result_file)
    order = Order.read(Path(order_file))
    step = next(step for step in steps_of(order) if step.name == step_name)

    def save(outcome: Outcome) -> None:
        outcome.write(result)

    save(answer(step, order, save))
    return 0


if __name__ == "__main__":
    prepare_streams()
    sys.exit(main(*sys.argv[1:]))
