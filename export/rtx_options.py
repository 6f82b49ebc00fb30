"""What only TensorRT for RTX is told when it compiles an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from samcam.engines import EngineError

if TYPE_CHECKING:
    import tensorrt_rtx_bindings as rtx


def set_rtx_options(
    rtx: Any, config: rtx.IBuilderConfig, capability: tuple[int, int] | None
) -> None:
    """Set what an engine is compiled for, without a GPU.

    Args:
        capability: The one compute capability that it shall run on; None: 8.0, 8.6, 8.9, 12.0 and
            newer ones, which is what the library does where it is not told.

    Raises:
        EngineError: The library does not know the capability.
    """
    # All memory is the caller's: what a captured CUDA graph needs.
    config.set_flag(rtx.BuilderFlag.REQUIRE_USER_ALLOCATION)
    if capability is None:
        return
    known = {
        (7, 5): rtx.ComputeCapability.SM75,
        (8, 0): rtx.ComputeCapability.SM80,
        (8, 6): rtx.ComputeCapability.SM86,
        (8, 9): rtx.ComputeCapability.SM89,
        (12, 0): rtx.ComputeCapability.SM120,
        (12, 1): rtx.ComputeCapability.SM121,
    }
    if capability not in known:
        listed = ", ".join(f"{major}.{minor}" for major, minor in known)
        wanted = ".".join(map(str, capability))
        raise EngineError(f"compute capability {wanted}: expected one of {listed}")
    config.num_compute_capabilities = 1
    config.set_compute_capability(known[capability], 0)
