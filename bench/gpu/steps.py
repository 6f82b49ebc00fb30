"""The steps of the GPU day in their order, with the time that each may take."""

from __future__ import annotations

from typing import Final

from bench.gpu import machine, torch_steps
from bench.gpu.order import Order, Part, Step

DRIVER: Final = "driver"
PACKAGES: Final = "packages"


def steps_of(part: Part, order: Order) -> list[Step]:
    """Return the steps of a part, what matters most first."""
    first = [
        Step(DRIVER, "driver", machine.check_driver, 40),
        Step(PACKAGES, "packages", machine.check_packages, 90),
        Step("memory", "memory, streams, graphs", machine.test_memory, 60),
    ]
    torch = torch_part(order)
    return [*first, *torch] if order.on_gpu else [first[1], *torch]


def torch_part(order: Order) -> list[Step]:
    """Return the steps of torch; on a CPU what can run there, at its pace."""
    eager = [
        Step(f"torch-{size}", f"torch at {size} px", torch_steps.eager_speed(size), 75)
        for size in order.sizes
    ]
    compiled = [
        Step(
            f"torch-compiled-{size}",
            f"torch compiled at {size} px",
            torch_steps.compiled_speed(size),
            150,
        )
        for size in order.sizes
    ]
    return [
        Step("torch-answers", "torch's answers", torch_steps.check_answers, 60),
        *eager,
        Step("torch-flat", "torch, a long run", torch_steps.flat, 90),
        *(compiled if order.on_gpu else []),
    ]


def all_steps(order: Order) -> list[Step]:
    """Return every step there is, to find one by its name."""
    return steps_of("all", order)
