"""The bank's tiers: sensory, working, long-term; bounded, and taken back with what they came of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from samcam.memory import (
    Anchoring,
    BankPolicy,
    KeepPrevious,
    LongTermMemory,
    MemoryBank,
    MemoryEntry,
    RecentOrder,
    Tier,
)
from samcam.memory.bank import F32
from samcam.memory.selection import spaced

COND, SENSORY, WORKING, LONG = Tier.CONDITIONING, Tier.SENSORY, Tier.WORKING, Tier.LONG_TERM
RANKED = BankPolicy(recent_order=RecentOrder.RANK, clamp_pointer_offset=True)
PREVIOUS = replace(RANKED, keep_previous=KeepPrevious.ALWAYS)
DAM4SAM = replace(
    RANKED, max_memories=7, recent_stride=5, anchoring=Anchoring.NEWEST, max_anchors=3
)
XMEM = LongTermMemory(mem_every=1).applied(RANKED)


def look(step: int) -> F32:
    return np.array((np.cos(step / 9), np.sin(step / 9)), np.float32)


def entry(step: int, conditioning: bool = False, iou: float = 0.9) -> MemoryEntry[str]:
    return MemoryEntry(step, conditioning, str(step), look(step), 5.0, iou, None)


def filled(policy: BankPolicy, last: int, prompts: tuple[int, ...] = (0,)) -> MemoryBank[str]:
    bank: MemoryBank[str] = MemoryBank(policy)
    for step in range(last + 1):
        bank.add(entry(step, step in prompts))
    return bank


def test_the_previous_step_counts_once_although_it_was_not_admitted() -> None:
    bank = filled(PREVIOUS, 10)
    bank.add_previous(entry(11))
    view = bank.view(12)
    assert view.steps == (0, 11, 10, 9, 8, 7, 6)
    assert view.maskmem_tpos == (0, 1, 2, 3, 4, 5, 6)
    assert view.tiers == (COND, SENSORY, *(WORKING,) * 5)
    assert bank.view(13).steps == (0, 10, 9, 8, 7, 6, 5), "only the next step sees it"
    bank.add(entry(11))  # the step is run again, and admitted
    assert bank.view(12).steps.count(11) == 1
    bank.add(entry(11, conditioning=True))
    assert bank.view(12).tiers[:3] == (COND, COND, WORKING)


def test_an_admitted_previous_step_is_the_sensory_one() -> None:
    assert filled(PREVIOUS, 3).view(4).tiers == (COND, SENSORY, WORKING, WORKING)
    assert filled(RANKED, 3).view(4).tiers == (COND, WORKING, WORKING, WORKING)


def test_without_the_slot_nothing_is_kept_of_a_step_that_was_not_admitted() -> None:
    bank = filled(RANKED, 3)
    bank.add_previous(entry(4))
    assert bank.view(5).steps == (0, 3, 2, 1)


@pytest.mark.parametrize(
    ("steps", "stride", "kept"),
    [
        ([1, 2, 3], 1, [1, 2, 3]),
        ([1, 2, 3], 5, [1, 3]),
        ([1, 6, 7], 5, [1, 6, 7]),
        ([1, 6, 7, 8], 5, [1, 6, 8]),
        ([1, 40, 41, 90], 5, [1, 40, 90]),
    ],
)
def test_recent_memories_keep_their_distance(
    steps: list[int], stride: int, kept: list[int]
) -> None:
    assert [steps[index] for index in spaced(steps, stride)] == kept


def test_anchors_take_the_places_of_recent_memories() -> None:
    """6 + 1 become 3 + 4 once there are three anchors."""
    bank = filled(DAM4SAM, 40)
    assert bank.view(41).steps == (0, 40, 36, 31, 26, 21, 16)
    for step in range(41, 100):
        bank.add(entry(step))
        if step in (50, 60, 70):
            bank.promote(step)
    view = bank.view(100)
    assert view.steps[:4] == (0, 50, 60, 70)
    assert view.tiers == (COND, LONG, LONG, LONG, WORKING, WORKING, WORKING)
    assert view.maskmem_tpos == (0, 0, 0, 0, 1, 2, 3)
    bank.promote(99)
    bank.promote(12)  # nothing is left of it
    assert [kept.step for kept in bank.anchors] == [60, 70, 99], "the oldest anchor goes"
    assert bank.view(100).steps == (0, 60, 70, *bank.view(100).steps[3:])
    assert bank.view(100).steps.count(99) == 1, "as the previous step it is a recent one"
    assert bank.last_sure_step == 99


def test_prompts_push_anchors_out_and_an_undo_brings_them_back() -> None:
    bank = filled(DAM4SAM, 10)
    for step in range(11, 60):
        bank.add(entry(step))
        if step in (20, 30, 40):
            bank.promote(step)
    assert bank.view(60).tiers.count(LONG) == 3
    for count, step in enumerate((60, 61, 62), start=1):
        bank.add(entry(step, conditioning=True))
        view = bank.view(63)
        assert view.tiers.count(COND) == 1 + count
        assert view.tiers.count(LONG) == 3 - count
        assert len(view.steps) <= 7
    bank.forget(62)
    assert bank.view(63).steps[:4] == (0, 60, 61, 40)


def test_what_leaves_the_working_memory_becomes_anchors() -> None:
    bank = filled(XMEM, 10)
    assert (len(bank.recent), len(bank.anchors)) == (10, 0)
    bank.add(entry(11))
    assert [kept.step for kept in bank.recent] == [7, 8, 9, 10, 11], "min_mid_term_frames stay"
    assert [kept.step for kept in bank.anchors] == [1, 2, 3, 4, 5, 6]
    view = bank.view(12)
    assert view.tiers == (COND, LONG, LONG, LONG, SENSORY, *(WORKING,) * 4)
    assert view.steps[1:4] == (4, 5, 6), "those most like the newest"


def test_long_term_memory_stays_bounded_and_spreads_over_time() -> None:
    bank = filled(LongTermMemory(mem_every=1, max_long_term_elements=8).applied(RANKED), 3_000)
    steps = [kept.step for kept in bank.anchors]
    assert len(steps) == 8
    assert steps[0] < 500
    assert steps[-1] > 2_500
    assert len({step // 500 for step in steps}) >= 4, steps


def test_an_unsure_mask_is_no_anchor_among_sure_ones() -> None:
    bank: MemoryBank[str] = MemoryBank(XMEM)
    for step in range(200):
        bank.add(entry(step, step == 0, iou=0.2 if step % 7 == 0 else 0.9))
    assert not [kept.step for kept in bank.anchors if kept.predicted_iou < 0.5]


def test_switches_take_the_tiers_away() -> None:
    for memory in (LongTermMemory(enable_long_term=False), LongTermMemory(enable_short_term=False)):
        bank = filled(memory.applied(RANKED), 300)
        bank.add_previous(entry(301))
        tiers = bank.view(302).tiers
        assert (LONG in tiers) is memory.enable_long_term
        assert (SENSORY in tiers) is memory.enable_short_term


def test_working_memory_between_its_bounds() -> None:
    with pytest.raises(ValueError, match="min_mid_term_frames: expected at most max_mid_term_fram"):
        LongTermMemory(min_mid_term_frames=11)
    with pytest.raises(ValueError, match="working_least: expected at most working_most 4, got 6"):
        BankPolicy(working_most=4)
    with pytest.raises(ValueError, match="max_memories: expected more than max_cond 4"):
        BankPolicy(max_cond=4, max_memories=4)


@pytest.mark.parametrize("policy", [DAM4SAM, XMEM, PREVIOUS], ids=["dam", "long", "samurai"])
def test_a_bank_with_tiers_is_bounded_and_forks(policy: BankPolicy) -> None:
    """Whatever comes: prompts, rejected steps, anchors, steps run again."""
    rng = np.random.default_rng(3)
    bank: MemoryBank[str] = MemoryBank(policy)
    bank.add(entry(0, conditioning=True))
    for step in range(1, 1_500):
        kind = rng.random()
        if kind < 0.6:
            bank.add(entry(step, bool(kind < 0.01)))
        else:
            bank.add_pointer(step, look(step))
            bank.add_previous(entry(step))
        if kind < 0.2:
            bank.promote(step)
        if kind > 0.97:
            bank.forget(step - int(rng.integers(20)))
            bank.add(entry(0, conditioning=True))
        view = bank.view(step + 1)
        assert len(view.steps) <= policy.max_memories
        assert len(set(view.steps)) == len(view.steps) == len(view.tiers)
        assert len(view.obj_ptrs) == len(view.obj_ptr_tpos) <= 19
        assert view.tiers.count(COND) + view.tiers.count(LONG) <= 4
        assert max(view.maskmem_tpos) <= 6
        assert len(bank.anchors) <= policy.max_anchors
        assert len(bank.recent) <= policy.working_most
    fork, before = bank.fork(), bank.view(1_500)
    fork.forget_tracked(after=-1)
    assert (fork.recent, fork.anchors) == ((), ())
    assert all(tier is COND for tier in fork.view(1_500).tiers)
    assert bank.view(1_500).steps == before.steps


def test_what_was_tracked_before_a_step_is_dropped_and_prompts_stay() -> None:
    bank = filled(XMEM, 200, prompts=(0, 90))
    kept = [one.step for one in bank.recent if one.step >= 197]
    assert len(kept) < len(bank.recent)
    assert bank.anchors
    bank.forget_tracked(before=197)
    assert [one.step for one in bank.conditioning] == [0, 90]
    assert [one.step for one in bank.recent] == kept
    assert all(step >= 197 for step in bank.pointer_steps)
    assert bank.anchors == ()
