"""What NVIDIA's compiler makes of our graphs: TensorRT for RTX, which compiles without a GPU.

Nothing runs here: engines are built, and the compiler's own messages are read. "Max scratch memory"
tells what is fused: the scores of 4096 queries and 41 036 keys are 336 MB in half precision.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from contextlib import nullcontext
from pathlib import Path

import onnx
import pytest
from onnx import helper

from samcam.engines import (
    IMAGE_ENCODER,
    MASK_DECODER,
    MASK_PROMPT,
    MEMORY_ATTENTION,
    MEMORY_ENCODER,
    NETWORKS,
    EngineError,
    read_manifest,
    write_manifest,
)
from samcam.engines.tensorrt import TENSORRT_RTX, profiles_of, read_record
from samcam.engines.tensorrt.files import engine_path
from samcam.export import engine_compiler
from samcam.export.build_tensorrt import BuildOrder, build_engines
from samcam.export.engine_compiler import BuildError
from samcam.export.half.capability import for_capability
from tests.conftest import REPO_ROOT
from tests.helpers.attention_core import Form, attention_core
from tests.helpers.bounds import RUN_TIMEOUT_S
from tests.helpers.compiler import CAPABILITIES, Compiled, Messages, compile_graph, require_rtx

QUERIES = 64 * 64  # at 1024 px
KEYS = {"usual": 7 * QUERIES + 16 * 4, "largest": 10 * QUERIES + 19 * 4}
MAX_ATTENTION_MB = 300
MAX_ENCODER_MB = 64
FUSED_MB = 40
# What the networks of nano may have; measured: 10, 6, 35, 2 and 0.3 MB.
NANO_MAX_MB = {
    IMAGE_ENCODER: 15,
    MEMORY_ATTENTION: 9,
    MASK_DECODER: 50,
    MEMORY_ENCODER: 3,
    MASK_PROMPT: 1,
}
LOWERED = (IMAGE_ENCODER, MEMORY_ATTENTION, MEMORY_ENCODER)
ADA = (8, 9)

pytestmark = pytest.mark.usefixtures("rtx")
all_capabilities = pytest.mark.parametrize(
    "capability",
    [pytest.param(c, marks=() if c == ADA else pytest.mark.long) for c in CAPABILITIES],
    ids=lambda capability: "sm{}{}".format(*capability),
)


@pytest.fixture(scope="module")
def rtx() -> None:
    require_rtx()


@pytest.fixture
def nano(tmp_path: Path) -> Path:
    folder = tmp_path / "Käthes Modelle" / "nano"
    shutil.copytree(REPO_ROOT / "engines/nano", folder)
    return folder


@all_capabilities
def test_nano_is_compiled_whole(nano: Path, capability: tuple[int, int]) -> None:
    """Each network in the lowest precision that it has there, both profiles of two of them."""
    order = BuildOrder(folder=nano, library=TENSORRT_RTX, capability=capability)
    with Messages() as messages:
        records = {record.network: record for record in build_engines(order)}
    assert messages.warnings == ()
    manifest = read_manifest(nano)
    assert len(messages.scratch_mb) == sum(len(profiles_of(manifest, n)) for n in NETWORKS) == 7
    assert max(messages.scratch_mb) < 20
    rest = "tf32" if capability >= (8, 0) else "float32"
    for network, record in records.items():
        assert record.reason == "", "nothing was built one precision higher"
        assert record.fingerprint.precision == ("float16" if network in LOWERED else rest)
        assert record.fingerprint.compute_capability == "{}.{}".format(*capability)
        assert 0 < record.engine_bytes <= NANO_MAX_MB[network] * 1e6
    assert list(records) == list(NETWORKS)


def test_anyone_builds_engines_for_every_newer_gpu(nano: Path) -> None:
    """The command itself; no GPU is asked for, and who compares is said."""
    done = subprocess.run(
        [sys.executable, "-m", "export.build_tensorrt", str(nano), "--rtx"],
        cwd=REPO_ROOT,
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert "image_encoder: building in float16 from image_encoder.onnx" in lines
    assert lines[-1].startswith("not compared: the first run on a GPU compares")
    for network in NETWORKS:
        made = read_record(nano, TENSORRT_RTX, network).fingerprint
        assert (made.gpu, made.compute_capability, made.driver) == ("", "8.0+", "")
        assert made.profiles == profiles_of(read_manifest(nano), network)
        assert engine_path(nano, TENSORRT_RTX, network).stat().st_size > 100_000


def test_a_capability_that_nobody_builds_for(nano: Path) -> None:
    with pytest.raises(EngineError, match=r"capability 9\.0: expected one of 7\.5, 8\.0, 8\.6, "):
        build_engines(BuildOrder(folder=nano, library=TENSORRT_RTX, capability=(9, 0)))


@pytest.mark.parametrize("operator", ["Det", "OfNobody"])
def test_a_node_that_is_refused_is_named(nano: Path, operator: str) -> None:
    """The others are built, the error names the file, the node and its operator."""
    path = nano / "mask_prompt.onnx"
    model = onnx.load(path)
    last = model.graph.node[-1]
    name, last.output[0] = last.output[0], "before"
    model.graph.node.append(helper.make_node(operator, ["before"], [name], "planted"))
    onnx.save(model, path)
    write_manifest(nano, read_manifest(nano))
    with pytest.raises(EngineError) as caught:
        build_engines(BuildOrder(folder=nano, library=TENSORRT_RTX, capability=ADA))
    text = str(caught.value)
    assert text.startswith(f"{path}: TensorRT for RTX 1.")
    assert f" cannot read it: node planted ({operator}): " in text
    assert "\n" not in text
    assert engine_path(nano, TENSORRT_RTX, MEMORY_ENCODER).is_file()
    assert not engine_path(nano, TENSORRT_RTX, MASK_PROMPT).is_file()


def test_ctrl_c_stops_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library asks at every step, and gives up."""
    stopped = threading.Event()
    stopped.set()
    monkeypatch.setattr(engine_compiler, "interruptible", lambda: nullcontext(stopped))
    with pytest.raises(KeyboardInterrupt):
        compile_graph(attention_core(Form("float16", "float16", 256), 64, 64))


