"""Execution providers: names, plug-ins and their devices, and builds that share a folder."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, PathDistribution
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest

from samcam.engines.base import EngineError, RowStack
from samcam.engines.onnxruntime import builds, providers
from samcam.engines.onnxruntime.backend import OnnxRuntimeBackend
from samcam.engines.onnxruntime.builds import folder_owners, folder_problem, how_to_get, repair
from samcam.engines.onnxruntime.providers import Provider, find_providers
from samcam.engines.onnxruntime.tensors import DeviceStacks, OrtTensor
from samcam.engines.options import EngineOptions
from samcam.system import install
from tests.project.test_project import pyproject
from tools import setup_env

CPU = "CPUExecutionProvider"
SPAM = "SpamExecutionProvider"
PLUG_IN = """
def get_ep_names():
    return ["SpamExecutionProvider"]
def get_library_path():
    return {path!r}
"""


@pytest.fixture
def plug_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package as `onnxruntime-ep-openvino` is one; its library is the test's to register."""
    package = tmp_path / "site" / "onnxruntime_ep_spam"
    package.mkdir(parents=True)
    library = package / "libspam.so"
    library.write_bytes(b"no library")
    (package / "__init__.py").write_text(PLUG_IN.format(path=str(library)))
    monkeypatch.syspath_prepend(str(package.parent))
    providers._register.cache_clear()
    yield library
    providers._register.cache_clear()
    sys.modules.pop("onnxruntime_ep_spam", None)


@pytest.fixture
def devices(plug_in: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Kinds of the devices that the runtime finds once it has the library."""
    kinds: list[str] = []
    registered: list[tuple[str, str]] = []

    def register(name: str, path: str) -> None:
        assert (name, path) not in registered, "the runtime refuses a second time"
        registered.append((name, path))

    def found() -> list[Any]:
        assert registered in ([], [(SPAM, str(plug_in))])
        own = SimpleNamespace(ep_name=CPU, ep_metadata={"version": "1"}, device=None)
        return [own] + [
            SimpleNamespace(
                ep_name=SPAM,
                ep_metadata={"library_path": str(plug_in)},
                device=SimpleNamespace(type=SimpleNamespace(name=kind)),
            )
            for kind in kinds
            if registered
        ]

    monkeypatch.setattr(onnxruntime, "register_execution_provider_library", register)
    monkeypatch.setattr(onnxruntime, "get_ep_devices", found)
    return kinds


def find(*given: Any) -> list[Provider]:
    return find_providers(EngineOptions(given))


@pytest.mark.parametrize("name", ["cpu", "CPU", "CPUExecutionProvider", "cpuexecutionprovider"])
def test_short_names(name: str) -> None:
    assert find({name: {"a": 1, "b": True, "c": "x"}}) == [
        Provider(CPU, {"a": "1", "b": "True", "c": "x"})
    ]


def test_a_missing_provider_says_what_installs_it() -> None:
    with pytest.raises(EngineError, match="SpamExecutionProvider is not in this build") as caught:
        find(SPAM, "cpu")
    assert caught.value.fix == ""
    with pytest.raises(EngineError) as caught:
        find("webgpu")
    assert "WebGpuExecutionProvider is not in this build, which has" in caught.value.reason
    assert caught.value.fix == "pip install onnxruntime-ep-webgpu"
    with pytest.raises(EngineError) as caught:
        find("cuda")
    assert caught.value.fix == (
        "pip install onnxruntime==1.31.1 && "
        "pip install --force-reinstall --no-deps onnxruntime-gpu==1.31.1"
    )


def test_a_plug_in_that_does_not_load(plug_in: Path) -> None:
    """Asked of the real runtime."""
    with pytest.raises(EngineError) as caught:
        find(SPAM)
    assert str(caught.value).startswith("onnxruntime: the plug-in onnxruntime_ep_spam does not")
    assert "\n" not in str(caught.value)


def test_a_plug_in_is_registered_once_and_gets_its_best_device(devices: list[str]) -> None:
    devices += ["CPU", "NPU", "GPU", "GPU"]
    for _ in range(2):
        (found,) = find({"spamexecutionprovider": {"x": 1}})
        assert (found.name, found.options) == (SPAM, {"x": "1"})
        assert found.device.device.type.name == "GPU"
    (chosen,) = find({SPAM: {"device_type": "cpu"}})
    assert (chosen.device.device.type.name, chosen.options) == ("CPU", {})
    runtime_devices = onnxruntime.get_ep_devices()
    (last,) = find({SPAM: {"device_id": 1}})
    assert last.device.device.type.name == "GPU"
    assert len(runtime_devices) == 5


@pytest.mark.parametrize(
    "options", [{"device_type": "XPU"}, {"device_id": 2}, {"device_id": -1}, {"device_type": 1}]
)
def test_a_device_that_is_not_there(devices: list[str], options: dict[str, Any]) -> None:
    devices += ["CPU", "GPU", "GPU"]
    with pytest.raises(EngineError, match=r"expected one of CPU 0, GPU 0, GPU 1$"):
        find({SPAM: options})


def test_a_plug_in_without_a_device(devices: list[str]) -> None:
    assert devices == []
    with pytest.raises(EngineError, match="plug-in onnxruntime_ep_spam finds no device here"):
        find(SPAM)


def test_a_plug_in_goes_to_the_session_by_its_device(
    devices: list[str], nano_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name alone is ignored by the runtime, without a word."""
    devices.append("CPU")
    added: list[tuple[str, Any, dict[str, str]]] = []

    class Options(onnxruntime.SessionOptions):  # type: ignore[misc]
        def add_provider_for_devices(self, given: list[Any], options: dict[str, str]) -> None:
            added.append(("plug-in", given[0].ep_name, options))

        def add_provider(self, name: str, options: dict[str, str]) -> None:
            added.append(("build", name, options))

    monkeypatch.setattr(onnxruntime, "SessionOptions", Options)
    path = nano_dir / "mask_prompt.onnx"
    with pytest.raises(EngineError, match=f"onnxruntime took {CPU}: check the driver"):
        OnnxRuntimeBackend("mask_prompt", path, EngineOptions(({SPAM: {"x": 1}}, "cpu")))
    assert added == [("plug-in", SPAM, {"x": "1"}), ("build", CPU, {})]


def test_cuda_keeps_its_tensors_and_gets_its_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: print("no cuDNN", loaded.append(1)))
    providers._load_cuda.cache_clear()
    for _ in range(2):
        (found,) = find({"cuda": {"device_id": 1}})
    providers._load_cuda.cache_clear()
    assert (found.memory, loaded) == (("cuda", 1), [1])
    assert Provider("OpenVINOExecutionProvider", {}).memory is None


