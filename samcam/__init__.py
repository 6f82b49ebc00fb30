"""SamCam from Python: click any object in a picture, and it is tracked and masked.

    from samcam import Frame, Prompt, Tracker

Names are loaded on first use, so `import samcam` costs nothing; docs/python_api.md explains them.
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

_BESIDE = Path(__file__).resolve().parent.parent
_ROOM, _PROGRAM = _BESIDE / "live" / "__init__.py", _BESIDE / "run_live.py"
if _ROOM.is_file() and _PROGRAM.is_file():  # a checkout: the rooms stand beside this folder
    __path__.append(str(_BESIDE))

if TYPE_CHECKING:
    from samcam.engines import EngineError, EngineOptions
    from samcam.live.errors import CaptureError, ConfigError, SinkError
    from samcam.live.frames import Frame, FrameResult, ObjectResult, ObjectState, Prompt
    from samcam.live.masks import upsample_logits
    from samcam.live.sources import NoSignal, SourceOptions, VideoSource, open_source
    from samcam.live.tracker import PRESETS, CropSettings, Tracker, TrackerSettings
    from samcam.system import VERSION as __version__

__all__ = [
    "PRESETS",
    "CaptureError",
    "ConfigError",
    "CropSettings",
    "EngineError",
    "EngineOptions",
    "Frame",
    "FrameResult",
    "NoSignal",
    "ObjectResult",
    "ObjectState",
    "Prompt",
    "SinkError",
    "SourceOptions",
    "Tracker",
    "TrackerSettings",
    "VideoSource",
    "__version__",
    "open_source",
    "upsample_logits",
]

_ROOMS = {
    "engines": ("EngineError", "EngineOptions"),
    "live.errors": ("CaptureError", "ConfigError", "SinkError"),
    "live.frames": ("Frame", "FrameResult", "ObjectResult", "ObjectState", "Prompt"),
    "live.masks": ("upsample_logits",),
    "live.sources": ("NoSignal", "SourceOptions", "VideoSource", "open_source"),
    "live.tracker": ("PRESETS", "CropSettings", "Tracker", "TrackerSettings"),
}


def __getattr__(name: str) -> Any:
    for room, names in _ROOMS.items():
        if name in names:
            value = globals()[name] = getattr(import_module(f"samcam.{room}"), name)
            return value
    if name == "__version__":
        return import_module("samcam.system").VERSION
    raise AttributeError(f"module 'samcam' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
