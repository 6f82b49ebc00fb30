"""`transparent`: what is left out, on outputs with and without transparency."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from samcam.live.effects.alpha import over_checkerboard, to_rgba
from samcam.live.effects.edges import EdgeOptions
from samcam.live.effects.effects import Effect
from samcam.live.effects.pictures import TransparentOptions
from samcam.live.feed.compositor import Compositor, Fallback, FeedPolicy, compose
from samcam.live.frames import U8, Composite
from samcam.live.masks import upsample_logits
from samcam.live.sinks.video import VideoOptions, VideoSink
from samcam.live.sources.demo.scene import GEAR_ID, DemoScene
from samcam.live.window.drawing.canvas import View, draw_canvas
from samcam.live.window.state import InputState
from tests.helpers.bounds import RUN_TIMEOUT_S
from tests.helpers.results import disc_logits, result_of, textured, tracked
from tests.helpers.xvfb import wait_until
from tests.live.sinks.test_virtualcam import Sent, running

SIZE = (320, 180)
BLACK = (0, 0, 0)
DISC = disc_logits(64, 32, 32, 14)
DEPTH = upsample_logits(DISC, SIZE)
DEMO = ("--source", "demo", "--set", "source.demo_frames=3", "--set", "source.demo_size=[96,64]")


def seen(effect: Effect, logits: object = DISC) -> Composite:
    objects = (tracked(1, DISC if logits is DISC else None),)
    return compose(result_of(textured(SIZE), objects), effect)


def test_alpha_is_the_soft_mask() -> None:
    made = seen(Effect("transparent", edge=EdgeOptions(feather_px=12.0)))
    alpha = made.alpha
    assert alpha is not None
    assert alpha.shape == (180, 320)
    assert not alpha.flags.writeable
    assert (alpha[DEPTH > 1] == 255).all()
    assert (alpha[DEPTH < -6] == 0).all()
    assert len(np.unique(alpha)) > 10
    np.testing.assert_array_equal(made.feed_bgr[DEPTH > 2], textured(SIZE)[DEPTH > 2])
    assert not made.feed_bgr[alpha == 0].any(), "nothing of the room under what is left out"
    whole = seen(Effect("blur"))
    assert whole.alpha is None


def test_inverted_it_leaves_a_hole() -> None:
    alpha = seen(Effect("transparent", edge=EdgeOptions(invert=True))).alpha
    assert alpha is not None
    assert (alpha[DEPTH > 2] == 0).all()
    assert (alpha[DEPTH < -3] == 255).all()


def test_the_colour_around_is_for_outputs_without_transparency() -> None:
    made = seen(Effect("transparent", TransparentOptions((10, 200, 30))))
    assert made.backdrop_rgb == (10, 200, 30)
    assert (made.feed_bgr[DEPTH < -4] == (30, 200, 10)).all()


@pytest.mark.parametrize("colour", [(0, 0, 0), (10, 200, 30)])
def test_rgba_has_the_objects_own_colours(colour: tuple[int, int, int]) -> None:
    """On the soft border too: no black or key-coloured line around the object."""
    image = np.full((180, 320, 3), (40, 90, 220), np.uint8)
    effect = Effect("transparent", TransparentOptions(colour), EdgeOptions(feather_px=12.0))
    made = compose(result_of(image, (tracked(1, DISC),)), effect)
    assert made.alpha is not None
    rgba = to_rgba(made.feed_bgr, made.alpha, made.backdrop_rgb)
    assert not rgba[made.alpha == 0].any()
    solid = made.alpha >= 32
    assert np.abs(rgba[solid][:, :3].astype(int) - (220, 90, 40)).max() <= 5
    np.testing.assert_array_equal(rgba[..., 3], made.alpha)


def test_lost_everything_is_transparent_and_nothing_can_be_found_there() -> None:
    for objects in ((), (tracked(1, None),)):
        made = compose(result_of(textured(SIZE), objects), Effect("transparent"))
        assert made.hidden
        assert made.alpha is not None
        assert not made.alpha.any()
        assert not made.feed_bgr.any()
    through = Compositor(Effect("transparent"), FeedPolicy(on_lost=Fallback.PASSTHROUGH))
    assert through.compose(result_of(textured(SIZE), (tracked(1, None),))).alpha is None
    panic = Compositor(Effect("transparent"))
    panic.panic = True
    made = panic.compose(result_of(textured(SIZE), (tracked(1, DISC),)))
    assert made.alpha is not None
    assert not made.alpha.any()
    assert not made.feed_bgr.any()


def test_no_signal_is_seen_and_only_the_words_cover_what_lies_behind() -> None:
    compositor = Compositor(Effect("transparent"))
    alpha = compositor.stand_in(seen(Effect("transparent")).result, 5).alpha
    assert alpha is not None
    assert 0.005 < (alpha > 0).mean() < 0.3


def test_the_window_shows_a_checkerboard() -> None:
    made = seen(Effect("transparent"))
    state = InputState(object_id=1, help_visible=False, drag=None, message="")
    canvas = draw_canvas(View(made, state), SIZE)
    away, inside = DEPTH < -6, DEPTH > 2
    away[150:], inside[150:] = False, False  # the status line
    assert set(np.unique(canvas[away])) == {105, 150}
    np.testing.assert_array_equal(canvas[inside], textured(SIZE)[inside])
    nothing = np.zeros((24, 24), np.uint8)
    squares = over_checkerboard(np.zeros((24, 24, 3), np.uint8), nothing, BLACK)
    assert squares[0, 0, 0] != squares[0, 12, 0]


@pytest.mark.parametrize("colour", [BLACK, (10, 200, 30)])
def test_the_checkerboard_is_mixed_like_any_background(colour: tuple[int, int, int]) -> None:
    """With the object's own colours, on its soft border too."""
    effect = Effect("transparent", TransparentOptions(colour), EdgeOptions(feather_px=12.0))
    made = seen(effect)
    assert made.alpha is not None
    share = made.alpha[..., None] / 255
    own = to_rgba(made.feed_bgr, made.alpha, made.backdrop_rgb)[..., 2::-1]
    nothing = np.zeros(SIZE[::-1], np.uint8)
    squares = over_checkerboard(np.zeros_like(made.feed_bgr), nothing, BLACK)
    expected = own * share + squares * (1 - share)
    mixed = over_checkerboard(made.feed_bgr, made.alpha, made.backdrop_rgb)
    assert np.abs(mixed - expected).max() <= 2


