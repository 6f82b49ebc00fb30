"""From torch to model folders: ONNX writers and their checks."""

import engines  # noqa: F401  # before ONNX Runtime: what it collects is switched off there
