"""The tracker's presets: every number of the tracking rules, each with its source.

SAM 2 is facebookresearch/sam2 @2b90b9f; SAMURAI is arXiv 2411.11922 (the paper) and
yangchris11/samurai @76ba195 (its code, whose numbers differ in places).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Final

from samcam.kalman import MAX_HOLD_STEPS, Gate, GateSettings, MotionGate
from samcam.live.tracker.crop import CropSettings
from samcam.live.tracker.state import StateThresholds
from samcam.memory import AdmissionThresholds, BankPolicy, RecentOrder
from samcam.system import Checked, Setting

DEFAULT_PRESET: Final = "default"
CATCH_UP: Final = ("retrack", "none")


@dataclass(frozen=True, slots=True)
class TrackerSettings(Checked):
    """Rules of one tracker; the same for all its objects.

    Attributes:
        name: As the user writes it.
        bank: What a memory bank keeps and how it counts.
        admission: Thresholds for a tracked mask to enter the memory; None: all do.
        gate: The motion gate; None: the best predicted IoU chooses.
        make_gate: Makes the gate of one object from `gate`.
        state: When an object is uncertain, lost, recovered.
        presence_threshold: 0 in SAM 2 (sam2_base.py:355).
        corrections_condition: A corrected frame becomes a conditioning memory. False in SAM 2
            (add_all_frames_to_correct_as_cond, sam2_video_predictor.py:35).
        trust_prompts: What the user points at is there: a positive click or a box counts as
            present whatever the score; a prompt that gives an empty mask is not remembered; and
            a correction of an object that was not seen starts without its mask. SAM 2: False.
        catch_up: What a prompt on a past step does to the steps since: `retrack` tracks that
            object through them again; `none` only puts the memory where it belongs.
        crop: The part of the picture that the networks see of a known object, around where its
            filter expects it; None: always the whole picture.
    """

    name: str
    bank: BankPolicy
    admission: AdmissionThresholds | None = None
    gate: GateSettings | None = None
    make_gate: Callable[[GateSettings], Gate] = MotionGate
    state: StateThresholds = field(default_factory=StateThresholds)
    presence_threshold: Annotated[
        float, Setting("Object score above which the object is there.", "logit", -32, 32)
    ] = 0.0
    corrections_condition: Annotated[
        bool, Setting("A corrected frame is remembered like a first prompt.")
    ] = False
    trust_prompts: Annotated[
        bool, Setting("What the user points at is there, whatever the object score says.")
    ] = False
    prompt_history: Annotated[
        int,
        Setting(
            "Past pictures on which a click still counts where it was seen; each costs memory.",
            "processed frames",
            0,
            64,
        ),
    ] = 8  # about a quarter of a second: what a person sees and clicks
    catch_up: Annotated[
        str,
        Setting(
            "After a click on a past picture: track that object again since then, or only "
            "remember.",
            choices=CATCH_UP,
        ),
    ] = CATCH_UP[0]
    crop: CropSettings | None = None

    def __post_init__(self) -> None:
        Checked.__post_init__(self)
        if self.crop is not None and self.gate is None:
            raise ValueError(
                f"crop: the preset {self.name} has no motion gate to steer a crop; "
                "expected None, or another preset"
            )


SAM2: Final = TrackerSettings(
    name="sam2",
    # Meta keeps every conditioning frame (max_cond_frames_in_attn -1); a stream needs a bound,
    # and 4 is the engines' limit.
    bank=BankPolicy(max_cond=4, recent_order=RecentOrder.DISTANCE),
)

SAMURAI_PAPER: Final = TrackerSettings(
    name="samurai-paper",
    bank=BankPolicy(max_cond=4, recent_order=RecentOrder.RANK, clamp_pointer_offset=True),
    # tau_mask 0.5, tau_obj 0, tau_kf 0.5: paper section 4 (its code has 0.0 for the last).
    admission=AdmissionThresholds(predicted_iou=0.5, object_score=0.0, motion_iou=0.5),
    gate=GateSettings(
        weight=0.15,  # alpha_kf, paper section 4 (its code: 0.25 for tiny, small and base+)
        stable_steps=15,  # paper section 4; stable_frames_threshold, sam2.1_hiera_t.yaml:124
        stable_iou=0.3,  # stable_ious_threshold, sam2.1_hiera_t.yaml:125; the paper gives none
        reset_when_weak=True,  # sam2_base.py:495-496
        start_iou=0.0,  # blind, sam2_base.py:421-437
        follow_iou=0.0,  # no such test, sam2_base.py:497-498
        hold_steps=MAX_HOLD_STEPS,  # never forgotten
        hold_s=0.0,
    ),
    corrections_condition=True,
)

DEFAULT: Final = TrackerSettings(
    name=DEFAULT_PRESET,
    bank=BankPolicy(
        max_cond=4, recent_order=RecentOrder.RANK, gate_pointers=True, clamp_pointer_offset=True
    ),
    # As the paper, but a softer motion test: with real time steps and boxes at mask resolution
    # small objects overlap less with a right prediction than SAMURAI's at 1024 px do.
    admission=AdmissionThresholds(predicted_iou=0.5, object_score=0.0, motion_iou=0.3),
    gate=GateSettings(
        weight=0.25,  # SAMURAI's code, sam2.1_hiera_t.yaml:127
        stable_steps=5,  # ours: 15 frames are too long for a live first click
        stable_iou=0.3,  # as SAMURAI
        reset_when_weak=False,  # ours: one weak mask must not make the gate forget the motion
        start_iou=0.5,  # ours: tau_mask; never blindly on whatever comes after a loss
        follow_iou=0.3,  # ours: what does not enter the memory does not move the filter either
        hold_steps=3,
        hold_s=0.5,  # ours: constant velocity says little about half a second later
    ),
    corrections_condition=True,
    trust_prompts=True,
)

PRESETS: Final[dict[str, TrackerSettings]] = {
    settings.name: settings for settings in (DEFAULT, SAM2, SAMURAI_PAPER)
}


def preset(name: str) -> TrackerSettings:
    """Return the preset of this name.

    Raises:
        ValueError: There is none; names those there are.
    """
    if name not in PRESETS:
        raise ValueError(f"preset: expected one of {', '.join(PRESETS)}, got {name!r}")
    return PRESETS[name]
