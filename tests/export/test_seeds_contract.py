"""`--contract sam2-onnx-trt`: every name and dimension, and the live contract's answers."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto
from torch import Tensor, nn

from samcam.engines.graph_table import IMAGE_ENCODER, MASK_DECODER, MEMORY_ATTENTION, MEMORY_ENCODER
from samcam.engines.host_rules import NO_OBJECT_LOGIT, choose_token, uses_multimask_tokens
from samcam.export.__main__ import main
from samcam.export.errors import ExportError
from samcam.export.sam2.checkpoint import load_sam2
from samcam.export.sam2.modules import build_modules
from samcam.export.seeds.contract import (
    MEAN_RGB,
    STD_RGB,
    SeedsExport,
    example_inputs,
    export_seeds,
    networks,
)
from samcam.export.seeds.modules import choose_tokens, seeds_modules
from tests.helpers.parity import load_golden

pytestmark = [pytest.mark.shared, pytest.mark.slow]

SIZE = 256
GRID = SIZE // 16
F32 = NDArray[np.float32]

# The documented tables, word for word.
TABLES = {
    "image_encoder": (
        "image [1,3,1024,1024]",
        "pix_feat [1,256,64,64], high_res_feat0 [1,32,256,256], high_res_feat1 [1,64,128,128], "
        "vision_feats [1,256,64,64], vision_pos_embed [4096,1,256]",
    ),
    "mask_decoder": (
        "point_coords [-1,-1,2], point_labels [-1,-1], image_embed [-1,256,64,64], "
        "high_res_feats_0 [1,32,256,256], high_res_feats_1 [1,64,128,128]",
        "obj_ptr [-1,256], mask_for_mem [-1,1,1024,1024], pred_mask [-1,1,256,256], "
        "iou [-1,1], occ_logit [-1,1]",
    ),
    "memory_attention": (
        "current_vision_feat [1,256,64,64], current_vision_pos_embed [4096,1,256], "
        "memory_0 [1,-1,256], memory_1 [1,-1,64,64,64], memory_pos_embed [1,-1,64], "
        "cond_frame_id_diff []",
        "image_embed [1,256,64,64]",
    ),
    "memory_encoder": (
        "mask_for_mem [1,1,1024,1024], pix_feat [1,256,64,64], occ_logit [1,1]",
        "maskmem_features [1,64,64,64], maskmem_pos_enc [1,4096,64], temporal_code [7,1,1,64]",
    ),
}


def row(tensors: list[tuple[str, list[int]]]) -> str:
    """Return tensors as the tables have them."""
    return ", ".join(f"{name} [{','.join(map(str, shape))}]" for name, shape in tensors)


def declared(values: list[onnx.ValueInfoProto]) -> list[tuple[str, list[int]]]:
    """Return names and shapes of a graph's inputs or outputs, -1 where they are free."""
    for value in values:
        assert value.type.tensor_type.elem_type == TensorProto.FLOAT, value.name
    return [
        (value.name, [d.dim_value if d.HasField("dim_value") else -1 for d in dims.dim])
        for value in values
        for dims in (value.type.tensor_type.shape,)
    ]


