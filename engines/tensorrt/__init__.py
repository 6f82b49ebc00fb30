"""TensorRT on an NVIDIA GPU: memory, engine files, the backend."""

from samcam.engines.tensorrt.backend import fingerprint_here
from samcam.engines.tensorrt.cuda_runtime import GpuInfo, NoGpuError, find_gpu
from samcam.engines.tensorrt.driver import find_driver
from samcam.engines.tensorrt.files import (
    ENGINE_FOLDER,
    PRECISION_LADDER,
    EngineRecord,
    build_hint,
    graph_path,
    profile_of,
    read_record,
    remove,
    write_engine,
    write_engine_file,
)
from samcam.engines.tensorrt.runtime import NoTensorRtError, import_tensorrt, make_logger

__all__ = [
    "ENGINE_FOLDER",
    "PRECISION_LADDER",
    "EngineRecord",
    "GpuInfo",
    "NoGpuError",
    "NoTensorRtError",
    "build_hint",
    "find_driver",
    "find_gpu",
    "fingerprint_here",
    "graph_path",
    "import_tensorrt",
    "make_logger",
    "profile_of",
    "read_record",
    "remove",
    "write_engine",
    "write_engine_file",
]
