"""The camera's motion between two pictures: shake, zoom, roll, cuts, and what cannot be seen."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from samcam.kalman import CameraFinding, CameraMotion, Grey, measure_camera, small_grey
from samcam.live.frames import U8

WH = (640, 360)
F64 = NDArray[np.float64]
CORNERS = np.array([[0, 0, 1], [1, 0, 1], [0, 1, 1], [1, 1, 1]], np.float64).T


def world(seed: int = 0) -> U8:
    """Return a large ground, textured coarsely and finely, as real ones are."""
    rng = np.random.default_rng(seed)
    layers = []
    for cells in (12, 40, 120):
        coarse = rng.integers(0, 256, (cells * WH[1] // WH[0], cells, 3), np.uint8)
        layers.append(cv2.resize(coarse, (WH[0] * 2, WH[1] * 2), interpolation=cv2.INTER_CUBIC))
    return np.asarray(np.mean(layers, axis=0), np.uint8)


def camera(dx: float = 0, dy: float = 0, zoom: float = 1, degrees: float = 0) -> F64:
    """Return the (3, 3) similarity about the picture's middle, in pixels of the picture."""
    turn = cv2.getRotationMatrix2D((WH[0] / 2, WH[1] / 2), degrees, zoom)
    turn[:, 2] += (dx, dy)
    return np.vstack((turn, (0, 0, 1)))


def film(ground: U8, pose: F64, object_at: tuple[float, float] | None = None) -> U8:
    """Return what a camera in this pose sees of the ground, and of an object on it."""
    shown = ground.copy()
    if object_at is not None:
        x, y = (round(value) for value in object_at)
        rng = np.random.default_rng(9)
        coat = rng.integers(0, 256, (12, 12, 3), np.uint8)
        shown[y : y + 120, x : x + 120] = cv2.resize(coat, (120, 120))
    middle = np.array([[1, 0, -WH[0] / 2], [0, 1, -WH[1] / 2], [0, 0, 1]])
    return np.asarray(cv2.warpAffine(shown, (pose @ middle)[:2], WH, flags=cv2.INTER_LINEAR))


def in_shares(affine: F64) -> F64:
    """Turn a (3, 3) map of pixels into one of shares of the sides; a pixel's middle is its place
    and a half."""
    to_pixels = np.array([[WH[0], 0, -0.5], [0, WH[1], -0.5], [0, 0, 1]])
    return np.asarray((np.linalg.inv(to_pixels) @ affine @ to_pixels)[:2])


def error(found: CameraMotion, truth: F64) -> float:
    """Return by how many pixels of the small picture the worst corner is off."""
    assert found.finding is CameraFinding.MEASURED
    return float(np.abs((found.affine - in_shares(truth)) @ CORNERS).max()) * 320


MOVES = {
    "still": {},
    "shake": {"dx": 9.0, "dy": -7.0},
    "far": {"dx": 60.0, "dy": 25.0},
    "zoom in": {"zoom": 1.06},
    "zoom out": {"zoom": 0.95},
    "roll": {"degrees": 3.0},
    "all": {"dx": -14.0, "dy": 6.0, "zoom": 1.03, "degrees": -2.0},
}


@pytest.mark.parametrize("move", MOVES)
def test_it_finds_how_the_camera_moved_whatever_moves_in_the_picture(move: str) -> None:
    ground, pose = world(), camera(**MOVES[move])
    before = small_grey(film(ground, np.eye(3), (500, 250)))
    now = small_grey(film(ground, pose, (530, 280)))
    found = measure_camera(before, now)
    assert error(found, pose) < 0.6
    assert found.zoom == pytest.approx(MOVES[move].get("zoom", 1), abs=0.005)


def test_pictures_that_change_size_are_measured_in_shares() -> None:
    ground, pose = world(), camera(12, -8)
    before = small_grey(film(ground, np.eye(3)))
    now = small_grey(np.asarray(cv2.resize(film(ground, pose), (160, 120))))
    assert now.shape != before.shape
    assert error(measure_camera(before, now), pose) < 1.5


def grey_of(value: float, noise: float = 0, seed: int = 0) -> Grey:
    rng = np.random.default_rng(seed)
    return np.asarray(np.clip(rng.normal(value, noise, (180, 320)), 0, 255), np.uint8)


ROOM = small_grey(world(1)[:360, :640])


@pytest.mark.parametrize(
    ("before", "now", "finding"),
    [
        (grey_of(120), grey_of(120), CameraFinding.UNKNOWN),
        (grey_of(120, 2, 1), grey_of(120, 2, 2), CameraFinding.UNKNOWN),
        (grey_of(10, 2, 1), grey_of(200, 2, 2), CameraFinding.CUT),
        (ROOM, grey_of(120), CameraFinding.UNKNOWN),
        (ROOM, grey_of(0), CameraFinding.CUT),
        (ROOM, ROOM, CameraFinding.MEASURED),
        (ROOM[:16, :16], ROOM[:16, :16], CameraFinding.UNKNOWN),
        (ROOM[:1, :1], ROOM[:1, :1], CameraFinding.UNKNOWN),
    ],
    ids=["wall", "noise", "lights on", "lens covered", "black", "still", "tiny", "one pixel"],
)
def test_what_it_says_where_there_is_little_to_see(
    before: Grey, now: Grey, finding: CameraFinding
) -> None:
    found = measure_camera(before, now)
    assert found.finding is finding
    if finding is not CameraFinding.MEASURED:
        np.testing.assert_array_equal(found.affine, np.eye(2, 3))


def test_a_cut_to_another_place_is_a_cut() -> None:
    dark = small_grey(np.asarray(world(2)[:360, :640] // 3))
    light = small_grey(np.asarray(world(3)[:360, :640] // 3 + 120))
    assert measure_camera(dark, light).is_cut
    assert measure_camera(light, dark).is_cut


def test_a_lamp_switched_on_is_no_cut() -> None:
    room = np.asarray(world(2)[:360, :640] // 2)
    found = measure_camera(small_grey(room), small_grey(np.asarray(room + 50)))
    assert error(found, np.eye(3)) < 0.5


def test_it_gives_the_same_bits_again() -> None:
    before, now = small_grey(film(world(), np.eye(3))), small_grey(film(world(), camera(9, 4)))
    one, other = measure_camera(before, now), measure_camera(before, now)
    np.testing.assert_array_equal(one.affine, other.affine)


def test_the_small_picture_has_the_shape_of_the_large_one() -> None:
    assert small_grey(np.zeros((720, 1280, 3), np.uint8)).shape == (180, 320)
    assert small_grey(np.zeros((1280, 720, 3), np.uint8)).shape == (320, 180)
    assert small_grey(np.zeros((48, 64, 3), np.uint8)).shape == (48, 64)
    assert small_grey(np.zeros((1, 4000, 3), np.uint8)).shape == (1, 320)


def test_a_motion_in_another_unit_moves_places_as_far() -> None:
    shares = CameraMotion(np.array([[1.1, 0.02, 0.1], [-0.01, 1.1, -0.2]]))
    cells = shares.scaled(64)
    x, y = shares.moved(0.3, 0.6)
    assert cells.moved(0.3 * 64, 0.6 * 64) == pytest.approx((x * 64, y * 64))
    assert cells.side == 64
    assert cells.zoom == shares.zoom
    np.testing.assert_allclose(cells.scaled(1).affine, shares.affine)
    with pytest.raises(ValueError, match="read-only"):
        cells.affine[0, 0] = 2
