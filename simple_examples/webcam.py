"""Click a thing in the webcam's picture: it turns green for as long as it is tracked. Esc ends.

python simple_examples/webcam.py [CAMERA [X Y]]; with a place to click, without a window

A video in place of a camera is shown as fast as it is tracked, not at its own pace.
"""

import sys
import time

import cv2

from samcam import NoSignal, Prompt, Tracker, open_source

spec, *place = sys.argv[1:] or ["0"]


def _on_mouse(event: int, x: float, y: float, *_: object) -> None:
    if event == cv2.EVENT_LBUTTONDOWN:
        tracker.prompt(Prompt.click(x, y))


try:
    source, tracker = open_source(spec), Tracker.open("nano")
    if place:
        x, y = map(float, place)
        tracker.prompt(Prompt.click(x, y))
except (OSError, ValueError) as error:
    print(f"usage: webcam.py [CAMERA [X Y]]\n{error}", file=sys.stderr)
    sys.exit(2)
if not place:
    cv2.namedWindow("SamCam")
    cv2.setMouseCallback("SamCam", _on_mouse)
while place or cv2.waitKey(1) != 27:
    try:
        if (frame := source.read()) is None:
            break
    except NoSignal as lost:  # a camera that was pulled out may come back
        time.sleep(lost.retry_in_s)
        continue
    picture = frame.image_bgr.copy()
    for found in tracker.step(frame).objects:
        picture[found.mask(), 1] = 255
        print(frame.index, found.state, found.box_xyxy_px)
    if not place:
        cv2.imshow("SamCam", picture)
