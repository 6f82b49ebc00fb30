"""The memory bank: what each step attends to, by hand and against an unbounded oracle."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from samcam.memory.bank import F32, MemoryBank, MemoryEntry
from samcam.memory.selection import BankPolicy, RecentOrder

SAM2 = BankPolicy()
GATED = BankPolicy(recent_order=RecentOrder.RANK, clamp_pointer_offset=True)


def pointer(step: int) -> F32:
    return np.array([step], np.float32)


def entry(step: int, conditioning: bool = False, tag: str = "") -> MemoryEntry[str]:
    return MemoryEntry(step, conditioning, f"{step}{tag}", pointer(step), 5.0, 0.9, None)


def filled(
    policy: BankPolicy, steps: range, conditioning: tuple[int, ...] = (0,)
) -> MemoryBank[str]:
    bank: MemoryBank[str] = MemoryBank(policy)
    for step in steps:
        bank.add(entry(step, step in conditioning))
    return bank


def test_first_tracked_step_sees_the_prompt_alone() -> None:
    view = filled(SAM2, range(1)).view(1)
    assert view.maskmem_features == ("0",)
    assert view.maskmem_tpos == (0,)
    assert view.obj_ptr_tpos == (1.0,)
    assert view.steps == (0,)


def test_a_long_run_sees_six_recent_steps_and_fifteen_pointers() -> None:
    view = filled(SAM2, range(100)).view(100)
    assert view.steps == (0, 99, 98, 97, 96, 95, 94)
    assert view.maskmem_tpos == (0, 1, 2, 3, 4, 5, 6)
    assert view.obj_ptr_tpos == (100.0, *map(float, range(1, 16)))
    assert [int(kept[0]) for kept in view.obj_ptrs] == [0, *range(99, 84, -1)]


def test_old_conditioning_pointers_are_clamped_except_in_sam2() -> None:
    assert filled(GATED, range(100)).view(100).obj_ptr_tpos[0] == 15.0
    assert filled(SAM2, range(100)).view(100).obj_ptr_tpos[0] == 100.0


def test_a_conditioning_step_leaves_a_gap_among_the_recent_ones() -> None:
    view = filled(SAM2, range(11), conditioning=(0, 10)).view(11)
    assert view.steps == (0, 10, 9, 8, 7, 6, 5)
    assert view.maskmem_tpos == (0, 0, 2, 3, 4, 5, 6)
    assert view.obj_ptr_tpos == (11.0, 1.0, *map(float, range(2, 11)))


def test_two_prompts_and_a_full_bank_are_eight_memories_and_seventeen_pointers() -> None:
    bank = filled(SAM2, range(40), conditioning=(0, 10))
    view = bank.view(40)
    assert len(view.maskmem_features) == 8
    assert len(view.obj_ptrs) == 17


def test_a_prompt_on_a_tracked_step_replaces_its_recent_memory() -> None:
    bank = filled(SAM2, range(11))
    bank.add(entry(10, conditioning=True, tag="prompted"))
    assert [kept.step for kept in bank.recent] == [5, 6, 7, 8, 9]
    assert 10 not in bank.pointer_steps
    assert bank.view(11).steps == (0, 10, 9, 8, 7, 6, 5)


def test_a_correction_kept_as_recent_replaces_that_step() -> None:
    bank = filled(SAM2, range(11))
    bank.add(entry(10, tag="corrected"))
    view = bank.view(11)
    assert view.maskmem_features[:2] == ("0", "10corrected")
    assert view.steps == (0, 10, 9, 8, 7, 6, 5)


def test_the_first_prompt_stays_and_the_next_oldest_becomes_recent() -> None:
    bank: MemoryBank[str] = MemoryBank(SAM2)
    for step in range(5):
        bank.add(entry(step, conditioning=True))
    assert [kept.step for kept in bank.conditioning] == [0, 2, 3, 4]
    view = bank.view(5)
    assert view.steps == (0, 2, 3, 4, 1)
    assert view.maskmem_tpos == (0, 0, 0, 0, 4)
    assert view.obj_ptr_tpos == (5.0, 3.0, 2.0, 1.0, 4.0)
    assert all(not kept.conditioning for kept in bank.recent)
    assert bank.view(8).steps == (0, 2, 3, 4)  # 7 steps away: no longer recent


def test_gated_memories_count_by_rank_however_old() -> None:
    bank: MemoryBank[str] = MemoryBank(GATED)
    bank.add(entry(0, conditioning=True))
    for step in (3, 7, 8):
        bank.add(entry(step))
    for step in range(9, 500):
        bank.add_pointer(step, pointer(step))
    view = bank.view(500)
    assert view.steps == (0, 8, 7, 3)
    assert view.maskmem_tpos == (0, 1, 2, 3)
    assert view.obj_ptr_tpos == (15.0, *map(float, range(1, 16)))


def test_gated_pointers_are_those_of_admitted_steps() -> None:
    bank: MemoryBank[str] = MemoryBank(
        BankPolicy(recent_order=RecentOrder.RANK, clamp_pointer_offset=True, gate_pointers=True)
    )
    bank.add(entry(0, conditioning=True))
    bank.add(entry(3))
    for step in range(4, 100):
        bank.add_pointer(step, pointer(step))
    view = bank.view(100)
    assert [int(kept[0]) for kept in view.obj_ptrs] == [0, 3]
    assert view.obj_ptr_tpos == (15.0, 15.0)


def test_a_reference_picture_is_attended_to_at_its_own_step() -> None:
    bank: MemoryBank[str] = MemoryBank(SAM2)
    bank.add(entry(7, conditioning=True, tag="reference"))
    view = bank.view(7)
    assert view.maskmem_features == ("7reference",)
    assert view.obj_ptr_tpos == (0.0,)
    bank.add(entry(7))
    assert bank.view(8).maskmem_features == ("7reference", "7")


def test_a_view_of_an_earlier_step_does_not_see_later_ones() -> None:
    bank = filled(SAM2, range(12), conditioning=(0, 11))
    view = bank.view(9)
    assert view.steps == (0, 8, 7, 6, 5)  # 9 and 10 lie ahead, and 4 had to go
    assert view.obj_ptr_tpos == (9.0, *map(float, range(1, 9)))


@dataclass
class Oracle:
    """SAM 2's two dictionaries, unbounded, looked up as sam2_base.py:517-640 describes."""

    cond: dict[int, str] = field(default_factory=dict)
    other: dict[int, str] = field(default_factory=dict)

    def add(self, new: MemoryEntry[str]) -> None:
        (self.cond if new.conditioning else self.other)[new.step] = new.maskmem_features
        if new.conditioning:
            self.other.pop(new.step, None)

    def view(
        self, now: int, max_cond: int
    ) -> tuple[list[tuple[str, int]], list[tuple[int, float]]]:
        first = min(self.cond)
        newest = sorted((step for step in self.cond if step != first), reverse=True)
        chosen = sorted([first, *newest[: max_cond - 1]])
        left = {step: value for step, value in self.cond.items() if step not in chosen}
        memories = [(self.cond[step], 0) for step in chosen]
        pointers = [(step, float(now - step)) for step in chosen]
        for distance in range(1, 7):
            found = self.other.get(now - distance, left.get(now - distance))
            if found is not None:
                memories.append((found, distance))
        for distance in range(1, 16):
            if now - distance in self.other or now - distance in left:
                pointers.append((now - distance, float(distance)))
        return memories, pointers


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("max_cond", [1, 2, 4])
def test_the_bounded_bank_answers_like_an_unbounded_one(seed: int, max_cond: int) -> None:
    rng = np.random.default_rng(seed)
    bank: MemoryBank[str] = MemoryBank(BankPolicy(max_cond=max_cond))
    oracle = Oracle()
    prompt_rate = float(rng.choice([0.05, 0.4]))
    for step in range(120):
        if oracle.cond:
            view = bank.view(step)
            memories, pointers = oracle.view(step, max_cond)
            assert list(zip(view.maskmem_features, view.maskmem_tpos, strict=True)) == memories
            steps = [int(kept[0]) for kept in view.obj_ptrs]
            assert list(zip(steps, view.obj_ptr_tpos, strict=True)) == pointers
        prompted = step == 0 or rng.random() < prompt_rate
        for new in (
            [entry(step), entry(step, bool(rng.random() < 0.5) or step == 0, "p")]
            if prompted and step % 2
            else [entry(step, prompted)]
        ):
            bank.add(new)
            oracle.add(new)


