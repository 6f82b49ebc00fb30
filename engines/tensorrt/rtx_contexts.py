"""What only TensorRT for RTX is told when it runs an engine, and what it compiled, kept on disk.

It finishes an engine on the user's GPU: the kernels of a shape are compiled at its first run. They
are kept in a file beside the engine, so that the next start takes no time for them. Source:
https://docs.nvidia.com/deeplearning/tensorrt-rtx/latest/inference-library/work-with-runtime-cache.html
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from samcam.engines.base import EngineError
from samcam.engines.tensorrt.files import kernels_path, write_engine_file
from samcam.system.files import read_regular

if TYPE_CHECKING:
    import tensorrt_rtx_bindings as rtx

MAX_CACHE_BYTES: Final = 256 << 20
_DIGEST_BYTES: Final = 32  # of SHA-256, of all that follows; it comes first in the file

_log = logging.getLogger(__name__)


class RtxContexts:
    """Makes the contexts of one engine and keeps what is compiled for them."""

    def __init__(self, rtx: Any, engine: rtx.ICudaEngine, path: Path) -> None:
        """Read the cache of compiled kernels; one that is missing, damaged or of another GPU,
        driver or version is made anew.

        Args:
            path: Of the engine.
        """
        self._rtx = rtx
        self._path = kernels_path(path)
        self._saved = b""  # digest of what the file has
        # Kept for as long as a context lives.
        self._configs: list[rtx.IRuntimeConfig] = [engine.create_runtime_config()]
        self._cache: rtx.IRuntimeCache = self._configs[0].create_runtime_cache()
        self._read()

    def make(self, engine: rtx.ICudaEngine, captured: bool) -> rtx.IExecutionContext | None:
        """Return a context that gets its scratch memory from us, None where it is refused.

        Args:
            captured: Its run is captured in a CUDA graph, so every kernel is compiled before. For
                the others a general one runs at once, while that for the shape is compiled: a click
                does not wait.
        """
        rtx = self._rtx
        config = engine.create_runtime_config()
        user_managed = rtx.ExecutionContextAllocationStrategy.USER_MANAGED
        config.set_execution_context_allocation_strategy(user_managed)
        config.cuda_graph_strategy = rtx.CudaGraphStrategy.DISABLED  # they are ours
        kernels = rtx.DynamicShapesKernelSpecializationStrategy
        config.dynamic_shapes_kernel_specialization_strategy = (
            kernels.EAGER if captured else kernels.LAZY
        )
        if not config.set_runtime_cache(self._cache):
            _log.warning("%s: not used: the next start compiles again", self._path)
        self._configs.append(config)
        return engine.create_execution_context(runtime_config=config)

    def may_capture(self, context: rtx.IExecutionContext, stream: int) -> bool:
        """Whether a context's run can be captured; ask after a first run."""
        return bool(context.is_stream_capturable(stream))

    def save(self) -> None:
        """Write what was compiled since it was read or written; never fails."""
        compiled = self._cache.serialize()
        data = b"" if compiled is None else bytes(compiled)
        digest = hashlib.sha256(data).digest()
        if not data or digest == self._saved:
            return
        try:
            if len(data) > MAX_CACHE_BYTES:
                raise EngineError(f"{len(data)} bytes, expected at most {MAX_CACHE_BYTES}")
            write_engine_file(self._path, digest + data)
        except EngineError as error:
            _log.info("%s: the next start compiles again: %s", self._path, error)
        else:
            self._saved = digest

    def close(self) -> None:
        """Forget everything; the contexts are gone."""
        self._configs.clear()
        self._cache = None

    def _read(self) -> None:
        try:
            whole = read_regular(self._path, MAX_CACHE_BYTES + _DIGEST_BYTES)
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            _log.warning("%s: not used: %s: compiled again", self._path, error)
            return
        digest, data = whole[:_DIGEST_BYTES], whole[_DIGEST_BYTES:]
        if hashlib.sha256(data).digest() != digest:
            _log.warning("%s: damaged, not used: compiled again", self._path)
        elif self._cache.deserialize(data):
            self._saved = digest
        else:
            _log.info("%s: of another GPU, driver or version: compiled again", self._path)
