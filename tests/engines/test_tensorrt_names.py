"""Every name of TensorRT, TensorRT for RTX and cuda-python that our sources use exists, with its
signature.

No GPU is needed. TensorRT for RTX is here with its library, and compiles in
tests/export/test_compiler.py; what only its Runtime and TensorRT 11 and 10 know is known by name.
Those two have bindings without a library: they are imported against stub libraries that are
compiled here, in a process of their own.
"""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPO_ROOT, require_tool, skip_or_fail
from tests.helpers import fake_tensorrt, fake_tensorrt_builder, fake_tensorrt_rtx
from tests.helpers.api_check import Api, Checker, Report, returns_of
from tests.helpers.bounds import RUN_TIMEOUT_S
from tests.helpers.compiler import require_rtx
from tests.helpers.fake_cuda import FakeCuda

API_FOLDER = Path(sys.prefix) / "api"
RTX = "tensorrt_rtx_bindings"
TENSORRT_SOURCES = (
    "engines/tensorrt/runtime.py",
    "engines/tensorrt/engine.py",
    "export/engine_compiler.py",
    "export/build_progress.py",
)
RTX_SOURCES = ("export/rtx_options.py", "engines/tensorrt/rtx_contexts.py")
CUDA_SOURCES = ("engines/tensorrt/cuda_runtime.py", "engines/tensorrt/cuda_memory.py")
STUB_LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser")
STUB_SYMBOLS = (
    "createInferBuilder_INTERNAL",
    "createInferRuntime_INTERNAL",
    "createInferRefitter_INTERNAL",
    "createNvOnnxParser_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL",
    "getBuilderPluginRegistry",
    "getPluginRegistry",
    "getNvOnnxParserVersion",
    "initLibNvInferPlugins",
)


def api_folder(name: str) -> Path:
    folder = API_FOLDER / name
    if not (folder / "requirements.txt").is_file():
        skip_or_fail(f"the package {name} to compare names with is missing: run 'make setup'")
    return folder


def dump(module: str, folder: Path, libraries: list[Path]) -> Api:
    """Return what a module offers, as a fresh interpreter sees it."""
    program = REPO_ROOT / "tests" / "helpers" / "api_dump.py"
    command = [sys.executable, str(program), module, str(folder), *map(str, libraries)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False
    )
    assert done.returncode == 0, done.stderr
    return Api(json.loads(done.stdout))


