"""Networks against a reference on pictures: what is looked at, what is blamed."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from samcam.engines.base import EngineError
from samcam.engines.checks.check_pictures import BODY_ID, HEAD_ID, paint_check_pictures
from samcam.engines.checks.self_check import (
    BOXES,
    MIN_IOU,
    POINTS,
    NetworkCheck,
    compare_networks,
    describe,
    read_pictures,
)
from samcam.engines.fake_backend import FakeBackend, fake_manifest, fake_networks
from samcam.engines.graph_table import (
    IMAGE_ENCODER,
    MASK_DECODER,
    MASK_PROMPT,
    MEMORY_ATTENTION,
    MEMORY_ENCODER,
    NETWORKS,
)
from samcam.engines.sam2_graphs import DecoderOutput, Sam2Networks

PICTURE = np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)


def networks_with(network: str | None = None, change=None) -> Sam2Networks:
    """The fake networks that follow prompts; one of them answers `change(outputs)`."""
    manifest = fake_manifest()
    right = fake_networks(manifest=manifest)
    backends = dict(right.backends)
    if network is not None:
        inner = backends[network]
        assert isinstance(inner, FakeBackend)
        function = inner._function

        def wrong(feeds):
            outputs = function(feeds) if function is not None else {}
            return change({name: value.copy() for name, value in outputs.items()}, feeds)

        backends[network] = FakeBackend(network, wrong, manifest.specs()[network])
    return Sam2Networks(manifest, backends)


def prefer_another(outputs, feeds):
    """The masks are right, but the order of two candidates' scores has flipped."""
    outputs["ious"][0, [1, 2]] = outputs["ious"][0, [2, 1]]
    return outputs


def forget(outputs, feeds):
    outputs["maskmem_features"][:] = 0
    return outputs


def lose(outputs, feeds):
    outputs["pix_feat_with_mem"][:] = 0
    return outputs


def not_finite(outputs, feeds):
    outputs["low_res_masks"][0, 0, 0, 0] = np.nan
    outputs["low_res_masks"][0, 1:, 0, 0] = np.nan
    return outputs


def no_pointer(outputs, feeds):
    outputs["obj_ptrs"][:] = np.nan
    return outputs


def no_ious(outputs, feeds):
    outputs["ious"][:] = np.nan
    return outputs


def absent(outputs, feeds):
    """The masks are right, but the object is said to be away."""
    outputs["object_score_logits"][:] = -50
    return outputs


def other_mask(outputs, feeds):
    outputs["mask_input"][:] = -outputs["mask_input"]
    return outputs


def other_answer(outputs, feeds):
    """The decoder gets the right mask, the user another one."""
    outputs["low_res_mask"][:] = -outputs["low_res_mask"]
    return outputs


def worst(candidate: Sam2Networks, networks=tuple(NETWORKS)) -> dict[str, NetworkCheck]:
    with networks_with() as reference, candidate:
        checks = compare_networks(reference, candidate, [PICTURE], networks)
    return {check.network: check for check in checks}


def test_equal_networks_agree() -> None:
    checks = worst(networks_with())
    assert list(checks) == list(NETWORKS)
    for check in checks.values():
        assert (check.min_iou, check.mean_iou, check.passed) == (1, 1, True)
        assert check.cases >= 3


@pytest.mark.parametrize(
    ("network", "change"),
    [
        (MASK_DECODER, prefer_another),
        (MASK_DECODER, not_finite),
        (MASK_DECODER, no_pointer),
        (MASK_DECODER, no_ious),
        (MASK_DECODER, absent),
        (MEMORY_ENCODER, forget),
        (MEMORY_ATTENTION, lose),
        (MASK_PROMPT, other_mask),
        (MASK_PROMPT, other_answer),
    ],
    ids=[
        "flipped choice",
        "not finite",
        "no pointer",
        "no predicted IoU",
        "absent",
        "empty memory",
        "no attention",
        "other mask",
        "other answer",
    ],
)
def test_only_the_wrong_network_is_blamed(network: str, change) -> None:
    checks = worst(networks_with(network, change))
    blamed = [name for name, check in checks.items() if not check.passed]
    assert blamed == [network]
    assert checks[network].min_iou < 0.6
    assert checks[network].min_iou <= checks[network].mean_iou


def test_a_full_bank_is_looked_at_where_it_is_asked_for() -> None:
    """Attention that fails with many rows only: two memories do not show it."""
    steps = fake_manifest().row_steps

    def overflow(outputs, feeds):
        many = feeds["maskmem_valid"].sum() > 2
        return lose(outputs, feeds) if many else outputs

    assert worst(networks_with(MEMORY_ATTENTION, overflow))[MEMORY_ATTENTION].passed
    with networks_with() as reference, networks_with(MEMORY_ATTENTION, overflow) as candidate:
        (check,) = compare_networks(
            reference, candidate, [PICTURE], (MEMORY_ATTENTION,), banks=steps
        )
    assert not check.passed
    assert check.cases == (1 + len(steps)) * (len(POINTS) + len(BOXES))
    assert "tracked by 10 memories" in check.worst


def test_the_encoder_is_judged_by_the_masks_of_its_features() -> None:
    """A decoder that reads the features sees when they are wrong."""

    def looking(feeds):
        value = float(feeds["high_res_feat0"].mean())
        masks = np.full((4, 64, 64), 1.0 if value < 0.5 else -1.0, np.float32)
        return DecoderOutput(masks, np.ones(4, np.float32), np.zeros((4, 16), np.float32), 1.0)

    manifest = fake_manifest()

    def make(value: float) -> Sam2Networks:
        made = fake_networks(manifest=manifest, decoder=looking)
        backends = dict(made.backends)
        spec = manifest.specs()[IMAGE_ENCODER]
        features = {"high_res_feat0": np.full((1, 4, 64, 64), value, np.float32)}
        backends[IMAGE_ENCODER] = FakeBackend(IMAGE_ENCODER, lambda feeds: features, spec)
        return Sam2Networks(manifest, backends)

    with make(0) as reference, make(1) as candidate:
        checks = compare_networks(reference, candidate, [PICTURE])
    assert [c.network for c in checks if not c.passed] == [IMAGE_ENCODER]


