"""Motion: a stateless box filter, its scores, and the gate that says when to use them."""

from samcam.kalman.camera_motion import (
    CameraFinding,
    CameraMotion,
    Grey,
    measure_camera,
    small_grey,
)
from samcam.kalman.mask_parts import drop_far_parts
from samcam.kalman.motion_gate import MAX_HOLD_STEPS, TIME_ERROR_S, Gate, GateSettings, MotionGate
from samcam.kalman.motion_score import box_iou, box_ious
from samcam.kalman.samurai_gate import SamuraiGate

__all__ = [
    "MAX_HOLD_STEPS",
    "TIME_ERROR_S",
    "CameraFinding",
    "CameraMotion",
    "Gate",
    "GateSettings",
    "Grey",
    "MotionGate",
    "SamuraiGate",
    "box_iou",
    "box_ious",
    "drop_far_parts",
    "measure_camera",
    "small_grey",
]
