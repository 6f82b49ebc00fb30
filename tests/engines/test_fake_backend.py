"""The fake networks that other tests and the loop bench stand on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from samcam.engines import fake_backend
from samcam.engines.base import Array, EngineError
from samcam.engines.fake_backend import MAX_SHAPES, FakeBackend, fake_manifest, fake_networks
from samcam.engines.sam2_graphs import DecoderOutput, ImageFeatures, Sam2Networks

NO_POINTS, NO_LABELS = np.zeros((0, 2), np.float32), np.zeros(0, np.int32)


def box_prompt(networks: Sam2Networks, features: ImageFeatures, box: tuple[int, ...]):
    corners = np.array(box, np.float32).reshape(2, 2)
    return networks.decode(
        features.pix_feat_no_mem, features, corners, np.array([2, 3], np.int32), None
    )


def test_fake_networks_find_the_prompted_disc_and_keep_it() -> None:
    networks = fake_networks(image_size=256)
    features = networks.encode_image(np.zeros((90, 160, 3), np.uint8))
    first = box_prompt(networks, features, (60, 100, 140, 180))
    assert first.object_score_logit > 0
    ys, xs = np.nonzero(first.low_res_masks[0] > 0)
    assert (xs.mean() + 0.5) * 4 == pytest.approx(100.5, abs=1)
    assert (ys.mean() + 0.5) * 4 == pytest.approx(140.5, abs=1)
    assert len(xs) == pytest.approx(np.pi * 10**2, rel=0.05)

    bank = [networks.encode_memory(features, first.low_res_masks[0], True, 10.0)]
    prompted = first.low_res_masks[2] > 0
    tracked = []
    for _ in range(20):
        offsets = list(range(len(bank)))
        attended = networks.attend(
            features, bank, offsets, [first.obj_ptrs[0]] * len(bank), [float(o) for o in offsets]
        )
        answer = networks.decode(attended, features, NO_POINTS, NO_LABELS, None)
        assert answer.object_score_logit > 0
        tracked.append(answer.low_res_masks[2] > 0)
        memory = networks.encode_memory(features, answer.low_res_masks[2], False, 10.0)
        bank = [bank[0], memory, *bank[1:6]]
    assert (tracked[0] & prompted).sum() / (tracked[0] | prompted).sum() > 0.98
    for mask in tracked:
        np.testing.assert_array_equal(mask, tracked[0])


def test_fake_networks_know_no_object_without_prompt_or_memory() -> None:
    networks = fake_networks()
    features = networks.encode_image(np.zeros((9, 9, 3), np.uint8))
    lone = networks.decode(features.pix_feat_no_mem, features, NO_POINTS, NO_LABELS, None)
    assert lone.object_score_logit < 0
    empty = networks.encode_memory(features, np.full((64, 64), -1024.0, np.float32), False, -10.0)
    attended = networks.attend(features, [empty], [1], [lone.obj_ptrs[0]], [1.0])
    assert networks.decode(attended, features, NO_POINTS, NO_LABELS, None).object_score_logit < 0


def test_fake_mask_prompt_and_own_decoder() -> None:
    networks = fake_networks()
    mask = np.zeros((256, 256), np.bool_)
    mask[40:80, 100:140] = True
    mask_input, low_res_mask = networks.encode_mask_prompt(mask)
    np.testing.assert_array_equal(low_res_mask > 0, mask[2::4, 2::4])
    np.testing.assert_array_equal(mask_input, low_res_mask)

    def decoder(feeds: Mapping[str, Array]) -> DecoderOutput:
        masks = np.full((4, 64, 64), feeds["point_coords"].sum(), np.float32)
        return DecoderOutput(
            masks, np.arange(4, dtype=np.float32), np.ones((4, 16), np.float32), -2
        )

    own = fake_networks(decoder=decoder)
    features = own.encode_image(np.zeros((9, 9, 3), np.uint8))
    answer = box_prompt(own, features, (1, 2, 3, 4))
    assert answer.object_score_logit == -2.0
    assert (answer.low_res_masks == 10).all()


def test_fake_backend_counts_calls_and_shapes_within_a_bound() -> None:
    spec = fake_manifest(image_size=64, width=8).specs()["memory_attention"]
    backend = FakeBackend("memory_attention", None, spec)
    feeds = {
        t.name: np.zeros([1 if isinstance(a, str) else a for a in t.shape], t.dtype)
        for t in spec.inputs
    }
    for count in range(1, MAX_SHAPES + 11):
        feeds["obj_ptrs"] = np.zeros((1, count, 8), np.float32)
        feeds["obj_ptr_tpos"] = np.zeros((1, count), np.float32)
        feeds["obj_ptr_valid"] = np.zeros((1, count), np.bool_)
        backend.run(feeds)
    assert backend.calls == MAX_SHAPES + 10
    assert len(backend.input_shapes) == MAX_SHAPES + 1
    assert backend.input_shapes[()] == 10
    assert sum(backend.input_shapes.values()) == backend.calls


def test_fake_backend_writes_into_the_same_arrays() -> None:
    values = iter((1, 2))
    backend = FakeBackend(
        "mask_prompt", lambda feeds: {"mask_input": np.full((1, 1, 64, 64), next(values), "f4")}
    )
    feeds = {"mask": np.zeros((1, 1, 256, 256), np.uint8)}
    first = backend.run(feeds)["mask_input"]
    assert first.numpy().max() == 1
    backend.run(feeds)
    assert first.numpy().max() == 2, "whoever keeps it without a copy is to notice"


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({"masks": np.zeros(1)}, "unknown outputs masks"),
        ({"mask_input": np.zeros((1, 1, 64, 64))}, "expected float32"),
        ({"mask_input": np.zeros((1, 64, 64), np.float32)}, r"got float32 \(1, 64, 64\)"),
    ],
)
def test_fake_backend_refuses_what_a_network_cannot_answer(outputs, message) -> None:
    backend = FakeBackend("mask_prompt", lambda feeds: outputs)
    with pytest.raises(EngineError, match=message):
        backend.run({"mask": np.zeros((1, 1, 256, 256), np.uint8)})


def test_fake_latency_is_once_per_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(fake_backend.time, "sleep", slept.append)
    networks = fake_networks(delay_s=0.05)
    features = networks.encode_image(np.zeros((9, 9, 3), np.uint8))
    box_prompt(networks, features, (1, 2, 30, 40))
    assert slept == [0.05]


def test_fake_networks_need_room_for_their_disc() -> None:
    with pytest.raises(EngineError, match="at least 4"):
        fake_networks(width=2)