def watchful(network: str | None = None, **wrong: float) -> Sam2Networks:
    """Fake networks whose attention loses the object where a pointer or `pix_feat` is odd."""
    networks = networks_with()
    backends = dict(networks.backends)
    attention = backends[MEMORY_ATTENTION]
    assert isinstance(attention, FakeBackend)
    attend = attention._function
    assert attend is not None

    def strict(feeds):
        outputs = attend(feeds)
        if feeds["pix_feat"].max() > 0.5 or feeds["obj_ptrs"].max() > 900:
            outputs["pix_feat_with_mem"][:] = 0
        return outputs

    specs = networks.manifest.specs()
    backends[MEMORY_ATTENTION] = FakeBackend(MEMORY_ATTENTION, strict, specs[MEMORY_ATTENTION])
    if network is not None:
        inner = backends[network]
        assert isinstance(inner, FakeBackend)
        function = inner._function
        shapes = {tensor.name: tensor.shape for tensor in specs[network].outputs}

        def odd(feeds):
            outputs = dict(function(feeds)) if function is not None else {}
            for name, value in wrong.items():
                shape = [1 if isinstance(axis, str) else axis for axis in shapes[name]]
                outputs[name] = np.full(shape, value, np.float32)
            return outputs

        backends[network] = FakeBackend(network, odd, specs[network])
    return Sam2Networks(networks.manifest, backends)


@pytest.mark.parametrize(
    ("network", "wrong"),
    [(IMAGE_ENCODER, {"pix_feat": 1.0}), (MASK_DECODER, {"obj_ptrs": 1000.0})],
)
def test_what_only_tracking_uses_is_compared_too(network: str, wrong: dict[str, float]) -> None:
    """The first mask is right; what is handed on to the next picture is not."""
    with watchful() as reference, watchful(network, **wrong) as candidate:
        checks = compare_networks(reference, candidate, [PICTURE])
    assert [check.network for check in checks if not check.passed] == [network]


def nothing(feeds) -> DecoderOutput:
    masks = np.full((4, 64, 64), -1.0, np.float32)
    return DecoderOutput(masks, np.ones(4, np.float32), np.zeros((4, 16), np.float32), -1.0)


def test_empty_masks_are_no_agreement() -> None:
    def blind() -> Sam2Networks:
        return fake_networks(manifest=fake_manifest(), decoder=nothing)

    with blind() as reference, blind() as candidate:
        checks = compare_networks(reference, candidate, [PICTURE])
    assert [(check.cases, check.passed) for check in checks] == [(0, False)] * len(NETWORKS)
    assert "masks are all empty" in describe(checks)
    with blind() as reference, networks_with() as candidate:
        (check,) = compare_networks(reference, candidate, [PICTURE], [MASK_DECODER])
    assert check.cases > 0, "a mask where there is none counts"
    assert check.min_iou == 0


def test_chosen_networks_only_and_no_pictures() -> None:
    assert list(worst(networks_with(), (MASK_PROMPT,))) == [MASK_PROMPT]
    with networks_with() as nets, pytest.raises(EngineError, match="no picture to compare"):
        compare_networks(nets, nets, [])


def test_the_table_names_the_worst_prompt() -> None:
    checks = worst(networks_with(MASK_DECODER, prefer_another))
    table = describe(list(checks.values())).splitlines()
    assert len(table) == 1 + len(NETWORKS)
    (bad,) = [line for line in table if "below" in line]
    assert bad.startswith(MASK_DECODER)
    assert "picture 0, point" in bad
    assert f"below {MIN_IOU:g}" in bad


def test_painted_pictures_have_objects_where_the_prompts_are() -> None:
    painted = paint_check_pictures()
    assert len({picture.image.tobytes() for picture in painted}) == len(painted) >= 3
    for picture, again in zip(painted, read_pictures(), strict=True):
        np.testing.assert_array_equal(picture.image, again)
        height, width = picture.ids.shape
        assert picture.image.shape == (height, width, 3)
        for (x, y), object_id in zip(POINTS, (HEAD_ID, BODY_ID), strict=True):
            inside = (picture.ids == object_id).astype(np.uint8)
            depth = cv2.distanceTransform(inside, cv2.DIST_L2, 5)
            assert depth[int(y * height), int(x * width)] > 0.05 * width
            # Texture and light, not one colour, and little that is burnt out.
            values = picture.image[inside > 0]
            assert values.std(axis=0).min() > 5
            assert np.mean((values == 0) | (values == 255)) < 0.02
        (box,) = BOXES
        left, top, *size = cv2.boundingRect((picture.ids > 0).astype(np.uint8))
        corners = np.array([left, top, left + size[0], top + size[1]])
        np.testing.assert_allclose(corners, np.array(box) * ([width, height] * 2), atol=6)


def test_pictures_are_read_or_named(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="no pictures, expected files of type"):
        read_pictures(tmp_path)
    cv2.imwrite(str(tmp_path / "b.png"), PICTURE)
    (read,) = read_pictures(tmp_path)
    np.testing.assert_array_equal(read, PICTURE)
    (tmp_path / "a.jpg").write_bytes(b"nothing")
    with pytest.raises(EngineError, match=r"a\.jpg: not a readable picture"):
        read_pictures(tmp_path)
