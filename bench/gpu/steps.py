"""The steps of the GPU day in their order, with the time that each may take."""

from __future__ import annotations

from typing import Final

from bench.gpu import machine, torch_steps
from bench.gpu.order import Order, Step
from samcam.engines.tensorrt import LIBRARIES, TENSORRT, Library

DRIVER: Final = "driver"


def steps_of(order: Order) -> list[Step]:
    """Return the steps of the order's part, what matters most first."""
    packages = Step("packages", "packages", machine.check_packages, 90)
    if not order.on_gpu:
        return [packages, *torch_part(order)]
    first = [
        Step(DRIVER, "driver", machine.check_driver, 40),
        *([] if order.part == "tensorrt" else [packages]),
        Step("memory", "memory, streams, graphs", machine.test_memory, 60),
    ]
    if order.part == "torch":
        return [*first, *torch_part(order)]
    others = [library for library in LIBRARIES.values() if library is not TENSORRT]
    return [
        *first,
        *library_part(TENSORRT),
        *sam2_part(TENSORRT, order, exports=True),
        *(torch_part(order) if order.part == "all" else []),
        *(step for library in others for step in library_part(library)),
        *(step for library in others for step in sam2_part(library, order, exports=False)),
    ]


def torch_part(order: Order) -> list[Step]:
    """Return the steps of torch; on a CPU what can run there, at its pace."""
    eager = [
        Step(
            f"torch-{size}",
            f"torch at {size} px",
            torch_steps.eager_speed(size),
            75 if order.on_gpu else 600,
        )
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
        Step("torch-answers", "torch's answers", torch_steps.check_answers, 90),
        *eager,
        Step("torch-flat", "torch, a long run", torch_steps.flat, 90),
        *(compiled if order.on_gpu else []),
    ]


def library_part(library: Library) -> list[Step]:
    """Return what shows that a library works at all."""
    from bench.gpu import tensorrt_steps  # needs onnx: not for the torch part

    name, title = library.name, library.title
    found, built = f"{name}-library", f"{name}-nano"
    return [
        Step(found, title, tensorrt_steps.find_library(library), 40),
        Step(built, f"{title}, nano", tensorrt_steps.nano(library), 120, (found,)),
        Step(
            f"{name}-program",
            f"{title}, the program on nano",
            tensorrt_steps.program(library),
            40,
            (found, built),
        ),
    ]


def sam2_part(library: Library, order: Order, exports: bool) -> list[Step]:
    """Return the steps of SAM 2.1 on a library: a size after the other, the first with a long run.

    `exports`: with those that write the models, which all libraries read.
    """
    from bench.gpu import tensorrt_steps as run

    name, title = library.name, library.title
    steps: list[Step] = []
    for size in order.sizes:
        exported, built = f"export-{size}", f"{name}-{size}"
        model = f"SAM 2.1 at {size} px"
        if exports:
            steps.append(Step(exported, f"{model}, exported", run.export(size), 240))
        needs = (f"{name}-library", exported)
        steps.append(Step(built, f"{title}, {model}", run.sam2(library, size), 200, needs))
        if size == order.sizes[0]:
            long = f"{title}, a long run at {size} px"
            steps.append(Step(f"{name}-flat", long, run.flat(library, size), 90, (built,)))
    return steps
