"""What the exporter's graphs are worth: against torch, against the library, in both forms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Sam2VideoModel

from samcam.engines.graph_table import MASK_DECODER, MASK_PROMPT, MEMORY_ATTENTION
from samcam.engines.model_folder import load_model
from samcam.export.errors import ExportError
from samcam.export.examples import random_inputs, real_inputs
from samcam.export.graphs import check_graph, compare, write_graph
from samcam.export.sam2.checkpoint import (
    VARIANTS,
    load_sam2,
    read_official,
    rename_keys,
    sam2_config,
)
from samcam.export.sam2.modules import MaskPrompt, build_modules, sam2_manifest

SIZE = 256
PUBLISHED_MILLIONS = {"tiny": 38.9, "small": 46.0, "base+": 80.8, "large": 224.4}  # Meta's README


@pytest.fixture(scope="module")
def model(parity_checkpoint: Path) -> Sam2VideoModel:
    return load_sam2("tiny", parity_checkpoint)


@pytest.fixture(scope="module")
def modules(model: Sam2VideoModel) -> dict[str, nn.Module]:
    return build_modules(model, SIZE)


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_have_their_published_size(variant: str) -> None:
    with torch.device("meta"):
        built = Sam2VideoModel(sam2_config(variant))
    millions = sum(p.numel() for p in built.parameters()) / 1e6
    assert millions == pytest.approx(PUBLISHED_MILLIONS[variant], abs=0.2)


@pytest.mark.shared
def test_471_keys_become_469(parity_checkpoint: Path) -> None:
    official = read_official(parity_checkpoint)
    assert len(official) == 471
    assert len(rename_keys(official)) == 469


@pytest.mark.shared
def test_a_transformers_folder_gives_the_same_model(model: Sam2VideoModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    again = load_sam2("tiny", tmp_path)
    wanted = model.state_dict()
    for key, value in again.state_dict().items():
        assert torch.equal(value, wanted[key]), key
    with pytest.raises(ExportError, match=r"not the sam2\.1-small video model"):
        load_sam2("small", tmp_path)


@pytest.mark.shared
def test_a_mask_prompt_shrinks_as_metas_does(model: Sam2VideoModel) -> None:
    """The antialiased bilinear shrinking as a convolution: the same up to the border."""
    rng = torch.Generator().manual_seed(0)
    mask = torch.randint(0, 2, (1, 1, SIZE, SIZE), dtype=torch.uint8, generator=rng)
    _, low_res = MaskPrompt(model, SIZE)(mask)
    wanted = F.interpolate(mask * 20.0 - 10, size=(SIZE // 4,) * 2, mode="bilinear", antialias=True)
    assert torch.allclose(low_res, wanted, atol=1e-5)


@pytest.mark.shared
def test_both_forms_of_attention_are_equal(model: Sam2VideoModel) -> None:
    """Attention over the memory's own channels is exact, not an approximation."""
    manifest = sam2_manifest(model, "tiny", SIZE, "test")
    raw, fused = (build_modules(model, SIZE, raw_values=form) for form in (True, False))
    inputs = real_inputs(raw, manifest)[MEMORY_ATTENTION]
    with torch.no_grad():
        one, other = (m[MEMORY_ATTENTION](*inputs.values()) for m in (raw, fused))
    assert torch.allclose(one, other, atol=2e-5)


@pytest.mark.shared
@pytest.mark.parametrize("name", ["maskmem_features", "obj_ptrs"])
def test_hidden_memories_change_nothing(
    name: str, model: Sam2VideoModel, modules: dict[str, nn.Module]
) -> None:
    manifest = sam2_manifest(model, "tiny", SIZE, "test")
    inputs = random_inputs(modules, manifest)[MEMORY_ATTENTION]
    valid = inputs["maskmem_valid" if name == "maskmem_features" else "obj_ptr_valid"]
    assert not valid.all()
    with torch.no_grad():
        wanted = modules[MEMORY_ATTENTION](*inputs.values())
        inputs[name] = torch.where(
            valid.view(*valid.shape, *(1,) * (inputs[name].ndim - 2)), inputs[name], 50.0
        )
        given = modules[MEMORY_ATTENTION](*inputs.values())
        inputs[name] = inputs[name] + 1
        moved = modules[MEMORY_ATTENTION](*inputs.values())
    assert torch.equal(wanted, given)
    assert not torch.allclose(wanted, moved, atol=1e-2)


