"""Mouse and keys become commands in source pixels, whatever the window's size."""

from __future__ import annotations

import queue

import numpy as np
import pytest

from samcam.live.commands import RemoveObject, TrackerCommand
from samcam.live.control.controls import Controls
from samcam.live.effects.effects import Effect
from samcam.live.feed.compositor import compose
from samcam.live.frames import Prompt
from samcam.live.window.drawing.canvas import View, draw_canvas, letterbox_of
from samcam.live.window.input import MESSAGE_S, WindowInput
from samcam.live.window.keys import ESCAPE, KeyPress
from samcam.live.window.letterbox import Letterbox
from samcam.live.window.prompts import MIN_DRAG_PX
from tests.helpers.results import disc_logits, result_of, textured, tracked

STEP = 7


class Clock:
    """Time that stands still until moved."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def make(room: int = 8) -> tuple[WindowInput, queue.Queue[TrackerCommand], Clock]:
    controls = Controls(room)
    clock = Clock()
    made = WindowInput(controls, clock)
    made.letterbox = Letterbox((640, 360), (640, 360))
    made.set_picture(STEP, np.zeros((360, 640), np.uint8))
    return made, controls.tracker, clock


def taken(commands: queue.Queue[TrackerCommand]) -> Prompt:
    command = commands.get_nowait()
    assert isinstance(command, Prompt)
    assert (command.frame_index, command.step) == (None, STEP)
    return command


@pytest.mark.parametrize("canvas_wh", [(640, 360), (1000, 400), (300, 900), (77, 31), (1280, 720)])
@pytest.mark.parametrize("source_wh", [(640, 360), (641, 359), (1920, 1080), (90, 160)])
def test_positions_map_there_and_back(
    source_wh: tuple[int, int], canvas_wh: tuple[int, int]
) -> None:
    box = Letterbox(source_wh, canvas_wh)
    (left, top), (width, height) = box.offset_xy, box.drawn_wh
    assert width == canvas_wh[0] or height == canvas_wh[1]
    assert 0 <= left <= canvas_wh[0] - width
    assert 0 <= top <= canvas_wh[1] - height
    for x, y in ((source_wh[0] / 3, source_wh[1] / 2), (source_wh[0] * 0.9, 20.0)):
        on_canvas = box.to_canvas(x, y)
        back = box.to_source(on_canvas.x, on_canvas.y)
        assert (back.x, back.y) == pytest.approx((x, y), abs=1e-6)
    corner = box.to_source(left + width - 1, top + height - 1)
    assert source_wh[0] - 1 - corner.x <= source_wh[0] / width / 2
    assert source_wh[1] - 1 - corner.y <= source_wh[1] / height / 2
    beyond = box.to_source(canvas_wh[0] + 50, -50)
    assert (beyond.x, beyond.y) == (source_wh[0] - 1, 0)


@pytest.mark.parametrize("canvas_wh", [(500, 300), (300, 500), (400, 90)])
def test_a_click_hits_the_pixel_that_is_drawn_there(canvas_wh: tuple[int, int]) -> None:
    """Draw one bright source pixel; the brightest canvas pixel must map back to it."""
    image = np.zeros((48, 64, 3), np.uint8)
    image[10, 17] = 255
    composite = compose(result_of(image), Effect())
    made, _, _ = make()
    canvas = draw_canvas(View(composite, made.state), canvas_wh)
    box = letterbox_of(composite, canvas_wh)
    picture = canvas[:, :, 0].astype(int)
    picture[-40:] = 0  # the status line
    row, column = np.unravel_index(picture.argmax(), picture.shape)
    point = box.to_source(int(column), int(row))
    assert (point.x, point.y) == pytest.approx((17, 10), abs=0.75)


def test_left_click_is_a_positive_point() -> None:
    made, commands, _ = make()
    made.press_left(100, 50)
    made.move(101, 51)
    made.release_left(100 + MIN_DRAG_PX - 1, 50)
    prompt = taken(commands)
    assert (prompt.object_id, prompt.labels.tolist()) == (1, [1])
    assert prompt.points_xy_px.tolist() == [[100.0, 50.0]], "where it went down"
    assert made.state.drag is None


def test_right_click_is_a_negative_point_for_a_known_object() -> None:
    made, commands, _ = make()
    made.press_right(10, 20)
    assert commands.empty()
    assert made.state.message == "object 1: click it with the left button first"
    made.set_known_objects([1])
    made.press_right(10, 20)
    assert taken(commands).labels.tolist() == [0]


def test_drag_is_a_box_in_any_direction_cut_at_the_picture() -> None:
    made, commands, _ = make()
    made.press_left(100, 90)
    made.move(40, 30)
    drag = made.state.drag
    assert drag is not None
    assert (drag[0].x, drag[1].y) == (100, 30)
    made.release_left(-500, 30)
    prompt = taken(commands)
    assert prompt.box_xyxy_px is not None
    assert prompt.box_xyxy_px.tolist() == [0.0, 30.0, 100.0, 90.0]
    assert not len(prompt.points_xy_px)


def test_a_line_is_no_box() -> None:
    made, commands, _ = make()
    made.press_left(100, 90)
    made.release_left(200, 90)
    assert commands.empty()
    assert made.state.message == "box too thin: drag across the object"


def test_nothing_is_sent_for_the_bars_or_before_a_picture() -> None:
    made, commands, _ = make()
    made.letterbox = Letterbox((640, 360), (1000, 400))
    made.set_known_objects([1])
    made.press_left(60, 200)
    made.release_left(300, 300)
    made.press_right(990, 200)
    made.letterbox = None
    made.press_left(100, 100)
    made.release_left(100, 100)
    assert commands.empty()


def test_keys() -> None:
    made, commands, _ = make()
    made.key(KeyPress("4"))
    assert made.state.object_id == 4
    made.press_left(1, 1)
    made.release_left(1, 1)
    assert taken(commands).object_id == 4
    made.key(KeyPress("x"))
    made.key(KeyPress("R", "r", frozenset({"<shift>"})))
    assert [commands.get_nowait() for _ in range(2)] == [RemoveObject(4), RemoveObject(None)]
    made.key(KeyPress("h"))
    assert made.state.help_visible
    made.key(KeyPress("h"))
    assert not made.state.help_visible
    for character in ("0", "ÿ", "", "\t", "w"):
        made.key(KeyPress(character))
    assert commands.empty()
    assert not made.quit_requested
    made.key(KeyPress(ESCAPE))
    assert made.quit_requested


def test_a_full_queue_is_said_and_nothing_is_lost_silently() -> None:
    made, commands, clock = make(room=1)
    for _ in range(2):
        made.press_left(100, 50)
        made.release_left(100, 50)
    assert commands.qsize() == 1
    assert made.state.message == "too many commands are waiting: this one was not taken"
    clock.now_s += MESSAGE_S
    assert made.state.message == ""


def test_the_canvas_never_changes_the_feed() -> None:
    composite = compose(
        result_of(textured((64, 48)), (tracked(1, disc_logits(32, 16, 16, 6)),)), Effect()
    )
    before = composite.feed_bgr.copy()
    made, _, _ = make()
    made.key(KeyPress("h"))
    for canvas_wh in ((64, 48), (640, 480), (1, 1), (30, 10)):
        canvas = draw_canvas(View(composite, made.state, note="no signal"), canvas_wh)
        assert canvas.shape == (canvas_wh[1], canvas_wh[0], 3)
        assert not np.shares_memory(canvas, composite.feed_bgr)
    np.testing.assert_array_equal(composite.feed_bgr, before)


def test_the_operator_sees_what_the_output_hides() -> None:
    """Without it nobody could click; a no signal picture is shown to everyone."""
    image = np.zeros((360, 640, 3), np.uint8)
    image[100:200, 300:400] = (0, 200, 0)
    hidden = compose(result_of(image), Effect("blur"))
    assert hidden.hidden
    made, _, _ = make()
    canvas = draw_canvas(View(hidden, made.state), (640, 360))
    np.testing.assert_array_equal(canvas[100:200, 300:400], image[100:200, 300:400])


def test_on_a_carried_picture_a_click_means_what_was_there_on_the_steps_own() -> None:
    """Everything moved 30 px right and 10 down since that step, as --smooth shows it."""
    made, commands, _ = make()
    motion = np.empty((36, 64, 2), np.float32)
    motion[:] = (-3.0, -1.0)  # in its own pixels, a tenth of the source's
    made.set_picture(STEP, np.zeros((360, 640), np.uint8), motion)
    made.press_left(200, 100)
    made.set_picture(STEP + 1, None)  # the stream goes on while the button is down
    made.release_left(200, 100)
    assert taken(commands).points_xy_px.tolist() == [[170, 90]]
    made.set_picture(STEP, None, motion)
    made.press_left(200, 100)
    made.release_left(300, 180)
    box = taken(commands).box_xyxy_px
    assert box is not None
    assert box.tolist() == [170, 90, 270, 170]
    made.press_right(100, 50)
    assert taken(commands).points_xy_px.tolist() == [[70, 40]]
