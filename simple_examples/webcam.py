"""Click a thing in the webcam's picture: it turns green for as long as it is tracked. Esc ends.

python simple_examples/webcam.py [SOURCE [X Y]]; with a place to click, without a window
"""

import sys
import time

import cv2

from samcam import NoSignal, Prompt, Tracker, open_source

spec, *place = sys.argv[1:] or ["0"]
source, tracker = open_source(spec), Tracker.open("nano")


def on_mouse(event: int, x: float, y: float, *_: object) -> None:
    """Point at what is under the mouse."""
    if event == cv2.EVENT_LBUTTONDOWN:
        tracker.prompt(Prompt.click(x, y))


if place:
    tracker.prompt(Prompt.click(float(place[0]), float(place[1])))
else:
    cv2.namedWindow("SamCam")
    cv2.setMouseCallback("SamCam", on_mouse)
while place or cv2.waitKey(1) != 27:
    try:
        frame = source.read()
    except NoSignal as lost:  # a camera that was pulled out may come back
        time.sleep(lost.retry_in_s)
        continue
    if frame is None:
        break
    picture = frame.image_bgr.copy()
    for found in tracker.step(frame).objects:
        picture[found.mask(), 1] = 255
        print(frame.index, found.state, found.box_xyxy_px)
    if not place:
        cv2.imshow("SamCam", picture)
source.close()
tracker.close()
