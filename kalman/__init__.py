"""Motion: a stateless box filter, scores derived from it, and the gate that says when they act."""

from samcam.kalman.motion_gate import MAX_HOLD_STEPS, GateSettings, MotionGate

__all__ = ["MAX_HOLD_STEPS", "GateSettings", "MotionGate"]
