"""ONNX Runtime: the backend, execution providers and their plug-ins, builds that share a folder."""

from samcam.engines.onnxruntime.backend import OnnxRuntimeBackend
from samcam.engines.onnxruntime.builds import (
    PLAIN,
    describe_builds,
    folder_owners,
    folder_problem,
    repair,
)
from samcam.engines.onnxruntime.providers import (
    available_providers,
    find_providers,
    import_onnxruntime,
)

__all__ = [
    "PLAIN",
    "OnnxRuntimeBackend",
    "available_providers",
    "describe_builds",
    "find_providers",
    "folder_owners",
    "folder_problem",
    "import_onnxruntime",
    "repair",
]
