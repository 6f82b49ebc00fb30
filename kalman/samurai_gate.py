"""The motion gate of SAMURAI's published code, one for each object."""

from __future__ import annotations

from typing import ClassVar, Final

from samcam.kalman.box_filter import REFERENCE_FPS, XYAH, BoxForm, BoxState, predict
from samcam.kalman.motion_gate import MotionGate

FRAME_S: Final = 1 / REFERENCE_FPS  # one reference frame: the filter's noise is exactly SAMURAI's


class SamuraiGate(MotionGate):
    """SAMURAI's filter and its three regimes: centre, aspect ratio, height, one step per frame.

    A first mask starts the filter; it warms up over `stable_steps` masks in a row above
    `stable_iou`; then it takes part in the choice with `weight`. A mask at or below `stable_iou`
    sends it back to the start. Source: sam2_base.py:419-498 and kalman_filter.py @76ba195, with
    the settings of sam2.1_hiera_t.yaml:122-131.

    Time is counted in processed frames, as there: `dt_s` is not used, so after dropped frames the
    object seems to have been faster.

    Differs:
        - Every object has a gate of its own, made with the object; theirs is one for the model,
          never reset (sam2_base.py:201-205) and fed by the first object only (426, 451, 495).
        - One step of the filter per frame, whatever was decoded for it; theirs steps with every
          call of the decoder for at most one point (_forward_sam_heads).
        - A first prompt starts the filter, be it clicks, a box or a mask; theirs starts it after
          a click, and after a box with the first tracked frame. A later prompt moves it, or starts
          it again elsewhere where the two disagree.
        - An empty mask, or an object that is absent, neither starts nor moves nor resets the
          filter; theirs takes it for the box [0, 0, 0, 0] (421-437, 444-452).
        - An empty mask is not chosen where another candidate has pixels.
        - Boxes come from masks at the network's resolution, a quarter of the 1024 pixels there;
          every noise scales with the height, so that changes rounding only. A height below one
          pixel of them counts as one.
        - At exactly `stable_iou` a stable filter starts over, as one that warms up does; theirs
          is moved.
        - The covariance is corrected in Joseph's form (filterpy); theirs by Cholesky's factors
          (213-225). The result is the same but for rounding.
    """

    form: ClassVar[BoxForm] = XYAH

    def _predicted(self, state: BoxState, dt_s: float) -> BoxState:
        return predict(state, FRAME_S)
