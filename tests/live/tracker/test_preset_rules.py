"""Presets as tables: a case for each rule, and for each fault of the code that a rule is from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from samcam.engines.fake_backend import fake_manifest, fake_networks
from samcam.live.commands import UndoPrompt
from samcam.live.config import apply_overrides, load_settings
from samcam.live.config.changes import TrackerOverrides
from samcam.live.errors import ConfigError
from samcam.live.frames import ObjectResult
from samcam.live.tracker.presets import DAM, LONG, PRESETS, SAMURAI, TrackerSettings, preset
from samcam.live.tracker.tracker import Tracker
from samcam.memory import DistractorTest, LongTermMemory, Tier
from tests.helpers.tracker_networks import RecordingNetworks, Script, click, frame
from tests.helpers.tracker_plans import BOX, FIX, OTHER, run, same, seen_on, taking_any

ALL = pytest.mark.parametrize("settings", PRESETS.values(), ids=PRESETS.keys())
GATED = pytest.mark.parametrize("name", [name for name in PRESETS if PRESETS[name].admission])
EAGER = (  # tiers that fill within the few steps of a plan
    replace(
        taking_any(LONG),
        memory=LongTermMemory(min_mid_term_frames=1, max_mid_term_frames=2, mem_every=1),
    ),
    replace(DAM, anchors=DistractorTest(0.0, 10.0, 1, 1.0)),
)


class Run:
    """A tracker on scripted answers; one object unless a test adds another."""

    def __init__(self, settings: TrackerSettings) -> None:
        self.script = Script()
        self.networks = RecordingNetworks(fake_networks(decoder=self.script.decode))
        self.tracker = Tracker(self.networks, settings)
        self.next = 0

    def steps(self, count: int, each: Callable[[ObjectResult], None] | None = None) -> ObjectResult:
        """Go on; return the last answer for object 1."""
        for _ in range(count):
            self.networks.calls.clear()
            answer = self.tracker.step(frame(self.next)).objects[0]
            self.next += 1
            if each is not None:
                each(answer)
        return answer

    def prompted(self, count: int) -> ObjectResult:
        self.tracker.prompt(click(230, 190))
        return self.steps(count)


def weak(script: Script) -> None:
    script.ious = (0.1, 0.25, 0.2, 0.2)


def gone(script: Script) -> None:
    script.score = -4.0


def empty(script: Script) -> None:
    script.masks = ((0, 0, 0),) * 4


@pytest.mark.parametrize("fault", [weak, gone, empty])
@pytest.mark.parametrize("name", ["samurai", "dam", "long", "samurai-paper", "default"])
def test_the_previous_frame_counts_where_the_preset_says(
    name: str, fault: Callable[[Script], None]
) -> None:
    """SAMURAI's code keeps it always, XMem's sensory memory what is seen, the others what passes;
    never is a memory encoded twice."""
    going = Run(preset(name))
    going.prompted(20)
    fault(going.script)
    going.steps(1)
    encoded = len(going.networks.calls.remembered)
    answer = going.steps(1)
    seen = fault is weak
    kept = name == "samurai" or (name == "dam" and seen) or (name == "long" and seen)
    assert (20 in answer.memory_steps) is kept
    assert encoded == kept
    if name in ("samurai", "long") and kept:
        assert answer.memory_tiers[answer.memory_steps.index(20)] is Tier.SENSORY
        assert not answer.admitted
        later = going.steps(1)
        assert 20 not in later.memory_steps


@GATED
def test_looking_back_is_bounded_while_the_object_is_lost(name: str) -> None:
    """SAMURAI and DAM4SAM walk back over all frames of the loss, at every frame."""
    going = Run(preset(name))
    going.prompted(40)
    gone(going.script)
    going.steps(5)
    counts = set()
    for _ in range(200):
        last = going.steps(1)
        (attended,) = going.networks.calls.attended
        counts.add((len(attended.tpos), len(attended.ptr_tpos), len(going.networks.calls.decoded)))
    assert len(counts) == 1
    assert last.memory_steps[0] == 0
    assert max(step for step in last.memory_steps if step != last.memory_steps[0]) >= 39


@ALL
def test_a_corrected_frame_is_no_key_error(settings: TrackerSettings) -> None:
    """SAMURAI looks every past frame up among the tracked ones (sam2_base.py:667 @76ba195)."""
    going = Run(settings)
    going.prompted(12)
    going.tracker.prompt(replace(click(235, 195), step=9))
    going.tracker.prompt(click(240, 200))
    answer = going.steps(1)
    assert answer.visible
    answer = going.steps(5)
    if settings.corrections_condition:
        assert answer.memory_steps[:3] == (0, 9, 12)
        assert answer.memory_tiers[:3] == (Tier.CONDITIONING,) * 3
    assert len(set(answer.memory_steps)) == len(answer.memory_steps)


@GATED
def test_nothing_starts_on_an_empty_mask(name: str) -> None:
    """SAMURAI starts its filter on the box [0, 0, 0, 0], however sure the network is."""
    going = Run(preset(name))
    empty(going.script)
    going.prompted(20)
    track = going.tracker._timeline.tracks[1]
    assert track.gate is not None
    assert track.gate.box is None
    assert track.areas.seen == ()


@pytest.mark.parametrize(
    ("name", "pointers"), [("samurai", True), ("dam", True), ("default", False), ("long", False)]
)
def test_pointers_of_rejected_steps(name: str, pointers: bool) -> None:
    """Of the last 15 steps whatever their score, or of those that passed."""
    going = Run(preset(name))
    going.prompted(3)
    gone(going.script)
    going.steps(10)
    (attended,) = going.networks.calls.attended
    assert len(attended.ptr_tpos) == (1 + 11 if pointers else 3)


def test_samurai_shows_from_minus_one_and_remembers_from_zero() -> None:
    going = Run(SAMURAI)
    going.prompted(20)
    going.script.score = -0.5
    answer = going.steps(1)
    assert answer.visible
    assert not answer.admitted
    (told,) = going.networks.calls.remembered
    assert told.score == -0.5, "the memory encoder takes it for absent"
    going.script.score = -1.0
    assert not going.steps(1).visible


def test_dam_keeps_frames_with_a_distractor() -> None:
    going = Run(DAM)
    going.prompted(20)
    assert going.tracker._timeline.tracks[1].bank.anchors == ()
    going.script.masks = ((20, 20, 10), (20, 20, 10), (45, 40, 9), (20, 20, 10))
    answer = going.steps(60)
    anchors = [kept.step for kept in going.tracker._timeline.tracks[1].bank.anchors]
    assert anchors == [62, 68, 74]  # more than 5 steps apart, the newest three
    assert len(answer.memory_steps) == 7
    assert answer.memory_tiers[0] is Tier.CONDITIONING
    assert answer.memory_tiers.count(Tier.LONG_TERM) == 3


@pytest.mark.parametrize("settings", [*EAGER, SAMURAI], ids=lambda one: one.name)
def test_objects_join_and_leave_at_any_time(settings: TrackerSettings) -> None:
    """XMem raises NotImplementedError when it consolidates objects of different age."""
    alone = run(settings, {2: [OTHER]})
    among = run(settings, {2: [OTHER], 9: [BOX], 15: [FIX], 18: [UndoPrompt(5)]})
    assert all(same(among, alone, 9))
    assert sum(5 in answer for answer in among) == 15
    if settings is not SAMURAI:
        assert Tier.LONG_TERM in alone[-1][9].memory_tiers


@pytest.mark.parametrize("settings", EAGER, ids=lambda one: one.name)
def test_anchors_go_with_the_prompt_that_they_came_of(settings: TrackerSettings) -> None:
    """Late prompts, undos and retracking leave the anchors that would be there in time."""
    plain = run(settings, {2: [BOX], 9: [FIX]})
    late = run(settings, {2: [BOX], 14: [seen_on(9, FIX)]})
    undone = run(settings, {2: [BOX], 9: [FIX], 12: [seen_on(11, OTHER)], 13: [UndoPrompt(9)]})
    assert all(same(late, plain, 5)[14:])
    assert all(same(undone, plain, 5))
    assert Tier.LONG_TERM in plain[-1][5].memory_tiers


@pytest.mark.parametrize("settings", [*PRESETS.values(), *EAGER], ids=lambda one: one.name)
def test_no_preset_asks_more_of_an_engine_than_it_takes(settings: TrackerSettings) -> None:
    """10 memories and 19 pointers, four of them lasting: also what a fixed form is padded to."""
    going = Run(settings)
    going.script.masks = ((20, 20, 10), (20, 20, 10), (45, 40, 9), (20, 20, 10))
    most = fake_manifest().row_steps[-1]

    def check(answer: ObjectResult) -> None:
        for attended in going.networks.calls.attended:
            assert len(attended.tpos) <= most[0]
            assert len(attended.ptr_tpos) <= most[1]
        lasting = (Tier.CONDITIONING, Tier.LONG_TERM)
        assert sum(tier in lasting for tier in answer.memory_tiers) <= 4
        assert len(answer.memory_tiers) == len(answer.memory_steps)

    assert most == (10, 19)
    going.prompted(1)
    for _ in range(7):
        going.steps(25, check)
        going.tracker.prompt(click(230, 190))


def test_a_model_for_less_refuses_a_preset_by_name() -> None:
    small = replace(fake_manifest(), num_recent=4)
    with pytest.raises(ValueError, match="takes at most 4 recent memories, preset long keeps 6"):
        Tracker(fake_networks(manifest=small), LONG)


def test_xmems_names_change_the_preset_long() -> None:
    settings = load_settings(None, ("tracker.memory.top_k=2", "tracker.memory.mem_every=3"))
    changed = apply_overrides(LONG, settings.tracker).bank_policy
    assert (changed.top_k, changed.recent_stride) == (2, 3)
    with pytest.raises(ValueError, match=r"the preset default has no rules tracker\.memory"):
        apply_overrides(PRESETS["default"], settings.tracker)
    given = load_settings(None, ("tracker.anchors.min_gap=2",)).tracker
    with pytest.raises(ValueError, match=r"anchors\.min_gap: .* or --preset dam$"):
        apply_overrides(LONG, given)
    assert apply_overrides(DAM, TrackerOverrides()).anchors == DAM.anchors


@pytest.mark.parametrize("every", [(), ("tracker.memory.mem_every=4",)])
def test_two_keys_for_the_distance_of_memories_are_refused_where_they_disagree(
    every: tuple[str, ...],
) -> None:
    given = load_settings(None, ("tracker.bank.recent_stride=3", *every)).tracker
    said = r"^tracker\.bank\.recent_stride: 3: .* expected null and tracker\.memory\.mem_every: 3$"
    with pytest.raises(ValueError, match=said):
        apply_overrides(LONG, given)
    if not every:
        assert apply_overrides(PRESETS["default"], given).bank_policy.recent_stride == 3
    same = ("tracker.bank.recent_stride=4", "tracker.memory.mem_every=4")
    agreed = apply_overrides(LONG, load_settings(None, same).tracker)
    assert agreed.bank_policy.recent_stride == 4


def test_no_more_anchors_are_attended_to_than_are_kept() -> None:
    settings = load_settings(None, ("tracker.memory.max_long_term_elements=2",)).tracker
    said = (
        r"^tracker\.memory\.max_long_term_elements: 2: expected at least tracker\.memory\.top_k, 3 "
    )
    with pytest.raises(ValueError, match=said):
        apply_overrides(LONG, settings)
    both = load_settings(
        None, ("tracker.memory.max_long_term_elements=2", "tracker.memory.top_k=2")
    )
    assert apply_overrides(LONG, both.tracker).bank_policy.top_k == 2


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("num_prototypes=128", "of no use here: anchors are whole frames"),
        ("hidden_dim=null", "has no hidden state; leave the key out"),
        ("key_dim=64", "the size of memories is the model's; leave the key out"),
        ("deep_update_every=-1", "of no use here: SAM 2 has no sensory state"),
        ("max_long_term_elements=10000", "expected a whole number 1..64"),
        ("top_k=30", "expected a whole number 1..3"),
        ("topk=3", "the nearest valid one is tracker.memory.top_k"),
    ],
)
def test_a_name_of_xmem_without_meaning_is_refused_with_the_reason(given: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(None, (f"tracker.memory.{given}",))
    (problem,) = caught.value.problems
    assert said in problem
    assert "tracker.memory." in problem
