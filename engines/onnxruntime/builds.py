"""Builds of ONNX Runtime: packages that share one folder, and how one stands in another's place.

`onnxruntime-gpu`, `-directml` and `-openvino` write into the folder of `onnxruntime`, which SamCam
requires; pip knows nothing of it. So `onnxruntime` of the same version stays installed beneath:
then pip has what it asks for, and an update of SamCam leaves the folder alone.
"""

from __future__ import annotations

from importlib.metadata import Distribution, PackagePath, distributions
from pathlib import Path
from typing import Final

from samcam.engines.options import short_name
from samcam.system import exchange, install_also, install_over

PLAIN: Final = "onnxruntime"
# The newest ones that are known to be there; `pyproject.toml` lets `onnxruntime` be as old.
_BUILDS: Final = {
    "onnxruntime-gpu": "1.31.1",
    "onnxruntime-directml": "1.24.4",
    "onnxruntime-openvino": "1.24.1",
}
_BUILD_OF: Final = {
    "cuda": "onnxruntime-gpu",
    "tensorrt": "onnxruntime-gpu",
    "dml": "onnxruntime-directml",
    "openvino": "onnxruntime-openvino",
}
_PLUG_INS: Final = {
    "nvtensorrtrtx": "onnxruntime-ep-nv-tensorrt-rtx-cu13",
    "webgpu": "onnxruntime-ep-webgpu",
}


def folder_owners() -> dict[str, Distribution]:
    """Return the installed packages that have a file in the folder `onnxruntime`, by name."""
    found = {}
    for one in distributions():
        name = str(one.metadata["Name"] or "").lower().replace("_", "-")
        if name.startswith(PLAIN) and _files(one):
            found[name] = one
    return dict(sorted(found.items()))


def describe_builds(owners: dict[str, Distribution]) -> str:
    return " and ".join(f"{name} {one.version}" for name, one in owners.items())


def folder_problem(owners: dict[str, Distribution]) -> str:
    """Say what is wrong with the folder that these packages share; "" where nothing is."""
    others = [one for name, one in owners.items() if name != PLAIN]
    versions = {one.version for one in owners.values()}
    if len(owners) < 2:
        broken = [one for one in owners.values() if not is_whole(one)]
        return f"{describe_builds(owners)}: files of it are gone or others'" if broken else ""
    if len(others) == 1 and len(versions) == 1 and is_whole(others[0]):
        return ""
    return f"{describe_builds(owners)} have overwritten each other's files"


def is_whole(one: Distribution) -> bool:
    """Whether every file that a package put into the folder still has its size."""
    try:
        return all(f.size is None or Path(f.locate()).stat().st_size == f.size for f in _files(one))
    except OSError:
        return False


def repair(owners: dict[str, Distribution]) -> str:
    """Return the command that puts the folder right: with a build, where one is installed, in the
    place of `onnxruntime`; "" where nothing is installed."""
    for name, one in owners.items():
        if name != PLAIN:
            return exchange(PLAIN, name, _BUILDS.get(name, one.version))
    return install_over(f"{PLAIN}=={owners[PLAIN].version}") if owners else ""


def how_to_get(provider: str) -> str:
    """Return the command that installs a provider, "" where none is known."""
    short = short_name(provider)
    return install_also(_PLUG_INS[short]) if short in _PLUG_INS else build_with(provider)


def build_of(provider: str) -> str:
    """Return the package that is a build with a provider, "" where none is known."""
    return _BUILD_OF.get(short_name(provider), "")


def build_with(provider: str) -> str:
    """Return the command that installs a build with a provider, "" where none is known."""
    build = build_of(provider)
    return exchange(PLAIN, build, _BUILDS[build]) if build else ""


def _files(one: Distribution) -> list[PackagePath]:
    return [f for f in one.files or () if f.parts[0] == PLAIN and f.suffix != ".pyc"]
