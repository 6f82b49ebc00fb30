"""The table of the networks, the typed calls, and the fake networks that others test with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import cv2
import numpy as np
import pytest

from samcam.engines.base import Array, Backend, EngineError, TensorSpec
from samcam.engines.checks.model_checks import check_network
from samcam.engines.fake_backend import FakeBackend, fake_manifest
from samcam.engines.graph_table import NETWORKS
from samcam.engines.manifest import Manifest, ModelFileError
from samcam.engines.sam2_graphs import DecoderOutput, ImageFeatures, Sam2Networks, stretch_mask

# SPEC section 4, written out once more on purpose: names and order are what exporters,
# TensorRT builders and other programs rely on.
CONTRACT = {
    "image_encoder": (
        {"image": "uint8 1,S,S,3"},
        {
            "pix_feat": "float32 1,D,G,G",
            "pix_feat_no_mem": "float32 1,D,G,G",
            "high_res_feat0": "float32 1,C0,L,L",
            "high_res_feat1": "float32 1,C1,H,H",
        },
    ),
    "memory_attention": (
        {
            "pix_feat": "float32 1,D,G,G",
            "maskmem_features": "float32 B,N,M,G,G",
            "maskmem_tpos": "int32 B,N",
            "maskmem_valid": "bool B,N",
            "obj_ptrs": "float32 B,P,D",
            "obj_ptr_tpos": "float32 B,P",
            "obj_ptr_valid": "bool B,P",
        },
        {"pix_feat_with_mem": "float32 B,D,G,G"},
    ),
    "mask_decoder": (
        {
            "pix_feat_with_mem": "float32 B,D,G,G",
            "high_res_feat0": "float32 1,C0,L,L",
            "high_res_feat1": "float32 1,C1,H,H",
            "point_coords": "float32 B,T,2",
            "point_labels": "int32 B,T",
            "mask_input": "float32 B,1,L,L",
            "has_mask_input": "bool B",
        },
        {
            "low_res_masks": "float32 B,K,L,L",
            "ious": "float32 B,K",
            "obj_ptrs": "float32 B,K,D",
            "object_score_logits": "float32 B,1",
        },
    ),
    "memory_encoder": (
        {
            "pix_feat": "float32 1,D,G,G",
            "low_res_mask": "float32 B,1,L,L",
            "is_prompted": "bool B",
            "object_score_logits": "float32 B,1",
        },
        {"maskmem_features": "float32 B,M,G,G"},
    ),
    "mask_prompt": (
        {"mask": "uint8 1,1,S,S"},
        {"mask_input": "float32 1,1,L,L", "low_res_mask": "float32 1,1,L,L"},
    ),
}
NO_POINTS, NO_LABELS = np.zeros((0, 2), np.float32), np.zeros(0, np.int32)


class Recorder:
    """Backends that keep a copy of what they were last fed."""

    def __init__(self, manifest: Manifest) -> None:
        self.feeds: dict[str, dict[str, Array]] = {}
        self.image_address = 0
        specs = manifest.specs()
        backends: dict[str, Backend] = {
            name: FakeBackend(name, self._function(name), specs[name]) for name in NETWORKS
        }
        self.networks = Sam2Networks(manifest, backends)

    def _function(self, name: str):
        def run(feeds: Mapping[str, Array]) -> Mapping[str, Array]:
            self.feeds[name] = {key: value.copy() for key, value in feeds.items()}
            if name == "image_encoder":
                self.image_address = feeds["image"].ctypes.data
                mean = np.float32(feeds["image"].mean())
                return {"pix_feat": np.full((1, 8, 4, 4), mean, np.float32)}
            if name == "mask_decoder":
                total = np.float32(feeds["point_coords"].sum())
                return {"ious": np.full((1, 4), total), "object_score_logits": np.array([[total]])}
            if name == "memory_encoder":
                value = feeds["low_res_mask"].mean()
                return {"maskmem_features": np.full((1, 8, 4, 4), value)}
            return {}

        return run


@pytest.fixture
def recorder() -> Recorder:
    return Recorder(fake_manifest(image_size=64, width=8))


@pytest.fixture
def features(recorder: Recorder) -> ImageFeatures:
    return recorder.networks.encode_image(np.zeros((5, 7, 3), np.uint8))


def test_table_is_the_specification() -> None:
    def text(tensors: tuple[TensorSpec, ...]) -> dict[str, str]:
        return {t.name: f"{t.dtype} {','.join(map(str, t.shape))}" for t in tensors}

    table = {name: (text(n.inputs), text(n.outputs)) for name, n in NETWORKS.items()}
    assert table == CONTRACT
    for name, (inputs, outputs) in CONTRACT.items():
        assert [t.name for t in NETWORKS[name].inputs] == list(inputs)
        assert [t.name for t in NETWORKS[name].outputs] == list(outputs)


def test_sizes_of_a_model_fill_the_table() -> None:
    manifest = fake_manifest(image_size=64, width=8, memory_channels=5, max_cond=4)
    attention = manifest.specs()["memory_attention"]
    assert attention.inputs[1].shape == ("B", "N", 5, 4, 4)
    encoder = manifest.specs()["image_encoder"]
    assert encoder.inputs[0].shape == (1, 64, 64, 3)
    assert encoder.outputs[3].shape == (1, "C1", 8, 8)
    fixed = replace(manifest, form="fixed", memory_dtype="float16").specs()["memory_attention"]
    assert fixed.inputs[1] == TensorSpec("maskmem_features", "float16", ("B", 10, 5, 4, 4))
    assert fixed.inputs[4].shape == ("B", 19, 8)


@pytest.mark.parametrize(
    ("shape", "fits"),
    [
        (("B", "N", 8, 4, 4), True),
        ((1, "N", 8, 4, 4), True),
        (("batch", "memories", "m", "g", "g"), True),
        ((2, "N", 8, 4, 4), False),
        ((1, 7, 8, 4, 4), False),
        ((1, "N", 8, 4, 5), False),
        (("N", 8, 4, 4), False),
    ],
)
def test_what_a_file_may_declare(shape, fits) -> None:
    spec = fake_manifest(image_size=64, width=8).specs()["memory_attention"]
    inputs = {t.name: t for t in spec.inputs}
    inputs["maskmem_features"] = TensorSpec("maskmem_features", "float32", shape)
    outputs = {t.name: t for t in spec.outputs}
    if fits:
        check_network(spec, inputs, outputs, "file.onnx")
    else:
        with pytest.raises(ModelFileError, match=r"file\.onnx: .*maskmem_features"):
            check_network(spec, inputs, outputs, "file.onnx")


def test_picture_is_stretched_bilinearly_into_one_reused_buffer(recorder: Recorder) -> None:
    rng = np.random.default_rng(0)
    addresses = set()
    for shape in ((48, 100, 3), (64, 64, 3), (200, 30, 3)):
        image = rng.integers(0, 255, shape, np.uint8)
        image.flags.writeable = False
        recorder.networks.encode_image(image)
        expected = cv2.resize(image, (64, 64), interpolation=cv2.INTER_LINEAR)
        np.testing.assert_array_equal(recorder.feeds["image_encoder"]["image"][0], expected)
        addresses.add(recorder.image_address)
    assert len(addresses) == 1


def test_features_of_earlier_pictures_stay(recorder: Recorder) -> None:
    kept = [
        recorder.networks.encode_image(np.full((9, 9, 3), value, np.uint8)) for value in (1, 2, 3)
    ]
    assert [float(f.pix_feat.numpy().max()) for f in kept] == [1, 2, 3]


def memories(recorder: Recorder, features: ImageFeatures, values: list[float]):
    return [
        recorder.networks.encode_memory(features, np.full((16, 16), v, np.float32), False, 1.0)
        for v in values
    ]


def pointers(values: list[float]) -> list[np.ndarray]:
    return [np.full(8, v, np.float32) for v in values]


def test_dynamic_form_gets_as_many_rows_as_given(recorder: Recorder, features) -> None:
    networks = recorder.networks
    for count in (1, 12, 3):
        values = [float(v) for v in range(1, count + 1)]
        offsets = list(range(count))
        result = networks.attend(
            features,
            memories(recorder, features, values),
            offsets,
            pointers([*values, 99.0]),
            [-1.5, *offsets],
        )
        assert result.shape == (1, 8, 4, 4)
        fed = recorder.feeds["memory_attention"]
        np.testing.assert_array_equal(fed["maskmem_features"][0, :, 0, 0, 0], values)
        np.testing.assert_array_equal(fed["maskmem_tpos"], [offsets])
        np.testing.assert_array_equal(fed["obj_ptrs"][0, :, 7], [*values, 99.0])
        np.testing.assert_array_equal(fed["obj_ptr_tpos"], [[-1.5, *offsets]])
        assert fed["maskmem_valid"].shape == (1, count)
        assert fed["maskmem_valid"].all()
        assert fed["obj_ptr_valid"].shape == (1, count + 1)
        assert fed["obj_ptr_valid"].all()


def test_fixed_form_is_padded_with_invalid_rows() -> None:
    recorder = Recorder(fake_manifest(image_size=64, width=8, max_cond=2, form="fixed"))
    networks = recorder.networks
    features = networks.encode_image(np.zeros((8, 8, 3), np.uint8))
    for count in (8, 2):  # the second call must not see rows of the first
        values = [float(v) for v in range(1, count + 1)]
        networks.attend(
            features,
            memories(recorder, features, values),
            [1] * count,
            pointers(values),
            [2.0] * count,
        )
        fed = recorder.feeds["memory_attention"]
        np.testing.assert_array_equal(
            fed["maskmem_features"][0, :, 3, 1, 2], values + [0.0] * (8 - count)
        )
        np.testing.assert_array_equal(fed["maskmem_tpos"], [[1] * count + [0] * (8 - count)])
        np.testing.assert_array_equal(
            fed["maskmem_valid"], [[True] * count + [False] * (8 - count)]
        )
        np.testing.assert_array_equal(fed["obj_ptr_valid"][0], np.arange(17) < count)
        np.testing.assert_array_equal(fed["obj_ptrs"][0, count:], np.zeros((17 - count, 8)))
    nine = memories(recorder, features, [1.0] * 9)
    with pytest.raises(EngineError, match=r"at most 8 memories, got 9: lower tracker\.bank\.max_"):
        networks.attend(features, nine, [1] * 9, pointers([1.0]), [0.0])
    with pytest.raises(EngineError, match="at most 17 pointers, got 18"):
        networks.attend(features, nine[:1], [1], pointers([1.0] * 18), [0.0] * 18)


def test_memories_and_offsets_must_match(recorder: Recorder, features) -> None:
    one = memories(recorder, features, [1.0])
    with pytest.raises(ValueError, match="at least 1, got 0 memories"):
        recorder.networks.attend(features, [], [], pointers([1.0]), [0.0])
    with pytest.raises(ValueError, match="1 memories and 2 offsets"):
        recorder.networks.attend(features, one, [0, 1], pointers([1.0]), [0.0])
    with pytest.raises(ValueError, match="2 pointers and 1 offsets"):
        recorder.networks.attend(features, one, [0], pointers([1.0, 2.0]), [0.0])


def test_decoder_gets_points_as_given(recorder: Recorder, features) -> None:
    points = np.array([[1, 2], [30, 40], [5, 6]], np.float32)
    labels = np.array([2, 3, 0], np.int32)
    recorder.networks.decode(features.pix_feat_no_mem, features, points, labels)
    fed = recorder.feeds["mask_decoder"]
    np.testing.assert_array_equal(fed["point_coords"], points[None])
    np.testing.assert_array_equal(fed["point_labels"], labels[None])
    np.testing.assert_array_equal(fed["has_mask_input"], [False])
    np.testing.assert_array_equal(fed["mask_input"], np.zeros((1, 1, 16, 16)))


def test_decoder_gets_one_empty_point_while_tracking(recorder: Recorder, features) -> None:
    """Meta feeds one point labelled -1 and the network pads another: no point is not the same."""
    logits = np.full((16, 16), 3.0, np.float32)
    recorder.networks.decode(features.pix_feat, features, NO_POINTS, NO_LABELS, logits)
    fed = recorder.feeds["mask_decoder"]
    np.testing.assert_array_equal(fed["point_coords"], [[[0.0, 0.0]]])
    np.testing.assert_array_equal(fed["point_labels"], [[-1]])
    np.testing.assert_array_equal(fed["has_mask_input"], [True])
    np.testing.assert_array_equal(fed["mask_input"], logits[None, None])


def test_decoder_answers_stay(recorder: Recorder, features) -> None:
    def decode(x: float) -> DecoderOutput:
        points = np.array([[x, 0]], np.float32)
        return recorder.networks.decode(
            features.pix_feat, features, points, np.ones(1, np.int32), None
        )

    first, second = decode(4.0), decode(9.0)
    assert (first.object_score_logit, second.object_score_logit) == (4.0, 9.0)
    np.testing.assert_array_equal(first.ious, [4.0] * 4)
    assert first.low_res_masks.shape == (4, 16, 16)
    assert first.obj_ptrs.shape == (4, 8)


def test_memories_stay_and_carry_what_was_asked(recorder: Recorder, features) -> None:
    first = recorder.networks.encode_memory(features, np.full((16, 16), 2.0, np.float32), True, -3)
    fed = recorder.feeds["memory_encoder"]
    np.testing.assert_array_equal(fed["is_prompted"], [True])
    np.testing.assert_array_equal(fed["object_score_logits"], [[-3.0]])
    recorder.networks.encode_memory(features, np.full((16, 16), 7.0, np.float32), False, 1.0)
    assert float(first.numpy().max()) == 2.0
    assert first.shape == (1, 8, 4, 4)


def test_mask_prompt_is_stretched_to_the_square(recorder: Recorder) -> None:
    mask = np.zeros((32, 128), np.bool_)
    mask[8:16, 64:96] = True
    mask_input, low_res_mask = recorder.networks.encode_mask_prompt(mask)
    fed = recorder.feeds["mask_prompt"]["mask"][0, 0]
    expected = np.zeros((64, 64), np.uint8)
    expected[16:32, 32:48] = 1
    np.testing.assert_array_equal(fed, expected)
    assert mask_input.shape == low_res_mask.shape == (16, 16)


@pytest.mark.parametrize("size_hw", [(480, 854), (100, 100), (257, 255), (256, 256), (90, 700)])
def test_mask_stretch_is_metas(size_hw) -> None:
    """Against torch's antialiased bilinear resize and the cut at one half, as in add_new_mask."""
    import torch

    height, width = size_hw
    y, x = np.mgrid[:height, :width]
    mask = ((x / width - 0.4) ** 2 + (y / height - 0.5) ** 2 < 0.09) ^ (x % 50 < 3)
    wanted = torch.nn.functional.interpolate(
        torch.from_numpy(mask)[None, None].float(),
        size=(256, 256),
        mode="bilinear",
        align_corners=False,
        antialias=True,
    )[0, 0].numpy()
    ours = stretch_mask(mask, 256)
    clear = np.abs(wanted - 0.5) > 1e-4
    assert clear.mean() > 0.95
    np.testing.assert_array_equal(ours[clear], wanted[clear] >= 0.5)


def test_close_closes_every_backend_and_twice_is_harmless(recorder: Recorder) -> None:
    with recorder.networks as networks:
        pass
    networks.close()
    with pytest.raises(EngineError, match="closed"):
        networks.encode_image(np.zeros((4, 4, 3), np.uint8))


def test_one_that_does_not_close_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = fake_manifest()
    specs = manifest.specs()
    backends = {name: FakeBackend(name, None, specs[name]) for name in NETWORKS}

    def fail() -> None:
        raise EngineError("cannot close")

    monkeypatch.setattr(backends["image_encoder"], "close", fail)
    monkeypatch.setattr(backends["mask_decoder"], "close", fail)
    with pytest.raises(EngineError, match="cannot close"):
        Sam2Networks(manifest, backends).close()
    closed = [name for name, backend in backends.items() if backend._closed]
    assert set(closed) == set(NETWORKS) - {"image_encoder", "mask_decoder"}


def test_every_network_needs_a_backend() -> None:
    with pytest.raises(EngineError, match="no backend for image_encoder, memory_attention"):
        Sam2Networks(fake_manifest(), {})
