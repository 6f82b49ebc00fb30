"""Motion between pictures: optical flow, and masks carried along with it."""

from samcam.live.motion.carry import CARRY, Carrier
from samcam.live.motion.flow import sample, warp_logits, where_it_was
from samcam.live.motion.stage import run_carry

__all__ = ["CARRY", "Carrier", "run_carry", "sample", "warp_logits", "where_it_was"]