def test_a_video_says_once_that_it_has_no_transparency(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Chosen live; at the start it is refused (tests/live/cli/test_cli.py)."""
    sink = VideoSink(tmp_path / "a.mp4", 25.0, VideoOptions())
    for index in range(3):
        result = result_of(textured(SIZE), (tracked(1, DISC),), index, index * 40_000_000)
        sink.put(compose(result, Effect("transparent")))
    sink.close()
    assert caplog.text.count("an mp4 has no transparency") == 1


def demo_mask(folder: Path) -> tuple[Path, U8]:
    """Write the true mask of the demo's wheel on its first picture."""
    ids = DemoScene((96, 64)).render(0)[1]
    mask = ((ids == GEAR_ID) * 255).astype(np.uint8)
    path = folder / "mask.png"
    path.write_bytes(cv2.imencode(".png", mask)[1].tobytes())
    return path, mask


def stopped_after_pictures(process: subprocess.Popen[str], sent: Path) -> str:
    """Interrupt a run when the camera has sent pictures of its steps; return what it said."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if re.search(r"frame (1[2-9]|[2-9]\d|\d{3,}),", line):
            break
    before = sent.stat().st_size
    wait_until(lambda: sent.stat().st_size >= before + 3, "three more pictures")
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=RUN_TIMEOUT_S)
    return "".join(lines) + rest


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot interrupt one process")
@pytest.mark.parametrize("takes_rgba", [True, False])
def test_virtual_camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, takes_rgba: bool) -> None:
    """The program as a user starts it: RGBA where the camera takes it, else said once."""
    if takes_rgba:
        monkeypatch.setenv("MEMORY_CAMERA_RGBA", "1")
    path, mask = demo_mask(tmp_path)
    # every picture: the first answer, the true mask, must not be dropped when the machine is busy
    arguments = (*DEMO, "--loop", "--pace", "all", "--effect", "transparent")
    camera = ("--output", "virtualcam", "--set", "effect.transparent.color=[0,255,0]")
    words = (*arguments, *camera, "--set", "metrics.period_s=0.5", "--prompt", f"mask={path}")
    with running(tmp_path, *words) as process:
        text = stopped_after_pictures(process, tmp_path / "sent.sent")
    assert process.returncode == 130, text
    pictures = Sent.read(tmp_path / "sent.npz").pictures[1:]  # the first is black
    far = cv2.dilate(mask, np.ones((9, 9), np.uint8)) == 0
    deep = cv2.erode(mask, np.ones((5, 5), np.uint8)) > 0
    assert len(pictures)
    if takes_rgba:
        assert pictures.shape[3] == 4
        assert "no transparency" not in text
        shown = [p for p in pictures if (p[far] == 0).all() and (p[deep][:, 3] == 255).all()]
        assert shown
        assert shown[0][deep][:, :3].std() > 0
    else:
        assert pictures.shape[3] == 3
        assert text.count("sends no transparency") == 1
        assert any((p[far] == (0, 255, 0)).all() for p in pictures)
