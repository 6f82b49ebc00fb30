"""torch on the GPU: are the answers right, how fast is it, does it stay so. No TensorRT here."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from bench.gpu.flat import run_flat
from bench.gpu.order import NotHere, Order, Outcome, Save, Surprise, cut
from bench.reports.report import Table, table
from bench.sam2 import WAYS, Figures, Plan, measure, measure_subjects, result_table, subject_of
from bench.sam2_ours import Ours, on_torch, square_picture
from bench.sam2_weights import lively_model
from samcam.engines import Sam2Networks, resolve_device
from samcam.engines.checks import NetworkCheck, compare_networks, describe, read_pictures

if TYPE_CHECKING:
    from transformers import Sam2VideoModel

EAGER: Final = tuple(way for way in WAYS if not way.compiled)
COMPILED: Final = tuple(way for way in WAYS if way.compiled)
_ROUNDS, _FRAMES = 3, 20
_CPU_PLAN: Final = (1, 1)  # rounds and frames where only the program is tried


def check_answers(order: Order, save: Save) -> Outcome:
    """Compare float32 on the GPU with the CPU, then bfloat16 with float32, network by network."""
    size = order.sizes[-1]
    pictures = read_pictures()
    model = lively_model()
    exact = on_torch(model, size, order.device, "float32", compiled=False)
    rounded = on_torch(model, size, order.device, "bfloat16", compiled=False)
    pairs = [
        ("bfloat16, beside float32", exact, rounded, pictures if order.on_gpu else pictures[:1])
    ]
    if order.on_gpu:
        # Of a model of its own: the other one's weights have moved to the GPU.
        right = on_torch(lively_model(), size, "cpu", "float32", compiled=False)
        pairs.insert(0, ("float32, beside the CPU", right, exact, pictures[:1]))
    outcome = Outcome("done", "")
    for title, reference, candidate, seen in pairs:
        checks = compare_networks(reference, candidate, seen)
        outcome = with_checks(outcome, f"torch {size} px {title}", checks)
        save(outcome)
    return outcome


def with_checks(outcome: Outcome, title: str, checks: Sequence[NetworkCheck]) -> Outcome:
    """Add a comparison of networks to what a step found.

    Raises:
        Surprise: A network's worst mask is too far off.
    """
    print(f"{title}:\n{describe(checks)}", flush=True)
    for check in checks:
        if not check.passed:
            raise Surprise(
                f"{title}: {check.network}: worst mask IoU {check.min_iou:.3f} ({check.worst}), "
                f"expected at least {check.limit:g}"
            )
    worst = min(check.min_iou for check in checks)
    said = f"{title}: worst mask IoU {worst:.3f}"
    return Outcome(
        "done",
        "; ".join(filter(None, (outcome.line, said))),
        {**outcome.figures, title: [asdict(check) for check in checks]},
        {**outcome.tables, f"Masks, {title}": check_table(checks)},
        outcome.layers,
    )


def check_table(checks: Sequence[NetworkCheck]) -> Table:
    rows = [
        [c.network, str(c.cases), f"{c.min_iou:.4f}", f"{c.mean_iou:.4f}", c.worst] for c in checks
    ]
    return table(("network", "masks", "min IoU", "mean IoU", "worst"), rows)


def eager_speed(size: int) -> Callable[[Order, Save], Outcome]:
    """Return the step that times what is not compiled."""

    def run(order: Order, save: Save) -> Outcome:
        device = resolve_device(order.device)
        found = measure(lively_model(), EAGER, size, device, plan_of(order))
        return with_times(Outcome("done", ""), "torch", found)

    return run


def compiled_speed(size: int) -> Callable[[Order, Save], Outcome]:
    """Return the step that compiles, compares masks, and times.

    Ours is compared on another thread than the one that warmed it up, as the program uses it.
    """

    def run(order: Order, save: Save) -> Outcome:
        require_compiler()
        model = lively_model()
        ours = compiled_ours(model, size, order)
        exact = on_torch(model, size, order.device, "float32", compiled=False)
        with ThreadPoolExecutor(1) as thread:
            checks = thread.submit(compare_networks, exact, ours.networks, read_pictures()).result()
        outcome = with_checks(Outcome("done", ""), f"torch {size} px compiled bfloat16", checks)
        save(outcome)
        subjects: dict[str, Any] = {COMPILED[0].name: ours}
        found = measure_subjects(subjects, size, plan_of(order))
        outcome = with_times(outcome, "torch compiled", found)
        save(cut(outcome, "transformers compiled not yet"))
        device = resolve_device(order.device)
        subjects = {COMPILED[1].name: subject_of(COMPILED[1], model, size, device)}
        theirs = measure_subjects(subjects, size, plan_of(order))
        both = Figures(
            size, {**found.networks, **theirs.networks}, {**found.frames, **theirs.frames}
        )
        return with_times(outcome, "torch compiled", both)

    return run


def compiled_ours(model: Sam2VideoModel, size: int, order: Order) -> Ours:
    """Return our networks compiled, and captured by a frame on this thread."""
    networks = on_torch(model, size, order.device, "bfloat16", compiled=True)
    ours = Ours(networks, square_picture(size))
    ours.start(1)
    ours.frame()
    return ours


def flat(order: Order, save: Save) -> Outcome:
    """Track long, in bfloat16 at the largest size, as `auto` runs torch."""
    size = order.sizes[0]
    networks: Sam2Networks = on_torch(lively_model(), size, order.device, "bfloat16", False)
    return run_flat(Ours(networks, square_picture(size)), order, limits=order.on_gpu)


def require_compiler() -> None:
    """Say what torch.compile lacks here.

    Raises:
        NotHere: Triton, or a C compiler, which Triton calls.
    """
    if find_spec("triton") is None:
        raise NotHere("torch.compile needs Triton, which is not installed")
    if not os.environ.get("CC") and not any(map(shutil.which, ("cc", "gcc", "clang"))):
        raise NotHere("torch.compile needs a C compiler: sudo apt-get install gcc python3-dev")


def plan_of(order: Order) -> Plan:
    rounds, frames = (_ROUNDS, _FRAMES) if order.on_gpu else _CPU_PLAN
    return Plan(order.objects, rounds, frames)


def with_times(outcome: Outcome, title: str, found: Figures) -> Outcome:
    """Add times to what a step found."""
    made = result_table([found])
    print(made.plain(), flush=True)
    best = min(found.frames, key=lambda name: sum(found.frames[name].values()))
    ms = ", ".join(f"{ms:.1f} ms ({n})" for n, ms in found.frames[best].items())
    said = f"fastest: {best}, a frame of N objects: {ms}"
    figures: Mapping[str, Any] = {
        **outcome.figures,
        f"times {title} {found.size} px": {"frames": found.frames, "networks": found.networks},
    }
    tables = {**outcome.tables, f"Times, {title}, {found.size} px": made}
    line = "; ".join(filter(None, (outcome.line, said)))
    return Outcome("done", line, figures, tables, outcome.layers)