@pytest.mark.parametrize("policy", [SAM2, GATED])
def test_the_bank_is_bounded(policy: BankPolicy) -> None:
    rng = np.random.default_rng(1)
    bank: MemoryBank[str] = MemoryBank(policy)
    bank.add(entry(0, conditioning=True))
    for step in range(1, 5_000):
        if rng.random() < 0.5:
            bank.add(entry(step, bool(rng.random() < 0.2)))
        else:
            bank.add_pointer(step, pointer(step))
        assert len(bank.conditioning) <= 4
        assert len(bank.recent) <= 6
        assert len(bank.pointer_steps) <= 15
    assert bank.conditioning[0].step == 0
    view = bank.view(5_000)
    assert len(view.maskmem_features) <= 10
    assert len(view.obj_ptrs) <= 19


@pytest.mark.parametrize("policy", [SAM2, GATED])
def test_a_fork_goes_its_own_way(policy: BankPolicy) -> None:
    bank = filled(policy, range(10))
    fork = bank.fork()
    before = bank.view(10)
    fork.add(entry(10))
    fork.forget(0)
    fork.add_pointer(11, pointer(11))
    assert bank.view(10) is not before
    assert bank.view(10).steps == before.steps
    assert bank.view(10).obj_ptr_tpos == before.obj_ptr_tpos
    assert fork.conditioning == ()
    assert fork.recent[-1].step == 10
    assert bank.recent[-1].maskmem_features is fork.recent[-2].maskmem_features


def test_memories_of_one_step_are_found_and_forgotten_together() -> None:
    bank = filled(SAM2, range(5))
    bank.add(entry(4, conditioning=True, tag=" reference"))
    bank.add(entry(4))
    assert [(kept.step, kept.conditioning) for kept in bank.at(4)] == [(4, True), (4, False)]
    bank.forget(4)
    bank.forget(77)
    assert bank.at(4) == ()
    assert bank.pointer_steps == (1, 2, 3)
    assert bank.view(5).steps == (0, 3, 2, 1)
