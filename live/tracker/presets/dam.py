"""The preset `dam`: memory for distractors, as DAM4SAM has it (arXiv 2411.17576, code @9c95450).

Recent memories every 5 steps and the newest, of masks with pixels; beside the prompts up to three
anchors, frames on which a distractor was seen (`samcam.memory.DistractorTest`). No motion in the
choice among candidates. Differs from the code:

- Recent memories are 5 steps apart, counted from each other, and chosen when they are made; theirs
  lie on a grid of steps and are searched for backwards, without a bound while the object is lost
  (sam2_base.py:573-581, 589-597).
- Any step may be the first prompt; theirs must be frame 0 (sam2_utils.py:19-53). Several objects.
- A further prompt takes the place of the oldest anchor that is attended to.
- Steps between anchors count from the last prompt too; theirs may come right after the first
  (last_added -1, dam4sam_tracker.py). An anchor is also a recent memory, so it has to be admitted.
- A box is answered as SAM 2 does it, by one mask; theirs lets up to three points choose among
  masks (multimask_max_pt_num 3).
- The area is compared with the earlier ones only, as share of the picture.
- Up to four prompts count, and the offset of an old pointer counts as 15 steps at most.
- A motion filter runs along to steer the crop (`tracker.crop`) and weighs nothing.
"""

from __future__ import annotations

from typing import Final

from samcam.kalman import GateSettings
from samcam.live.tracker.presets.settings import TrackerSettings
from samcam.memory import AdmissionThresholds, Anchoring, BankPolicy, DistractorTest, RecentOrder

DAM: Final = TrackerSettings(
    name="dam",
    bank=BankPolicy(
        recent_order=RecentOrder.RANK,  # sorted by time, sam2_base.py:604-615
        clamp_pointer_offset=True,
        max_memories=7,  # num_maskmem, sam21pp_hiera_t.yaml:87
        recent_stride=5,  # memory_temporal_stride_for_eval, sam21pp_hiera_t.yaml:126
        anchoring=Anchoring.NEWEST,  # sam2_utils.py:19-53
        max_anchors=3,  # max_cond_frames_in_attn 4 less the first, sam21pp_hiera_t.yaml:124
    ),
    anchors=DistractorTest(),
    # all masks with pixels, sam2_base.py:570-597
    admission=AdmissionThresholds(predicted_iou=0.0, object_score=0.0, motion_iou=-1.0),
    gate=GateSettings(
        weight=0.0,  # the best predicted IoU chooses
        stable_steps=5,  # this and the rest: those of `default`, for the crop
        stable_iou=0.3,
        reset_when_weak=False,
        start_iou=0.5,
        follow_iou=0.3,
        hold_steps=3,
        hold_s=0.5,
    ),
    corrections_condition=True,
)
