"""`--doctor`: checks everything a run needs, and tells how to get what is missing.

A finding is ok; a problem: broken, or asked for and not there; or absent: not there and not asked
for, which is how a healthy machine without a camera or a screen is. Problems, and what is absent
and can be had, come with what to do. Only what every run needs decides the exit code: engine and
models (4), and the virtual camera where the settings require it (5).
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from samcam.engines import (
    EMBEDDED_MODEL,
    MASK_PROMPT,
    EngineError,
    EngineOptions,
    ModelFileError,
    check_int8_form,
    find_model,
    read_manifest,
    rebuild_hint,
    verify_files,
)
from samcam.engines.onnxruntime import (
    PLAIN,
    OnnxRuntimeBackend,
    available_providers,
    describe_builds,
    find_providers,
    folder_owners,
    folder_problem,
    repair,
)
from samcam.engines.tensorrt import (
    HAS_BFLOAT16,
    LIBRARIES,
    TENSORRT,
    TENSORRT_RTX,
    GpuInfo,
    Library,
    NoGpuError,
    NoTensorRtError,
    check_capability,
    find_driver,
    find_gpu,
    import_library,
)
from samcam.guides import (
    NANOTRACK,
    NANOTRACK_FILES,
    GuideError,
    NanoTrackGuide,
    nanotrack_folder,
)
from samcam.live.cli.opening import virtual_camera_options
from samcam.live.cli.plan import Plan
from samcam.live.config import ControlSettings, HotkeySettings, Request
from samcam.live.errors import CaptureError
from samcam.live.remote import (
    ControlFolderError,
    NoHotkeysError,
    load_keyboard,
    make_folder,
    wanted,
)
from samcam.live.sinks import (
    NoVirtualCameraError,
    VirtualCameraOptions,
    driver_is_loaded,
    even_size,
    open_virtual_camera,
)
from samcam.live.sources import SourceOptions, list_cameras, open_camera
from samcam.live.window.desktop import NoWindowError, prepare_display
from samcam.system import program

_ENGINE_CODE: Final = 4
_OUTPUT_CODE: Final = 5
_PROBE_SIZE_WH: Final = (640, 480)
_PROBE_FPS: Final = 30.0
_WITHOUT_CAMERA: Final = "--source demo --set source.demo_frames=0"
_CUDA_MODULES: Final = ("cuda", "cuda.bindings")
_OLD: Final = "no bfloat16, no TF32: engines in float16; a network that does not build is named"
_WITHOUT_DISPLAY: Final = "--output video:out.mp4"


class State(StrEnum):
    """The result of one check."""

    OK = "ok"
    PROBLEM = "problem"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Finding:
    """One row of the table.

    Attributes:
        what: What was looked at.
        state: How it is.
        details: What was found, in one line.
        fix: What to do about a problem, or to have what is absent; the command, or steps where
            there is none.
        exit_code: Of the program if this is a problem; 0: every run can do without it.
    """

    what: str
    state: State
    details: str
    fix: str = ""
    exit_code: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """All findings."""

    findings: tuple[Finding, ...]

    @property
    def exit_code(self) -> int:
        """0, or the code of the first problem that no run can do without."""
        codes = (f.exit_code for f in self.findings if f.state is State.PROBLEM and f.exit_code)
        return next(codes, 0)

    def table(self) -> str:
        """Return the findings as lines of text, the fixes beneath."""
        width = max(len(finding.what) for finding in self.findings)
        lines = []
        for finding in self.findings:
            lines.append(f"{finding.what:<{width}}  {finding.state:<7}  {finding.details}")
            if finding.fix:
                lines.append(f"{'':<{width}}  {'':<7}  -> {finding.fix}")
        problems = sum(finding.state is State.PROBLEM for finding in self.findings)
        ends = f"; every run needs what is wrong: exit code {self.exit_code}"
        if not problems:
            absent = any(finding.state is State.ABSENT for finding in self.findings)
            lines.append("no problem found" + ("; what is absent is optional" if absent else ""))
        else:
            noun = "problem" if problems == 1 else "problems"
            tail = ends if self.exit_code else "; the rest works without"
            lines.append(f"{problems} {noun}{tail}")
        return "\n".join(lines)


def examine(request: Request, plan: Plan) -> Report:
    """Look at everything; opens and closes the camera and the virtual camera.

    Args:
        request: The command line: camera of `--source`, model of `--model`.
        plan: The checked settings.
    """
    settings = plan.settings
    camera = request.source if request.source.isdecimal() else None
    sinks = [text.partition(":") for text in request.outputs]
    device = next((name for kind, _, name in sinks if kind == "virtualcam" and name), None)
    kinds = {kind for kind, _, _ in sinks}
    virtual = virtual_camera_options(plan)
    models = dict.fromkeys((EMBEDDED_MODEL, request.model))
    return Report(
        (
            check_camera(camera, asked="--source" in request.given and camera is not None),
            check_virtual_camera(device, virtual, asked="virtualcam" in kinds),
            check_display_for_window(asked="window" in kinds),
            check_hotkeys(settings.hotkeys),
            check_control_folder(settings.control),
            *(check_model(name) for name in models),
            check_guide(plan.tracker.guide),
            check_providers(settings.engine),
            *check_gpu(request.backend),
        )
    )


def _missing(asked: bool) -> State:
    """Return the state of something that is missing."""
    return State.PROBLEM if asked else State.ABSENT


def check_camera(spec: str | None, asked: bool = False) -> Finding:
    """Open a camera and get a picture: the one named, else the first there is."""
    what = "camera"
    cameras = list_cameras()
    if not cameras:
        fix = f"plug one in; without: {program()} {_WITHOUT_CAMERA}"
        return Finding(what, _missing(asked), "none found", fix)
    listed = ", ".join(map(str, cameras))
    known = spec is not None and int(spec) in [camera.index for camera in cameras]
    if asked and not known:
        return Finding(
            what, State.PROBLEM, f"no camera {spec}; found: {listed}", "name one of those: --source"
        )
    try:
        source = open_camera(str(spec) if known else str(cameras[0].index), SourceOptions())
    except CaptureError as error:
        return Finding(what, State.PROBLEM, f"{error}; found: {listed}", _camera_command())
    try:
        info = source.info
    finally:
        source.close()
    width, height = info.size_wh
    details = f"{info.name} gives {width}x{height} at {info.fps:.4g} fps; found: {listed}"
    return Finding(what, State.OK, details)


def _camera_command(system: str = sys.platform) -> str:
    if system == "linux":
        user = os.environ.get("USER", "$USER")
        return (
            "close the program that uses it (fuser -v /dev/video*); for access: "
            f"sudo usermod -aG video {user}, then log in again"
        )
    if system == "darwin":
        pane = "x-apple.systempreferences:com.apple.preference.security?Privacy_Camera"
        return f"allow the terminal to use it: open '{pane}'"
    return "close the program that uses it and allow access: start ms-settings:privacy-webcam"


def check_virtual_camera(
    device: str | None, options: VirtualCameraOptions, asked: bool = False
) -> Finding:
    """Open the virtual camera and close it again."""
    what = "virtual camera"
    size_wh = even_size(options.size_wh or _PROBE_SIZE_WH)
    code = _OUTPUT_CODE if options.required else 0
    try:
        camera = open_virtual_camera(device, size_wh, options.fps or _PROBE_FPS)
    except NoVirtualCameraError as error:
        state = _missing(asked or options.required or driver_is_loaded())
        return Finding(what, state, error.reason, error.fix, code)
    details = f"{camera.device} ({camera.backend})"
    camera.close()
    return Finding(what, State.OK, details)


def check_display_for_window(asked: bool = False) -> Finding:
    """Look for a display and the libraries of windows, without opening one."""
    what = "display"
    try:
        prepare_display()
    except NoWindowError as error:
        state = _missing(asked or bool(os.environ.get("DISPLAY")))
        fix = f"run on a desktop, or: {program()} {_WITHOUT_DISPLAY}"
        return Finding(what, state, error.reason, fix)
    shown = os.environ.get("DISPLAY", "the system's own")
    return Finding(what, State.OK, shown)


def check_hotkeys(settings: HotkeySettings, system: str = sys.platform) -> Finding:
    """Load the package for global hotkeys, as a run would."""
    what = "hotkeys"
    if not wanted(settings.enabled, system):
        why = "off" if settings.enabled == "false" else "off on macOS: hotkeys.enabled: true"
        return Finding(what, State.ABSENT, f"{why}; keys work in the window, and ctl")
    try:
        load_keyboard(platform=system)
    except NoHotkeysError as error:
        state = _missing(error.broken or settings.enabled == "true")
        return Finding(what, state, error.reason, error.fix)
    return Finding(what, State.OK, ", ".join(settings.keys) or "none are set")


def check_control_folder(settings: ControlSettings) -> Finding:
    """Check that `ctl` would find a run: its folder must be private to the user."""
    what = "ctl"
    if not settings.socket:
        return Finding(what, State.ABSENT, "off: control.socket")
    try:
        folder = make_folder()
    except ControlFolderError as error:
        return Finding(what, State.PROBLEM, error.reason, error.fix)
    return Finding(what, State.OK, f"{folder} is yours alone")


def check_model(name: str) -> Finding:
    """Compare every file of a model with its manifest, by size and SHA-256."""
    what = f"model {name}"
    try:
        folder = find_model(name)
    except EngineError as error:
        return Finding(what, State.PROBLEM, error.reason, error.fix, _ENGINE_CODE)
    try:
        manifest = read_manifest(folder)
        verify_files(folder, manifest)
        check_int8_form(folder, manifest)
    except ModelFileError as error:
        return Finding(what, State.PROBLEM, str(error), rebuild_hint(name), _ENGINE_CODE)
    except EngineError as error:
        return Finding(what, State.PROBLEM, error.reason, error.fix, _ENGINE_CODE)
    return Finding(what, State.OK, f"{len(manifest.files)} files verified in {folder}")


def check_guide(name: str) -> Finding:
    """Load the files of the box tracker that can stand beside the motion gate.

    Args:
        name: The guide that is asked for.
    """
    what, asked = f"guide {NANOTRACK}", name == NANOTRACK
    code = _ENGINE_CODE if asked else 0
    try:
        folder = nanotrack_folder()
    except GuideError as error:
        return Finding(what, _missing(asked), error.reason, error.fix, code)
    try:
        NanoTrackGuide(folder)
    except GuideError as error:
        return Finding(what, State.PROBLEM, error.reason, error.fix, code)
    return Finding(what, State.OK, f"{len(NANOTRACK_FILES)} files verified in {folder}")


def check_providers(options: EngineOptions) -> Finding:
    """Check that ONNX Runtime loads and runs a network on the providers of the settings."""
    what = "ONNX Runtime"
    try:
        owners = folder_owners()
        if problem := folder_problem(owners):
            return Finding(what, State.PROBLEM, problem, repair(owners), _ENGINE_CODE)
        listed = f"{describe_builds(owners) or PLAIN}: {', '.join(available_providers())}"
        find_providers(options)
        if not options.on_cpu:
            network = find_model(EMBEDDED_MODEL) / f"{MASK_PROMPT}.onnx"
            OnnxRuntimeBackend(MASK_PROMPT, network, options).close()
    except EngineError as error:
        fix = error.fix or "set engine.providers to those that are there (docs/providers.md)"
        return Finding(what, State.PROBLEM, error.reason, fix, _ENGINE_CODE)
    if owners and PLAIN not in owners:
        listed += f"; an update of SamCam puts {PLAIN} over it"
        return Finding(what, State.OK, listed, repair(owners))
    return Finding(what, State.OK, listed)


def check_gpu(backend: str = "auto") -> tuple[Finding, ...]:
    """Look for a CUDA GPU and for the libraries of engines, which is all optional.

    Args:
        backend: The one that is asked for.
    """
    asked = backend in LIBRARIES
    try:
        gpu = find_gpu()
    except NoGpuError as error:
        driver = find_driver()
        needs = "needs an NVIDIA GPU" if driver is None else "needs CUDA"
        others = [
            Finding(TENSORRT.title, State.ABSENT, needs),
            Finding(TENSORRT_RTX.title, State.ABSENT, f"{needs}{_may_build()}"),
        ]
        if driver is None:
            details = "no NVIDIA driver; optional: the models run on any CPU"
            fix = "install NVIDIA's driver; in a container, start it with the GPU" if asked else ""
            return Finding("CUDA", _missing(asked), details, fix), *others
        state = _missing(asked) if _is_not_installed(error, _CUDA_MODULES) else State.PROBLEM
        found = "" if driver.version in error.reason else f"{driver}: "
        return Finding("CUDA", state, found + error.reason, error.fix or "nvidia-smi"), *others
    memory = f"{gpu.memory_bytes / 2**30:.1f} GiB"
    details = f"{gpu.name}, {memory}, compute capability {gpu.compute_capability}"
    cuda = Finding("CUDA", State.OK, f"{details}, driver {gpu.driver}, CUDA {gpu.cuda}")
    return cuda, *(_check_library(x, gpu, backend == x.name) for x in LIBRARIES.values())


def _check_library(library: Library, gpu: GpuInfo, asked: bool) -> Finding:
    """Import a library of engines, and say what the GPU's compute capability means for it."""
    try:
        check_capability(library, gpu.compute_capability)
    except NoTensorRtError as error:
        return Finding(library.title, _missing(asked), error.reason, error.fix)
    try:
        version = import_library(library).__version__
    except NoTensorRtError as error:
        state = _missing(asked) if _is_not_installed(error, library.modules) else State.PROBLEM
        return Finding(library.title, state, error.reason, error.fix)
    note = "" if gpu.capability >= HAS_BFLOAT16 else f"; {gpu.compute_capability}: {_OLD}"
    return Finding(library.title, State.OK, f"version {version}{note}")


def _may_build() -> str:
    """Say whether engines for other machines can be built here, which needs no GPU."""
    try:
        version = import_library(TENSORRT_RTX).__version__
    except NoTensorRtError:
        return ""
    return f"; version {version} builds engines for one"


def _is_not_installed(error: EngineError, modules: tuple[str, ...]) -> bool:
    """Whether a package is just not there, as opposed to one that does not load."""
    cause = error.__cause__
    return isinstance(cause, ModuleNotFoundError) and cause.name in modules