def scaled(text: str, size: int) -> str:
    """Return a table's row for another picture size: sides scale, channels do not."""
    sides = (1024, 256, 128, 64)
    found = {f"{side},{side}]": f"{side * size // 1024},{side * size // 1024}]" for side in sides}
    found["4096"] = str((size // 16) ** 2)
    return re.sub("|".join(map(re.escape, found)), lambda match: found[match.group()], text)


@pytest.fixture(scope="module")
def folder(parity_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The four files at 256 px."""
    path = tmp_path_factory.mktemp("seeds") / "sam2.1-tiny"
    order = SeedsExport(variant="tiny", size=SIZE, checkpoint=parity_checkpoint)
    errors = export_seeds(order, path)
    assert max(errors.values()) < 1e-3
    return path


@pytest.fixture(scope="module")
def live(parity_checkpoint: Path) -> dict[str, nn.Module]:
    return build_modules(load_sam2("tiny", parity_checkpoint), SIZE)


@pytest.fixture(scope="module")
def picture(shared_dir: Path) -> NDArray[np.uint8]:
    """(S, S, 3) BGR."""
    return load_golden(shared_dir, "box_camel").frames[0]


@pytest.fixture(scope="module")
def encoded(folder: Path, picture: NDArray[np.uint8]) -> dict[str, F32]:
    pixels = (picture[..., ::-1].astype(np.float32) - MEAN_RGB) / STD_RGB
    image = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], np.float32)
    return run(folder, "image_encoder", image=image)


@pytest.fixture(scope="module")
def features(live: dict[str, nn.Module], picture: NDArray[np.uint8]) -> tuple[Tensor, ...]:
    with torch.no_grad():
        return tuple(live[IMAGE_ENCODER](torch.from_numpy(picture[None].copy())))


def run(folder: Path, name: str, **feeds: F32) -> dict[str, F32]:
    """Run a file on ONNX Runtime."""
    session = onnxruntime.InferenceSession(
        folder / f"{name}.onnx", providers=["CPUExecutionProvider"]
    )
    outputs = [output.name for output in session.get_outputs()]
    return dict(zip(outputs, session.run(outputs, feeds), strict=True))


def decode(folder: Path, encoded: dict[str, F32], points: F32, labels: F32) -> dict[str, F32]:
    return run(
        folder,
        "mask_decoder",
        point_coords=points,
        point_labels=labels,
        image_embed=np.repeat(encoded["vision_feats"], len(points), axis=0),
        high_res_feats_0=encoded["high_res_feat0"],
        high_res_feats_1=encoded["high_res_feat1"],
    )


@pytest.mark.parametrize("name", TABLES)
def test_table_is_the_documented_one(name: str) -> None:
    spec = networks()[name]
    for text, tensors in zip(TABLES[name], (spec.inputs, spec.outputs), strict=True):
        shapes = [
            (tensor.name, [axis if isinstance(axis, int) else -1 for axis in tensor.shape])
            for tensor in tensors
        ]
        assert row(shapes) == text
    assert set(networks()) == set(TABLES)


@pytest.mark.parametrize("name", TABLES)
def test_every_name_and_dimension_of_the_files(folder: Path, name: str) -> None:
    check_file(folder, name, SIZE)


def check_file(folder: Path, name: str, size: int) -> None:
    graph = onnx.load(str(folder / f"{name}.onnx")).graph
    given, answered = TABLES[name]
    assert row(declared(list(graph.input))) == scaled(given, size)
    assert row(declared(list(graph.output))) == scaled(answered, size)
    constants = {tensor.name for tensor in graph.initializer}
    assert not constants & {output.name for output in graph.output}


def test_contract_json_says_what_is_there(folder: Path) -> None:
    text = (folder / "contract.json").read_text(encoding="utf-8")
    data = json.loads(text)
    assert data["contract"] == "sam2-onnx-trt"
    assert data["networks"]["mask_decoder"]["inputs"]["point_coords"] == [-1, -1, 2]
    assert {entry["file"] for entry in data["networks"].values()} == {
        file.name for file in folder.glob("*.onnx")
    }


def test_encoder_answers_as_the_live_one(
    encoded: dict[str, F32], features: tuple[Tensor, ...]
) -> None:
    names = ("pix_feat", "vision_feats", "high_res_feat0", "high_res_feat1")
    for name, wanted in zip(names, features, strict=True):
        np.testing.assert_allclose(encoded[name], wanted.numpy(), atol=1e-4)


@pytest.mark.parametrize(
    ("points", "labels"),
    [
        ([[60, 50], [200, 220]], [2, 3]),  # a box
        ([[128, 128]], [1]),
        ([[128, 128], [40, 200], [128, 90]], [1, 0, 1]),
        ([[0, 0]], [-1]),  # tracking
    ],
)
def test_decoder_chooses_as_the_host_rules_do(
    folder: Path,
    encoded: dict[str, F32],
    live: dict[str, nn.Module],
    features: tuple[Tensor, ...],
    points: list[list[float]],
    labels: list[int],
) -> None:
    """Mask, IoU, pointer and score of the token that the live contract's rules choose."""
    xy, kinds = np.array([points], np.float32), np.array([labels], np.float32)
    given = decode(folder, encoded, xy, kinds)
    _, no_mem, high0, high1 = features
    low = SIZE // 4
    with torch.no_grad():
        masks, ious, pointers, score = live[MASK_DECODER](
            no_mem,
            high0,
            high1,
            torch.from_numpy(xy),
            torch.from_numpy(kinds.astype(np.int32)),
            torch.zeros(1, 1, low, low),
            torch.zeros(1, dtype=torch.bool),
        )
    number = int((kinds >= 0).sum())
    choice = choose_token(
        masks[0].numpy(), ious[0].numpy(), uses_multimask_tokens(number, tracking=True)
    )
    wanted = masks[0, choice.mask_token].numpy()
    present = float(score) > 0
    assert given["occ_logit"][0, 0] == pytest.approx(float(score), abs=1e-3)
    assert given["iou"][0, 0] == pytest.approx(float(ious[0, choice.mask_token]), abs=1e-4)
    if present:
        np.testing.assert_allclose(given["pred_mask"][0, 0], wanted, atol=2e-3)
        pointer = pointers[0, choice.pointer_token].numpy()
        np.testing.assert_allclose(given["obj_ptr"][0], pointer, atol=1e-3)
    else:
        assert (given["pred_mask"] == NO_OBJECT_LOGIT).all()
    values = np.unique(given["mask_for_mem"])
    assert (set(values.tolist()) <= {-10.0, 10.0}) is (number > 0)  # binarised where prompted


def test_tokens_of_a_batch_are_those_of_the_host_rules() -> None:
    """Stable and unstable single-mask tokens, few and many points."""
    rng = np.random.default_rng(5)
    masks = rng.normal(size=(64, 4, 8, 8)).astype(np.float32)
    masks[::2] *= 1000  # no logits near 0: stable
    masks[7, 0] = -1  # empty counts as stable
    ious = rng.random((64, 4)).astype(np.float32)
    points = rng.integers(0, 4, (64, 1)).astype(np.float32)
    mask_tokens, pointer_tokens = choose_tokens(*map(torch.from_numpy, (masks, ious, points)))
    seen = set()
    for i in range(64):
        multimask = uses_multimask_tokens(int(points[i, 0]), tracking=True)
        choice = choose_token(masks[i], ious[i], multimask)
        assert (int(mask_tokens[i]), int(pointer_tokens[i])) == (
            choice.mask_token,
            choice.pointer_token,
        )
        seen.add((multimask, choice.mask_token == 0))
    assert len(seen) == 3  # candidates, a stable single token, an unstable one


def test_memory_has_one_sigmoid(
    folder: Path,
    encoded: dict[str, F32],
    live: dict[str, nn.Module],
    features: tuple[Tensor, ...],
) -> None:
    """A tracked and a prompted memory are the live encoder's; a second sigmoid is far away."""
    for points, labels, prompted in (
        ([[[0.0, 0.0]]], [[-1.0]], False),
        ([[[60.0, 50.0], [200.0, 220.0]]], [[2.0, 3.0]], True),
    ):
        decoded = decode(
            folder, encoded, np.array(points, np.float32), np.array(labels, np.float32)
        )
        with torch.no_grad():
            wanted = live[MEMORY_ENCODER](
                features[0],
                torch.from_numpy(decoded["pred_mask"]),
                torch.tensor([prompted]),
                torch.from_numpy(decoded["occ_logit"]),
            ).numpy()
        mask, pix_feat, occ = decoded["mask_for_mem"], encoded["pix_feat"], decoded["occ_logit"]
        given = run(folder, "memory_encoder", mask_for_mem=mask, pix_feat=pix_feat, occ_logit=occ)
        rounding = np.abs(wanted) * 2.0**-8 + 2e-3  # the live one rounds to bfloat16
        assert (np.abs(given["maskmem_features"] - wanted) <= rounding).all()
        twice = (20 / (1 + np.exp(-mask)) - 10).astype(np.float32)
        wrong = run(folder, "memory_encoder", mask_for_mem=twice, pix_feat=pix_feat, occ_logit=occ)
        off = np.abs(wrong["maskmem_features"] - wanted).max()
        if not prompted:
            assert off > 20 * rounding.max(), off


def test_memory_attention_answers_as_the_live_one(
    folder: Path,
    live: dict[str, nn.Module],
    encoded: dict[str, F32],
    features: tuple[Tensor, ...],
) -> None:
    """Three memories, five pointers; the host adds temporal codes as that project's does."""
    rng = np.random.default_rng(3)
    memory = rng.normal(size=(1, 3, 64, GRID, GRID)).astype(np.float32)
    pointers = rng.normal(size=(1, 5, 256)).astype(np.float32)
    occ = np.ones((1, 1), np.float32)
    mask = np.full((1, 1, SIZE, SIZE), -10, np.float32)
    constants = run(
        folder, "memory_encoder", mask_for_mem=mask, pix_feat=encoded["pix_feat"], occ_logit=occ
    )
    steps = [0, 2, 1]  # a conditioning memory, then two and one frames ago
    rows = [(step + 6) % 7 for step in steps]
    place = constants["maskmem_pos_enc"]
    spatial = [place + constants["temporal_code"][row].reshape(1, 1, -1) for row in rows]
    ignored = rng.normal(size=(1, 4 * 5, 64)).astype(np.float32)
    given = run(
        folder,
        "memory_attention",
        current_vision_feat=encoded["vision_feats"],
        current_vision_pos_embed=encoded["vision_pos_embed"],
        memory_0=pointers,
        memory_1=memory,
        memory_pos_embed=np.concatenate((*spatial, ignored), axis=1),
        cond_frame_id_diff=np.array(9, np.float32),
    )
    with torch.no_grad():
        wanted = live[MEMORY_ATTENTION](
            features[0],
            torch.from_numpy(memory),
            torch.tensor([steps], dtype=torch.int32),
            torch.ones(1, 3, dtype=torch.bool),
            torch.from_numpy(pointers),
            torch.tensor([[9.0, 1.0, 2.0, 3.0, 4.0]]),
            torch.ones(1, 5, dtype=torch.bool),
        )
    np.testing.assert_allclose(given["image_embed"], wanted.numpy(), atol=2e-3)


def test_a_second_export_replaces_the_first_and_nothing_else(
    folder: Path, parity_checkpoint: Path, tmp_path: Path
) -> None:
    other = tmp_path / "pictures"
    other.mkdir()
    (other / "mine.txt").write_text("mine")
    order = SeedsExport(variant="tiny", size=SIZE, checkpoint=parity_checkpoint)
    with pytest.raises(ExportError, match=r"no contract\.json"):
        export_seeds(order, other)
    assert [file.name for file in other.iterdir()] == ["mine.txt"]
    broken = tmp_path / "weights.pt"
    broken.write_bytes(parity_checkpoint.read_bytes()[:1000])
    target = tmp_path / "new"
    with pytest.raises(ExportError, match=r"weights\.pt"):
        export_seeds(SeedsExport(variant="tiny", size=SIZE, checkpoint=broken), target)
    assert not target.exists()
    assert (folder / "contract.json").is_file()


@pytest.mark.long
def test_at_its_own_size_from_the_command_line(parity_checkpoint: Path, tmp_path: Path) -> None:
    """1024 px: the documented table in the files themselves."""
    out = tmp_path / "seeds"
    words = ["sam2.1-tiny", "--contract", "sam2-onnx-trt", "--checkpoint", str(parity_checkpoint)]
    assert main([*words, "--out", str(out)]) == 0
    for name in TABLES:
        check_file(out, name, 1024)


def test_examples_leave_no_free_axis_at_one(parity_checkpoint: Path) -> None:
    """torch.export freezes an axis whose example is 1."""
    modules = seeds_modules(load_sam2("tiny", parity_checkpoint), 64)
    inputs = example_inputs(modules, 64)
    for name, spec in networks(64).items():
        for tensor in spec.inputs:
            for axis, length in zip(tensor.shape, inputs[name][tensor.name].shape, strict=True):
                assert length == axis or (isinstance(axis, str) and length > 1)