@pytest.mark.parametrize(
    ("info", "memory"), [(SimpleNamespace(device_id=1), ("cuda", 1)), (None, None)]
)
def test_a_plug_in_says_which_memory_is_its_devices(info: Any, memory: object) -> None:
    """Its options have no number any more: that chose the device."""
    kinds = []
    device = SimpleNamespace(memory_info=lambda kind: (kinds.append(kind), info)[1])
    assert Provider("NvTensorRTRTXExecutionProvider", {}, device).memory == memory
    assert kinds == [onnxruntime.OrtDeviceMemoryType.DEFAULT]


def test_cuda_that_is_a_plug_in_of_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    """`preload_dlls` registers it, where it could not be loaded with the package."""
    kind = SimpleNamespace(name="GPU")
    device = SimpleNamespace(
        ep_name="CUDAExecutionProvider",
        ep_metadata={"library_path": "libonnxruntime_providers_cuda.so"},
        device=SimpleNamespace(type=kind),
        memory_info=lambda kind: SimpleNamespace(device_id=3),
    )
    there: list[Any] = []
    monkeypatch.setattr(onnxruntime, "get_ep_devices", lambda: there)
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: there.append(device))
    providers._load_cuda.cache_clear()
    (found,) = find({"cuda": {"use_tf32": 0}})
    providers._load_cuda.cache_clear()
    assert (found.name, found.options) == ("CUDAExecutionProvider", {"use_tf32": "0"})
    assert (found.device, found.memory) == (device, ("cuda", 3))
    there.clear()
    build: Any = SimpleNamespace(metadata={"Name": "onnxruntime-gpu"}, files=[], version="1")
    monkeypatch.setattr(providers, "folder_owners", lambda: {"onnxruntime-gpu": build})
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None)
    with pytest.raises(EngineError, match="of onnxruntime-gpu does not load: check the driver"):
        find("cuda")
    providers._load_cuda.cache_clear()


@pytest.mark.parametrize("total", [1, 3, 10])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_rows_are_stacked_on_the_device(total: int, dtype: str) -> None:
    rng = np.random.default_rng(total)
    arrays = [rng.random((1, 2, 3, 3)).astype(dtype) for _ in range(max(1, total - 1))]
    rows = [OrtTensor(onnxruntime.OrtValue.ortvalue_from_numpy(a), dtype) for a in arrays]
    opened = []

    def open_session(graph: bytes) -> Any:
        opened.append(len(graph))
        return onnxruntime.InferenceSession(graph, providers=[CPU])

    stacks = DeviceStacks(open_session, ("cpu", 0))
    for _ in range(2):
        whole = stacks.fill(RowStack(rows, total)).numpy()
        assert whole.shape == (1, total, 2, 3, 3)
        assert np.array_equal(whole[0, : len(rows)], np.concatenate(arrays))
        assert not whole[0, len(rows) :].any()
    assert len(opened) == 1


