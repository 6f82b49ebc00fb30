"""From torch to model folders: ONNX writers and their checks."""
