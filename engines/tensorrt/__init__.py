"""TensorRT on an NVIDIA GPU: memory, engine files, the backend."""

from samcam.engines.tensorrt.cuda_runtime import GpuInfo, NoGpuError, find_gpu
from samcam.engines.tensorrt.driver import find_driver
from samcam.engines.tensorrt.files import (
    GRAPH_FOLDER,
    PRECISION_LADDER,
    EngineRecord,
    Fingerprint,
    build_hint,
    engine_path,
    graph_path,
    profiles_of,
    read_record,
    remove,
    write_engine,
    write_engine_file,
)
from samcam.engines.tensorrt.library import (
    HAS_BFLOAT16,
    LIBRARIES,
    TENSORRT,
    TENSORRT_RTX,
    Library,
    NoTensorRtError,
    check_capability,
    import_library,
)
from samcam.engines.tensorrt.runtime import make_logger

__all__ = [
    "GRAPH_FOLDER",
    "HAS_BFLOAT16",
    "LIBRARIES",
    "PRECISION_LADDER",
    "TENSORRT",
    "TENSORRT_RTX",
    "EngineRecord",
    "Fingerprint",
    "GpuInfo",
    "Library",
    "NoGpuError",
    "NoTensorRtError",
    "build_hint",
    "check_capability",
    "engine_path",
    "find_driver",
    "find_gpu",
    "graph_path",
    "import_library",
    "make_logger",
    "profiles_of",
    "read_record",
    "remove",
    "write_engine",
    "write_engine_file",
]
