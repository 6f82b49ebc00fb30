"""The torch backend: weights, devices, precision, compilation. Its contract is tested elsewhere."""

from __future__ import annotations

import gc
import json
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from samcam.engines import torch_backend
from samcam.engines.base import EngineError
from samcam.engines.graph_table import MEMORY_ATTENTION, NETWORKS
from samcam.engines.manifest import describe_file, read_manifest, write_manifest
from samcam.engines.model_folder import load_model, verify_files
from samcam.engines.options import EngineOptions, TorchOptions
from samcam.engines.sam2_graphs import U8, Sam2Networks
from samcam.engines.torch_backend import ROUNDED, TorchNetwork
from samcam.engines.torch_tensors import TorchTensor
from samcam.export.nano import nano_manifest
from samcam.export.verify import follow
from tests.conftest import RunCli, require_tool, run_python
from tests.helpers.tiny_model import example_feeds, probe_outputs, tiny_manifest
from tests.helpers.torch_probe import Probe
from training.network.model import Nano

SIZE = 64


def torch_options(**settings: object) -> EngineOptions:
    return EngineOptions(threads=1, torch=TorchOptions(**settings))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def small_nano(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained nano for tiny pictures: its weights, and files in place of its graphs."""
    folder = tmp_path_factory.mktemp("models") / "nano"
    folder.mkdir()
    torch.manual_seed(0)
    nano = Nano()
    state = {name: value.half() for name, value in nano.state_dict().items()}
    torch.save({"model": state}, folder / "nano.pt")
    for network in NETWORKS:
        (folder / f"{network}.onnx").write_bytes(network.encode())
    weights = describe_file(folder / "nano.pt", "float16")
    write_manifest(folder, replace(nano_manifest(nano, SIZE), weights=weights))
    return folder


@pytest.fixture
def folder(small_nano: Path, tmp_path: Path) -> Path:
    """A model of its own, to damage."""
    return Path(shutil.copytree(small_nano, tmp_path / "nano"))


def edit_weights(folder: Path, **changes: object) -> None:
    path = folder / "manifest.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    data["weights"].update(changes)
    path.write_text(json.dumps(data), encoding="utf-8")


def refusal(folder: Path) -> str:
    with pytest.raises(EngineError) as caught:
        load_model(str(folder), "torch")
    message = str(caught.value)
    assert "\n" not in message
    return message


def answers(networks: Sam2Networks) -> list[np.ndarray]:
    """Every mask that tracking through two pictures gives."""
    seen = []

    class Watched(Sam2Networks):
        def decode(self, *given, **named):
            output = super().decode(*given, **named)
            seen.append(output.low_res_masks)
            return output

    rng = np.random.default_rng(5)
    pictures: list[U8] = [rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8) for _ in range(2)]
    follow(Watched(networks.manifest, networks.backends), pictures)
    return seen


# --- weights ---------------------------------------------------------------------------------


def test_answers_are_those_of_the_weights(folder: Path) -> None:
    """They change with the weights, and do not with the number of times they are loaded."""
    with load_model(str(folder), "torch", torch_options()) as networks:
        first = answers(networks)
    with load_model(str(folder), "torch", torch_options()) as networks:
        np.testing.assert_array_equal(answers(networks), first)
    torch.manual_seed(1)
    torch.save({"model": Nano().state_dict()}, folder / "nano.pt")
    entry = describe_file(folder / "nano.pt")
    edit_weights(folder, sha256=entry.sha256, bytes=entry.bytes)
    with load_model(str(folder), "torch", torch_options()) as networks:
        assert not np.allclose(answers(networks), first, atol=1e-2)


def test_a_model_is_loaded_once_and_freed(small_nano: Path) -> None:
    before = len(torch_backend._models)
    first = load_model(str(small_nano), "torch", torch_options())
    second = load_model(str(small_nano), "torch", torch_options())
    assert len(torch_backend._models) == before + 1
    modules = [networks.backends[MEMORY_ATTENTION]._module for networks in (first, second)]
    assert modules[0] is modules[1]
    del modules
    first.close()
    second.encode_image(np.zeros((SIZE, SIZE, 3), np.uint8))
    second.close()
    gc.collect()
    assert len(torch_backend._models) == before


def test_nano_finds_its_weights_in_the_repository(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = tmp_path / "training" / "checkpoint"
    checkpoint.mkdir(parents=True)
    (folder / "nano.pt").rename(checkpoint / "nano.pt")
    monkeypatch.setattr("samcam.engines.torch_choice.checkout", lambda: tmp_path)
    load_model(str(folder), "torch", torch_options()).close()


def test_missing_weights_stop_only_torch(folder: Path) -> None:
    edit_weights(folder, file="gone.pt")
    message = refusal(folder)
    assert f"{folder / 'gone.pt'} and " in message
    assert "missing; the torch backend needs the model's weights" in message
    verify_files(folder, read_manifest(folder))


def test_other_weights_are_refused(folder: Path) -> None:
    path = folder / "nano.pt"
    path.write_bytes(path.read_bytes()[:-1])
    message = refusal(folder)
    assert f"{path}: not the weights of this model: expected SHA-256" in message
    assert "python -m export nano" in message


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"sha256": "xyz"}, 'weights.sha256: "xyz": expected 64 lower-case hex digits'),
        ({"file": "../x.pt"}, 'weights.file: "../x.pt": expected a plain file name'),
        ({"bytes": "many"}, 'weights.bytes: "many": expected a whole number'),
        ({"size": 3}, "weights.size: unknown key"),
    ],
)
def test_wrong_entry_of_the_weights(folder: Path, changes: dict[str, object], part: str) -> None:
    edit_weights(folder, **changes)
    with pytest.raises(EngineError, match=part):
        read_manifest(folder)


# --- devices and precision -------------------------------------------------------------------


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_device_that_is_not_there(small_nano: Path, device: str) -> None:
    with pytest.raises(EngineError, match=f"torch device {device}: torch .* sees 0 GPUs"):
        load_model(str(small_nano), "torch", torch_options(device=device))


def test_options_are_checked() -> None:
    with pytest.raises(EngineError, match="torch device: expected auto, cpu, cuda or cuda:N"):
        TorchOptions(device="gpu")
    with pytest.raises(EngineError, match="torch precision: expected auto, float32 or bfloat16"):
        TorchOptions(precision="fp16")


def test_bfloat16_rounds_what_it_should(small_nano: Path) -> None:
    exact = load_model(str(small_nano), "torch", torch_options())
    rounded = load_model(str(small_nano), "torch", torch_options(precision="bfloat16"))
    with exact, rounded:
        for network in NETWORKS:
            spec = exact.manifest.specs()[network]
            feeds = example_feeds(spec, np.random.default_rng(1))
            for name, channels in (("high_res_feat0", 16), ("high_res_feat1", 48)):
                if name in feeds:
                    feeds[name] = np.resize(feeds[name], (1, channels, *feeds[name].shape[2:]))
            for name, count in (("point_labels", 4), ("maskmem_tpos", 7)):
                if name in feeds:
                    feeds[name] %= count
            wanted = exact.backends[network].run(feeds)
            given = rounded.backends[network].run(feeds)
            same = [np.array_equal(wanted[k].numpy(), given[k].numpy()) for k in wanted]
            assert all(same) != (network in ROUNDED), network
            assert all(tensor.dtype == np.float32 for tensor in given.values())


def test_feeds_of_every_kind(tmp_path: Path) -> None:
    """Read-only, reversed and broadcast arrays; nothing of the caller's is written."""
    spec = tiny_manifest().specs()["mask_decoder"]
    network = TorchNetwork(spec, Probe(spec), tiny_manifest(), torch_options())
    feeds = example_feeds(spec, np.random.default_rng(2))
    expected = probe_outputs(spec, feeds)["ious"]
    feeds["mask_input"].flags.writeable = False
    feeds["high_res_feat0"] = feeds["high_res_feat0"][..., ::-1]
    feeds["pix_feat_with_mem"] = TorchTensor(torch.tensor(feeds["pix_feat_with_mem"]), owned=True)
    answer = network.run(feeds)["ious"]
    np.testing.assert_allclose(answer.numpy(), expected, rtol=1e-5)
    assert not answer.numpy().flags.writeable
    network.close()


def test_an_error_of_torch_is_one_line(tmp_path: Path) -> None:
    class Broken(torch.nn.Module):
        def forward(self, *given: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("CUDA out of memory.\nTried to allocate 2 GiB")

    spec = tiny_manifest().specs()["image_encoder"]
    network = TorchNetwork(spec, Broken(), tiny_manifest(), torch_options())
    with pytest.raises(EngineError) as caught:
        network.run(example_feeds(spec, np.random.default_rng(0)))
    assert str(caught.value) == (
        "image_encoder: torch failed: CUDA out of memory. Tried to allocate 2 GiB: "
        "use another engine.torch.device, or another --backend"
    )


def test_an_error_that_comes_with_the_values_is_one_line_too() -> None:
    """A GPU tells of an error at the next call, which may be the one that reads the answer."""

    class Lost:
        def cpu(self) -> torch.Tensor:
            raise RuntimeError("CUDA error: an illegal memory access\nCompile with TORCH_USE")

        clone = cpu

    lost = TorchTensor(Lost(), owned=False)  # type: ignore[arg-type]
    for read in (lost.numpy, lost.copy):
        with pytest.raises(EngineError) as caught:
            read()
        assert str(caught.value) == (
            "torch failed: CUDA error: an illegal memory access Compile with TORCH_USE: "
            "use another engine.torch.device, or another --backend"
        )


# --- compilation -----------------------------------------------------------------------------


@pytest.mark.slow
def test_compiles_the_step_of_tracking_only() -> None:
    """Also where the first run and the later ones are on two threads, as in the program."""
    require_tool("g++", "g++")
    said = run_python("-m", "tests.helpers.compiled_step")
    assert json.loads(said) == [3], "other shapes, and only they, run as they are"


def test_compiled_models_are_fed_padded(small_nano: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fed = []

    class Step:
        is_graph = False

        def __init__(self, name: str, module: torch.nn.Module, device: torch.device) -> None:
            self.name, self.module = name, module

        def __call__(self, given: list[torch.Tensor]) -> object:
            fed.append((self.name, tuple(given[1].shape) if len(given) > 1 else ()))
            return self.module(*given)

    monkeypatch.setattr(torch_backend, "_CompiledStep", Step)
    with load_model(str(small_nano), "torch", torch_options(compile=True)) as networks:
        assert networks.manifest.form == "padded"
        warmed = {given[1] for name, given in fed if name == MEMORY_ATTENTION}
        assert warmed == {7, 10}, "both are compiled at the start"
        fed.clear()
        answers(networks)
    manifest = read_manifest(small_nano)
    shape = (1, 7, manifest.memory_channels, manifest.grid, manifest.grid)
    attended = [given for name, given in fed if name == MEMORY_ATTENTION]
    assert set(attended) == {shape}
    assert {name for name, _ in fed} == set(NETWORKS) - {"mask_prompt"}
    decoded = [name for name, _ in fed if name == "mask_decoder"]
    assert len(decoded) == len(attended), "the prompt's two points run as they are"


@pytest.mark.gpu
def test_stamps_are_the_gpus_own(small_nano: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("torch sees no GPU")
    with load_model(str(small_nano), "torch", torch_options(device="cuda")) as networks:
        start = networks.stamp()
        networks.encode_image(np.zeros((SIZE, SIZE, 3), np.uint8))
        end = networks.stamp()
        torch.cuda.synchronize()
        passed_ms = end.ms_since(start)
        assert passed_ms is not None
        assert passed_ms > 0


@pytest.mark.gpu
@pytest.mark.slow
def test_a_captured_graph_answers_as_eager_does(small_nano: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("torch sees no GPU")
    with load_model(str(small_nano), "torch", torch_options(device="cpu")) as eager:
        wanted = answers(eager)
    with load_model(str(small_nano), "torch", torch_options(device="cuda", compile=True)) as graph:
        given: list[np.ndarray] = []
        thread = threading.Thread(target=lambda: given.extend(answers(graph)))
        thread.start()
        thread.join()
        steps = graph.backends[MEMORY_ATTENTION]._steps
        assert [step._graph is not None for _, step in steps] == [True, True]
    for a, b in zip(wanted, given, strict=True):
        np.testing.assert_allclose(b, a, atol=5e-2)


# --- the whole program -----------------------------------------------------------------------


@pytest.mark.slow
def test_the_program_runs_on_torch(small_nano: Path, run_cli: RunCli) -> None:
    result = run_cli(
        *("--model", small_nano, "--backend", "torch", "--source", "demo", "--output", "masks:m"),
        *("--set", "source.demo_frames=4", "--set", "engine.torch.device=cpu"),
        *("--prompt", "box=300,150,420,300"),
    )
    assert result.returncode == 0, result.stderr
    assert len(list((result.cwd / "m").glob("*.png"))) == 4
