"""SAM 2.1 on the contract of SAM2-ONNX-TRT, which DeepStream's MaskTracker reads."""
