"""Half-precision graphs: which parts stay in float32, found by running them."""

from samcam.export.half.capability import for_capability
from samcam.export.half.from_onnx import LOWERED, half_from_onnx
from samcam.export.half.rounded import open_rounded

__all__ = ["LOWERED", "for_capability", "half_from_onnx", "open_rounded"]
