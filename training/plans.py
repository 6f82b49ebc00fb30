"""The schedules that `training.train` can follow."""

from __future__ import annotations

from dataclasses import dataclass, replace

from training.batches import BatchSpec

Plan = tuple["Stage", ...]


@dataclass(frozen=True)
class Stage:
    """One part of the schedule.

    Attributes:
        minutes: Budget of training time.
        batch: What a batch holds.
        rate: Learning rate at its start; falls as a half cosine to `final` of it.
        balance: Class balance of the mask loss.
        also: A second kind of batch, one after every `rounds` of the first. Tracking keeps what
            it learned while prompts on stills, which are cheaper per prompt, go on improving.
        freeze_norms: Batch norms keep their statistics. Decoding from prompts, from a correction
            and from memory go through the same layers with other statistics; frozen, training and
            inference see the same function.
    """

    name: str
    minutes: float
    batch: BatchSpec
    rate: float
    final: float = 0.1
    balance: float = 0.5
    also: BatchSpec | None = None
    rounds: int = 1
    freeze_norms: bool = False


_STILLS = BatchSpec(14, 1, 256, 2)
_MIXED = Stage(
    "mixed",
    19,
    BatchSpec(3, 5, 256, 2),
    6e-4,
    final=0.02,
    balance=0.1,
    also=_STILLS,
    freeze_norms=True,
)
_FINISH = replace(
    _MIXED, name="finish", minutes=70, batch=_STILLS, rate=8e-4, also=_MIXED.batch, rounds=3
)
_RAISED = replace(
    _FINISH,
    name="raised",
    minutes=102,
    batch=BatchSpec(12, 1, 256, 3, reuse=4),
    rate=1.5e-3,
    also=BatchSpec(3, 6, 256, 2, reuse=3),
    rounds=2,
)

PLANS: dict[str, Plan] = {
    "nano": (
        Stage("stills", 24, _STILLS, 2e-3, final=0.5, balance=0.8),
        Stage("stills-frozen", 10, _STILLS, 1e-3, final=0.5, freeze_norms=True),
        Stage(
            "clips", 45, BatchSpec(4, 4, 256, 2), 8e-4, final=0.3, balance=0.3, freeze_norms=True
        ),
        Stage("long-clips", 3, BatchSpec(3, 6, 256, 2), 3e-4, balance=0.1, freeze_norms=True),
        _MIXED,
        _FINISH,
        replace(_FINISH, name="answer", minutes=16, rate=3e-4),
        _RAISED,
        replace(_RAISED, name="finer", minutes=90, rate=1.3e-3, rounds=3),
    ),
    # From the shipped weights on, with `--start`, when free pictures are there: parts that each
    # end well, so that one may stop after any of them. Every third step is tracking.
    "free": tuple(
        replace(_RAISED, name=f"free-{part}", minutes=minutes, rate=rate, final=0.03)
        for part, minutes, rate in ((1, 75, 7e-4), (2, 150, 1e-3), (3, 300, 1e-3))
    ),
    "smoke": (
        Stage("stills", 0.3, BatchSpec(4, 1, 128, 2), 2e-3, balance=0.8),
        Stage("clips", 0.3, BatchSpec(2, 3, 128, 1), 5e-4, freeze_norms=True),
    ),
}


def plain(plan: Plan, without: tuple[str, ...]) -> Plan:
    """The plan with ingredients of its clips left out."""

    def less(spec: BatchSpec) -> BatchSpec:
        return replace(spec, without=without)

    return tuple(
        replace(
            stage, batch=less(stage.batch), also=None if stage.also is None else less(stage.also)
        )
        for stage in plan
    )


def scaled(plan: Plan, budget: float | None) -> Plan:
    """The plan with its minutes stretched to a budget in all; None: as it is."""
    if budget is None:
        return plan
    factor = budget / sum(stage.minutes for stage in plan)
    return tuple(replace(stage, minutes=stage.minutes * factor) for stage in plan)