def owner(folder: Path, name: str, version: str, text: str) -> None:
    """Install a package that writes its text into the shared folder."""
    file = folder / "onnxruntime" / "capi.so"
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "RECORD").write_text(
        f"onnxruntime/capi.so,sha256=x,{len(text)}\nonnxruntime/a.pyc,,\n{info.name}/RECORD,,\n"
    )


@pytest.mark.parametrize(
    ("installed", "problem"),
    [
        ([("onnxruntime", "1.31.1")], False),
        ([("onnxruntime", "1.24.1"), ("onnxruntime-openvino", "1.24.1")], False),
        ([("onnxruntime-openvino", "1.24.1")], False),
        ([("onnxruntime-openvino", "1.24.1"), ("onnxruntime", "1.24.1")], True),
        ([("onnxruntime", "1.31.1"), ("onnxruntime-openvino", "1.24.1")], True),
        ([("onnxruntime-gpu", "1.24.1"), ("onnxruntime-openvino", "1.24.1")], True),
        ([("onnxruntime-ep-webgpu", "0.4.0"), ("onnxruntime", "1.31.1")], False),
    ],
)
def test_builds_that_share_the_folder(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    installed: list[tuple[str, str]],
    problem: bool,
) -> None:
    """The later one has overwritten the earlier one's files."""
    for i, (name, version) in enumerate(installed):
        owner(tmp_path, name, version, "x" * (i + 1))
    plug_in = tmp_path / "onnxruntime_ep_webgpu-0.4.0.dist-info" / "RECORD"
    if plug_in.is_file():  # a folder of its own
        plug_in.write_text("onnxruntime_ep_webgpu/__init__.py,sha256=x,1\n")
    found: list[Distribution] = [PathDistribution(p) for p in tmp_path.glob("*.dist-info")]
    monkeypatch.setattr(builds, "distributions", lambda: found)
    owners = folder_owners()
    assert "onnxruntime-ep-webgpu" not in owners
    assert bool(folder_problem(owners)) == problem
    if problem:
        for name, version in installed:
            assert f"{name} {version}" in folder_problem(owners)
        assert repair(owners).startswith("pip install onnxruntime==1.")
        with pytest.raises(EngineError, match="have overwritten each other's files: pip install"):
            find("dnnl")


def test_a_build_that_was_uninstalled_takes_the_files_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pip still counts `onnxruntime` as installed: installing SamCam again would change nothing."""
    owner(tmp_path, "onnxruntime", "1.24.1", "x")
    (tmp_path / "onnxruntime" / "capi.so").unlink()
    found: list[Distribution] = [PathDistribution(p) for p in tmp_path.glob("*.dist-info")]
    monkeypatch.setattr(builds, "distributions", lambda: found)
    assert folder_problem(folder_owners()) == "onnxruntime 1.24.1: files of it are gone or others'"
    monkeypatch.delattr(onnxruntime, "InferenceSession")
    with pytest.raises(EngineError, match="installed only in part") as caught:
        find("cpu")
    assert caught.value.fix == "pip install --force-reinstall --no-deps onnxruntime==1.24.1"
    found.clear()
    with pytest.raises(EngineError, match="installed only in part") as caught:
        find("cpu")
    assert caught.value.fix == install()


def test_what_installs_a_build_goes_with_what_is_required() -> None:
    """The same version of both, one that an update leaves in its place."""
    required = next(one for one in pyproject()["project"]["dependencies"] if "onnxruntime" in one)
    oldest, newest = re.findall(r"[0-9.]+", required)
    for provider in ("cuda", "tensorrt", "dml", "openvino"):
        first, second = how_to_get(provider).split(" && ")
        version = first.removeprefix("pip install onnxruntime==")
        assert second.endswith(f"=={version}")
        assert numbers(oldest) <= numbers(version) <= numbers(newest)


def numbers(version: str) -> list[int]:
    return [int(number) for number in version.split(".")]


def test_setting_up_a_checkout_takes_a_build_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the pinned onnxruntime would count as installed, whosever files are in its folder."""
    calls: list[tuple[str, ...]] = []
    monkeypatch.setattr(setup_env, "_installed", lambda name: name == "onnxruntime-openvino")
    monkeypatch.setattr(setup_env, "pip", lambda *args: calls.append(args))
    monkeypatch.setattr(setup_env, "can_import", lambda name: True)
    setup_env.install_packages("")
    removed, installed = calls
    assert removed[-2:] == ("onnxruntime-openvino", "onnxruntime")
    assert (removed[0], installed[0]) == ("uninstall", "install")
    assert set(setup_env.RUNTIME_BUILDS) == set(builds._BUILDS)
