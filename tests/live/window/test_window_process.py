"""The whole program with the embedded model: click, see the mask, press q, keep the recording."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from samcam.live.effects.palette import object_colour
from samcam.live.frames import U8, Mask
from samcam.live.sources.demo.scene import DemoScene
from samcam.live.window.drawing.text import AMBER, LINE_PX, PAD_PX, text_width, write
from tests.helpers.window_user import END_TIMEOUT_S, running_command
from tests.helpers.xvfb import Display, wait_until

pytestmark = [pytest.mark.window, pytest.mark.slow]

SIZE_WH = (854, 480)
STATUS_PX = 40
FULL_LENGTH = "source.demo_frames=100000"  # the test ends it, not the scene


def card_pixels(shot: U8) -> Mask:
    """Return where a picture has the card's blue, as a person would look for it."""
    blue, green, red = (shot[..., channel].astype(int) for channel in range(3))
    found = (blue > 110) & (red < 70) & (blue - red > 80) & (green < blue)
    found[-STATUS_PX:] = False
    return np.asarray(found, np.bool_)


def middle_of_card(shot: U8) -> tuple[int, int]:
    """Return the point deepest inside the card, its light dots filled in."""
    filled = cv2.morphologyEx(
        card_pixels(shot).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((15, 15), np.uint8)
    )
    depth = cv2.distanceTransform(filled, cv2.DIST_L2, 5)
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    return int(column), int(row)


def marked_pixels(shot: U8) -> Mask:
    """Return where a picture has the contour colour of object 1."""
    colour = np.array(object_colour(1), np.int16)
    found = np.abs(shot.astype(np.int16) - colour).max(axis=2) <= 3
    found[-STATUS_PX:] = False
    return np.asarray(found, np.bool_)


def decode(path: Path) -> list[U8]:
    with av.open(str(path)) as container:
        frames = container.decode(video=0)
        return [np.asarray(frame.to_ndarray(format="bgr24"), np.uint8) for frame in frames]


def test_click_track_and_quit(display: Display, nano_dir: Path, tmp_path: Path) -> None:
    """A person clicks the card, sees it marked, opens the help, presses q; the file is clean."""
    video = tmp_path / "out" / "feed.mp4"
    arguments = ("--source", "demo", "--set", FULL_LENGTH, "--model", nano_dir)
    outputs = ("--output", "window", "--output", f"video:{video}")
    with running_command(display, tmp_path, *arguments, *outputs) as (process, window):
        wait_until(lambda: int(card_pixels(window.screenshot()).sum()) > 3000, "the card on screen")
        before = window.screenshot()
        x, y = middle_of_card(before)
        window.click(x, y)

        def new_marks() -> Mask:
            return marked_pixels(window.screenshot()) & ~marked_pixels(before)

        def marked_near_click() -> bool:
            rows, columns = np.nonzero(new_marks())
            near = (np.abs(columns - x) < 160) & (np.abs(rows - y) < 140)
            return int(near.sum()) > 150

        wait_until(marked_near_click, "the card's contour")
        shot = window.screenshot()
        window.key("h")
        wait_until(lambda: shot.mean() - window.screenshot().mean() > 3, "the help")
        window.key("h")
        wait_until(lambda: int(new_marks().sum()) > 150, "the contour again")
        window.key("q")
        assert process.wait(END_TIMEOUT_S) == 0

    assert "summary:" in (tmp_path / "log.txt").read_text()
    feed = decode(video)
    assert len(feed) > 3
    # the marks were on screen when q was pressed; in the very last picture the pillar may hide them
    assert max(marked_pixels(image).sum() for image in feed[-15:]) > 20, "the effect is in the file"
    # The status line darkens the lowest rows of the window to a third; the file has them as the
    # scene has them. They hardly change, so some frame of the scene's cycle must fit closely.
    scene = DemoScene(SIZE_WH)
    strips = [scene.render(index)[0][-26:].astype(int) for index in range(0, 240, 4)]
    for image in (feed[0], feed[-1]):
        assert min(np.abs(image[-26:] - strip).mean() for strip in strips) < 15


def says(shot: U8, text: str) -> bool:
    """Whether the window shows a note with these words."""
    word = np.zeros((LINE_PX + PAD_PX, text_width(text) + PAD_PX, 3), np.uint8)
    write(word, text, (1, LINE_PX - 3), AMBER)
    amber, wanted = ((image == AMBER).all(axis=2).astype(np.float32) for image in (shot, word))
    return float(cv2.matchTemplate(amber, wanted, cv2.TM_CCORR_NORMED).max()) > 0.95


def has_banner(shot: U8) -> bool:
    """Whether the bar that says FROZEN lies across the window."""
    return bool((shot[2, 8:-8] == AMBER).all())


def test_frozen_the_window_tells_when_the_output_is_in_the_open(
    display: Display, nano_dir: Path, tmp_path: Path
) -> None:
    """Space, then a click on the frozen picture: the object left in the open from the click on,
    and the window went on to say that only its user sees it. Hidden pictures are one flat card."""
    video = tmp_path / "feed.mp4"
    arguments = ("--source", "demo", "--set", FULL_LENGTH, "--model", nano_dir, "--effect", "blur")
    outputs = ("--output", "window", "--output", f"video:{video}")
    with running_command(display, tmp_path, *arguments, *outputs) as (process, window):
        hidden = "only you see this, the output is hidden"
        wait_until(lambda: says(window.screenshot(), hidden), "the note")
        wait_until(lambda: int(card_pixels(window.screenshot()).sum()) > 3000, "the card on screen")
        window.key("space")
        wait_until(lambda: has_banner(window.screenshot()), "the banner of the frozen picture")
        x, y = middle_of_card(window.screenshot())
        window.click(x, y)
        wait_until(lambda: not says(window.screenshot(), hidden), "no note any more")
        window.key("q")
        assert process.wait(END_TIMEOUT_S) == 0

    feed = decode(video)
    flat = [float(image.std()) < 2 for image in feed]
    assert flat[0], "nothing of the room before the first click"
    assert not all(flat), "the object in the open"
    covers = np.array(
        [image.mean(axis=(0, 1)) for image, one in zip(feed, flat, strict=True) if one]
    )
    assert np.ptp(covers, axis=0).max() < 2, "no movement and no colour of the room"