@pytest.mark.shared
@pytest.mark.slow
def test_the_memory_encoder_rounds_to_bfloat16(sam2_256: Path) -> None:
    with load_model(str(sam2_256), "onnxruntime") as networks:
        features = networks.encode_image(np.full((64, 64, 3), 90, np.uint8))
        mask = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
        memory = networks.encode_memory(features, mask, False, 1.0).numpy()
    assert not (np.ascontiguousarray(memory).view(np.uint32) & 0xFFFF).any()


@pytest.mark.shared
@pytest.mark.slow
def test_the_fixed_form_takes_full_banks_only(
    model: Sam2VideoModel, modules: dict[str, nn.Module], tmp_path: Path, sam2_256: Path
) -> None:
    """Padded and masked, it answers what the dynamic graph answers to the rows that count."""
    manifest = sam2_manifest(model, "tiny", SIZE, "test", form="fixed")
    inputs = random_inputs(modules, manifest)[MEMORY_ATTENTION]
    path = tmp_path / "fixed.onnx"
    write_graph(modules[MEMORY_ATTENTION], MEMORY_ATTENTION, inputs, path, "fixed")
    shapes = {n.name: n.shape for n in onnxruntime.InferenceSession(path).get_inputs()}
    assert shapes["maskmem_features"] == [1, 10, 64, 16, 16]
    assert shapes["obj_ptrs"] == [1, 19, 256]
    inputs["maskmem_valid"] = torch.arange(10)[None] < 4
    inputs["obj_ptr_valid"] = torch.arange(19)[None] < 5
    padded = onnxruntime.InferenceSession(path).run(None, {k: v.numpy() for k, v in inputs.items()})
    rows = {"N": 4, "P": 5}
    short = {
        key: value[:, : rows["N" if key.startswith("maskmem") else "P"]]
        for key, value in inputs.items()
        if key != "pix_feat"
    } | {"pix_feat": inputs["pix_feat"]}
    dynamic = onnxruntime.InferenceSession(sam2_256 / "memory_attention.onnx")
    wanted = dynamic.run(None, {k: v.numpy() for k, v in short.items()})
    assert np.abs(padded[0] - wanted[0]).max() < 1e-4


@pytest.mark.shared
@pytest.mark.slow
def test_the_comparison_with_torch_sees_a_difference(
    model: Sam2VideoModel, modules: dict[str, nn.Module], sam2_256: Path
) -> None:
    inputs = real_inputs(modules, sam2_manifest(model, "tiny", SIZE, "test"))
    path = sam2_256 / "mask_decoder.onnx"
    decoder = modules[MASK_DECODER]
    assert compare(decoder, MASK_DECODER, inputs[MASK_DECODER], path) < 1e-4
    bias = decoder.get_parameter("decoder.iou_prediction_head.proj_out.bias")
    bias.data += 0.1
    try:
        with pytest.raises(ExportError, match="mask_decoder ious: torch and ONNX differ by"):
            compare(decoder, MASK_DECODER, inputs[MASK_DECODER], path)
    finally:
        bias.data -= 0.1


def test_a_broken_graph_is_not_valid_onnx(tmp_path: Path) -> None:
    class Twice(nn.Module):
        def forward(self, mask: Tensor) -> tuple[Tensor, Tensor]:
            return mask.float() * 2, mask.float()

    path = tmp_path / "graph.onnx"
    inputs = {"mask": torch.zeros(1, 1, 32, 32, dtype=torch.uint8)}
    write_graph(Twice(), MASK_PROMPT, inputs, path)
    check_graph(path, MASK_PROMPT)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"Mul", b"Mxl"))
    with pytest.raises(ExportError, match="not valid ONNX"):
        check_graph(path, MASK_PROMPT)


def test_what_torch_cannot_export_is_one_line(tmp_path: Path) -> None:
    class Undecided(nn.Module):
        def forward(self, mask: Tensor) -> tuple[Tensor, Tensor]:
            if bool(mask.sum() > 3):
                return mask.float(), mask.float()
            return mask.float() + 1, mask.float()

    inputs = {"mask": torch.zeros(1, 1, 32, 32, dtype=torch.uint8)}
    with pytest.raises(ExportError, match="mask_prompt: torch cannot export it") as caught:
        write_graph(Undecided(), MASK_PROMPT, inputs, tmp_path / "graph.onnx")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