def core(form: Form, keys: int, capability: tuple[int, int]) -> Compiled:
    graph = for_capability(attention_core(form, QUERIES, keys), capability, fp32_products=False)
    return compile_graph(graph, capability)


@pytest.mark.parametrize("keys", KEYS.values(), ids=KEYS)
@pytest.mark.parametrize("inside", ["bfloat16", "float16"])
@all_capabilities
def test_a_core_with_wide_values_is_fused(
    capability: tuple[int, int], inside: str, keys: int
) -> None:
    """Values as wide as the keys, in half precision: the scores never lie in memory."""
    (scratch_mb,) = core(Form(inside, inside, 256), keys, capability).scratch_mb
    assert scratch_mb < FUSED_MB


@pytest.mark.parametrize(
    ("form", "scores"),
    [
        (Form("bfloat16", "bfloat16", 64), 2),
        (Form("float16", "float32", 64), 4),
        (Form("float32", "float32", 256), 4),
    ],
    ids=["narrow values", "fp32 inside of fp16", "fp32"],
)
def test_other_cores_keep_their_scores_in_memory(form: Form, scores: int) -> None:
    """What the limit on scratch memory is for; `scores`: bytes of one."""
    compiled = core(form, KEYS["largest"], ADA)
    assert compiled.scratch_mb[0] > QUERIES * KEYS["largest"] * scores / 1e6 > MAX_ATTENTION_MB


def test_a_core_in_bf16_is_not_for_old_gpus() -> None:
    """Why graphs are rewritten below compute capability 8.0."""
    graph = attention_core(Form("bfloat16", "bfloat16", 256), QUERIES, KEYS["usual"])
    with pytest.raises(BuildError, match=r"cannot build an engine: .*sm75.*b16"):
        compile_graph(graph, (7, 5))
