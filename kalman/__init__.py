"""Motion: a stateless box filter and the scores derived from it."""

from samcam.kalman.motion_gate import MAX_HOLD_STEPS, GateSettings, MotionGate

__all__ = ["MAX_HOLD_STEPS", "GateSettings", "MotionGate"]
