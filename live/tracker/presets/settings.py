"""What a preset says: the rules of one tracker, and their ranges."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Annotated, Final

from samcam.guides import Guide
from samcam.kalman import Gate, GateSettings, MotionGate
from samcam.live.tracker.crop import CropSettings, wants_crop
from samcam.live.tracker.guidance import GUIDES, NO_GUIDE
from samcam.live.tracker.identity.recovery import RecoverySettings
from samcam.live.tracker.state import StateThresholds
from samcam.memory import AdmissionThresholds, BankPolicy, DistractorTest, LongTermMemory
from samcam.system import Checked, ClashError, Setting

CATCH_UP: Final = ("retrack", "none")


@dataclass(frozen=True, slots=True)
class TrackerSettings(Checked):
    """Rules of one tracker; the same for all its objects.

    Attributes:
        name: As the user writes it.
        bank: What a memory bank keeps and how it counts.
        memory: Sensory, working and long-term memory, which change the bank; None: no such tiers.
        anchors: What makes a mask an anchor of the bank; None: nothing does.
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
        make_guide: Makes the guide of one object, one of your own; None: as `guide` says.
        recovery: What a mask must look like to be shown and remembered, above all a lost
            object's; None: whatever the scores let pass.
        rivals: Tracked objects are compared. Where two that look alike meet, a mask of both is
            parted between the places where they are expected.
    """

    name: str
    bank: BankPolicy
    memory: LongTermMemory | None = None
    anchors: DistractorTest | None = None
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
    camera_motion: Annotated[
        bool,
        Setting(
            "Measure how the camera moves and take that out of an object's motion; after a cut "
            "the object may be anywhere."
        ),
    ] = False
    drop_far_parts: Annotated[
        bool,
        Setting(
            "A part of a tracked mask that lies apart from where the motion has the object is "
            "dropped."
        ),
    ] = False
    crop: CropSettings | None = None
    guide: Annotated[
        str,
        Setting(
            "Another tracker of the same object whose box stands beside the motion gate; boxes: "
            "those of `ctl guide-box` only.",
            choices=GUIDES,
        ),
    ] = NO_GUIDE
    make_guide: Callable[[], Guide] | None = None
    recovery: RecoverySettings | None = None
    rivals: Annotated[
        bool,
        Setting("A mask that fits another tracked object better, by place and looks, is refused."),
    ] = False

    def __post_init__(self) -> None:
        Checked.__post_init__(self)
        if self.gate is not None:
            return
        guided = self.guide != NO_GUIDE or self.make_guide is not None
        problems = [
            f"{key}: the preset {self.name} has no motion gate {purpose}; expected {off}, or "
            "another preset"
            for key, needs_it, purpose, off in (
                ("camera_motion", self.camera_motion, "to use it", "false"),
                ("drop_far_parts", self.drop_far_parts, "to say where the object is", "false"),
                ("crop", self.crop is not None, "to steer a crop", "None"),
                ("rivals", self.rivals, "to say where an object is expected", "false"),
                ("guide", guided, "for a guide to stand beside", NO_GUIDE),
            )
            if needs_it
        ]
        if problems:
            raise ClashError(problems)

    def ungated(self) -> TrackerSettings:
        """Return these without the motion gate, and without the rules that need one.

        Raises:
            ValueError: They have a guide, which is no rule of theirs.
        """
        return replace(
            self, gate=None, crop=None, camera_motion=False, drop_far_parts=False, rivals=False
        )

    @property
    def bank_policy(self) -> BankPolicy:
        """`bank`, with the tiers of `memory`."""
        return self.bank if self.memory is None else self.memory.applied(self.bank)

    def for_model(self, model: str) -> TrackerSettings:
        """Return these with the default crop where a gate can steer it and the model, by its
        manifest's name, tracks better so; else as they are."""
        if self.gate is None or not wants_crop(model):
            return self
        return replace(self, crop=CropSettings())