@pytest.fixture(scope="module", params=["11", "10"])
def tensorrt(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Api:
    """The real bindings of one version, over libraries that only have the symbols."""
    version = request.param
    folder = api_folder(f"tensorrt-{version}")
    if sys.platform != "linux":
        skip_or_fail("the stub libraries are made for Linux only")
    compiler = shutil.which("cc") or require_tool("gcc", "gcc")
    where = tmp_path_factory.mktemp("stubs")
    source = where / "stub.c"
    source.write_text("".join(f"void *{s}(void) {{ return 0; }}\n" for s in STUB_SYMBOLS))
    libraries = []
    for name in STUB_LIBRARIES:
        soname = f"lib{name}.so.{version}"
        libraries.append(where / soname)
        command = [compiler, "-shared", "-fPIC", f"-Wl,-soname,{soname}", "-o", soname, source.name]
        subprocess.run(command, cwd=where, check=True, capture_output=True, timeout=RUN_TIMEOUT_S)
    api = dump("tensorrt_bindings", folder, libraries)
    assert api.version.startswith(f"{version}.")
    return api


@pytest.fixture(scope="module")
def rtx() -> Api:
    """TensorRT for RTX as it is installed."""
    require_rtx()
    return dump(RTX, REPO_ROOT, [])


@pytest.fixture(scope="module")
def cudart() -> Api:
    """The real cuda-python."""
    return dump("cuda.bindings.runtime", api_folder("cuda-13"), [])


def trees(paths: tuple[str, ...]) -> list[ast.Module]:
    return [ast.parse((REPO_ROOT / path).read_text(encoding="utf-8")) for path in paths]


def check(api: Api, root: str, paths: tuple[str, ...], *aliases: str) -> Report:
    """Check files; problems name their file."""
    whole = Report()
    parsed = trees(paths)
    returns = returns_of(api, root, parsed)
    for path, tree in zip(paths, parsed, strict=True):
        report = Checker(api, root, returns, aliases).run(tree)
        whole.uses |= report.uses
        whole.problems += [f"{path}: {problem}" for problem in report.problems]
    return whole


def test_tensorrt_is_used_as_it_is(tensorrt: Api) -> None:
    report = check(tensorrt, "trt", TENSORRT_SOURCES, "tensorrt")
    assert not report.problems, "\n".join(report.problems)
    # What the walker must have seen; a walker that loses its way sees less.
    assert {
        "Runtime",
        "Runtime.deserialize_cuda_engine",
        "ICudaEngine.create_execution_context",
        "ICudaEngine.get_tensor_profile_shape",
        "ICudaEngine.num_io_tensors",
        "IExecutionContext.set_optimization_profile_async",
        "IExecutionContext.set_tensor_address",
        "IExecutionContext.set_input_shape",
        "IExecutionContext.execute_async_v3",
        "IExecutionContext.get_tensor_shape",
        "IExecutionContext.set_device_memory",
        "ICudaEngine.device_memory_size_v2",
        "ExecutionContextAllocationStrategy.USER_MANAGED",
        "Builder.create_network",
        "Builder.build_serialized_network",
        "OnnxParser.parse",
        "ParserError.desc",
        "ParserError.node_name",
        "IBuilderConfig.set_memory_pool_limit",
        "IBuilderConfig.progress_monitor",
        "IBuilderConfig.builder_optimization_level",
        "IBuilderConfig.clear_flag",
        "IBuilderConfig.set_timing_cache",
        "ITimingCache.serialize",
        "IOptimizationProfile.set_shape",
        "IProgressMonitor.step_complete",
        "ILogger.log",
        "NetworkDefinitionCreationFlag.STRONGLY_TYPED",
        "BuilderFlag.TF32",
        "TensorIOMode.INPUT",
        "DataType.UINT8",
    } <= report.uses
    assert len(report.uses) >= 50


def test_tensorrt_for_rtx_is_used_as_it_is(rtx: Api) -> None:
    """The same calls, and those of its own."""
    report = check(rtx, "trt", TENSORRT_SOURCES, "tensorrt")
    assert not report.problems, "\n".join(report.problems)
    assert len(report.uses) >= 50
    own = check(rtx, "rtx", RTX_SOURCES, RTX)
    assert not own.problems, "\n".join(own.problems)
    assert {
        "BuilderFlag.REQUIRE_USER_ALLOCATION",
        "IBuilderConfig.set_flag",
        "IBuilderConfig.num_compute_capabilities",
        "IBuilderConfig.set_compute_capability",
        "ICudaEngine.create_runtime_config",
        "ICudaEngine.create_execution_context",
        "IRuntimeConfig.create_runtime_cache",
        "IRuntimeConfig.set_runtime_cache",
        "IRuntimeConfig.set_execution_context_allocation_strategy",
        "IRuntimeConfig.cuda_graph_strategy",
        "IRuntimeConfig.dynamic_shapes_kernel_specialization_strategy",
        "IRuntimeCache.deserialize",
        "IRuntimeCache.serialize",
        "IExecutionContext.is_stream_capturable",
    } <= own.uses


def test_cuda_python_is_used_as_it_is(cudart: Api) -> None:
    report = check(cudart, "cudart", CUDA_SOURCES, "runtime")
    assert not report.problems, "\n".join(report.problems)
    assert {
        "cudaMalloc",
        "cudaMallocHost",
        "cudaMemcpyAsync",
        "cudaMemcpyKind.cudaMemcpyDeviceToDevice",
        "cudaStreamBeginCapture",
        "cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal",
        "cudaGraphInstantiate",
        "cudaGraphLaunch",
        "cudaEventSynchronize",
        "cudaDeviceProp.totalGlobalMem",
    } <= report.uses


def test_only_these_files_use_the_gpu_libraries() -> None:
    """A file that is not checked above must not import them."""
    for path in [*(REPO_ROOT / "engines").rglob("*.py"), *(REPO_ROOT / "export").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            else:
                modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for module in modules:
                name = path.relative_to(REPO_ROOT).as_posix()
                if module.startswith("tensorrt"):
                    assert name in TENSORRT_SOURCES + RTX_SOURCES
                if module.partition(".")[0] == "cuda":
                    assert name in CUDA_SOURCES


PLANTED = {
    "context.execute_async_v4(stream)": "execute_async_v4: not in version",
    "context.execute_async_v3()": "execute_async_v3: does not take",
    "context.execute_async_v3(stream, 1)": "execute_async_v3: does not take",
    "context.execute_async_v3(stream=stream)": "execute_async_v3: does not take",
    "engine.num_bindings": "ICudaEngine.num_bindings: not in version",
    "engine.num_io_tensors = 3": "num_io_tensors: cannot be set",
    "trt.Builder(logger).create_network(0).get_inputs()": "get_inputs: not in version",
    "trt.BuilderFlag.FP_16": "BuilderFlag.FP_16: not in version",
    "trt.Logger()": None,
    "trt.Runtime()": "Runtime.__init__: does not take",
    "for i in engine.get_tensor_profile_shape('x', 0): i.sizes": "Dims.sizes: not in version",
    "engine.get_tensor_mode(trt.DataType.FLOAT)": None,
    "config.set_memory_pool_limit(trt.BuilderFlag.TF32, 1)": "set_memory_pool_limit: does not",
    "config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, 1)": None,
    "getattr(trt, 'Bulider')": "hides a name",
    "made().create_network(0, 1)": "create_network: does not take",
}


def planted(statement: str) -> str:
    return (
        "class Monitor(trt.IProgressMonitor):\n"
        "    def phase_start(self, a, b, c): pass\n"
        "    def step_complete(self, a, b): pass\n"
        "    def phase_finish(self, a): pass\n"
        "def made() -> trt.Builder: return trt.Builder(logger)\n"
        "def f(engine: trt.ICudaEngine, config: trt.IBuilderConfig, stream: int):\n"
        "    context = engine.create_execution_context()\n"
        f"    {statement}\n"
    )


def problems_of(api: Api, source: str) -> list[str]:
    tree = ast.parse(source)
    return Checker(api, "trt", returns_of(api, "trt", [tree])).run(tree).problems


@pytest.mark.parametrize(("statement", "problem"), PLANTED.items(), ids=list(PLANTED))
def test_a_planted_wrong_name_fails(rtx: Api, statement: str, problem: str | None) -> None:
    """The check above can fail: names, argument counts and keywords, enums, settable properties."""
    problems = problems_of(rtx, planted(statement))
    if problem is None:
        assert not problems
    else:
        assert len(problems) == 1
        assert problem in problems[0]


def test_a_planted_wrong_override_fails(rtx: Api) -> None:
    source = planted("pass")
    assert not problems_of(rtx, source)
    assert (
        "phase_finish is not defined"
        in problems_of(rtx, source.replace("phase_finish", "phase_finished"))[0]
    )
    assert (
        "step_complete: expected"
        in problems_of(rtx, source.replace("(self, a, b):", "(self, a):"))[0]
    )
    assert "no such class" in problems_of(rtx, source.replace("ICudaEngine", "CudaEngine"))[0]


def test_the_names_that_version_11_dropped_fail_there(tensorrt: Api) -> None:
    statement = "trt.BuilderFlag.FP16"
    assert bool(problems_of(tensorrt, planted(statement))) == tensorrt.version.startswith("11.")


FAKES: dict[str, Any] = {
    "ICudaEngine": fake_tensorrt.Engine,
    "IExecutionContext": fake_tensorrt.Context,
    "Builder": fake_tensorrt_builder.Builder,
    "OnnxParser": fake_tensorrt_builder.Parser,
    "IBuilderConfig": fake_tensorrt_builder.Config,
    "IOptimizationProfile": fake_tensorrt_builder.Profile,
    "INetworkDefinition": fake_tensorrt_builder.Network,
    "ITimingCache": fake_tensorrt_builder.TimingCache,
    "DataType": fake_tensorrt_builder.DataType,
    "BuilderFlag": fake_tensorrt_builder.BuilderFlag,
    "MemoryPoolType": fake_tensorrt_builder.MemoryPoolType,
    "NetworkDefinitionCreationFlag": fake_tensorrt_builder.NetworkDefinitionCreationFlag,
    "TensorIOMode": fake_tensorrt_builder.TensorIOMode,
}
RTX_FAKES: dict[str, Any] = {
    "ICudaEngine": fake_tensorrt_rtx.RtxEngine,
    "IExecutionContext": fake_tensorrt_rtx.RtxContext,
    "IRuntimeConfig": fake_tensorrt_rtx.RuntimeConfig,
    "IRuntimeCache": fake_tensorrt_rtx.RuntimeCache,
    "IBuilderConfig": fake_tensorrt_rtx.RtxConfig,
    "BuilderFlag": fake_tensorrt_rtx.BuilderFlag,
    "ComputeCapability": fake_tensorrt_rtx.ComputeCapability,
    "CudaGraphStrategy": fake_tensorrt_rtx.CudaGraphStrategy,
    "DynamicShapesKernelSpecializationStrategy": (
        fake_tensorrt_rtx.DynamicShapesKernelSpecializationStrategy
    ),
}


@pytest.mark.parametrize(("path", "fake"), [*FAKES.items(), *RTX_FAKES.items()])
def test_the_fake_has_no_names_of_its_own(rtx: Api, path: str, fake: Any) -> None:
    holder = rtx.holder(path)
    assert holder is not None
    names = [
        n for n in vars(fake) if not n.startswith("_") and (callable(getattr(fake, n)) or True)
    ]
    assert names
    missing = [name for name in names if name not in holder["members"]]
    assert not missing


def test_the_fake_driver_has_no_names_of_its_own(cudart: Api) -> None:
    holder = cudart.holder("")
    assert holder is not None
    names = [name for name in vars(FakeCuda) if name.startswith("cuda")]
    assert len(names) > 20
    assert not [name for name in names if name not in holder["members"]]


def test_probing_without_a_driver_is_a_clear_refusal() -> None:
    """The real cuda-python on this machine: a reason or a GPU, never a crash."""
    folder = api_folder("cuda-13")
    script = (
        f"import sys; sys.path[:0] = [{str(REPO_ROOT)!r}, {str(folder)!r}]\n"
        "from samcam.engines.tensorrt.cuda_runtime import NoGpuError, find_gpu\n"
        "try:\n    print('GPU', find_gpu().name)\n"
        "except NoGpuError as error:\n    print('refused:', error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(("GPU ", "refused: no NVIDIA"))
    assert len(done.stdout.splitlines()) == 1
