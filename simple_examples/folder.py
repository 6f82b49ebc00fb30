"""One object through a folder of frames, its masks as black and white PNG.

python simple_examples/folder.py FRAMES MASKS X1 Y1 X2 Y2
"""

import sys
from pathlib import Path

import cv2
import numpy as np

from samcam import Prompt, Tracker

FPS = 30.0

frames, masks = Path(sys.argv[1]), Path(sys.argv[2])
x1, y1, x2, y2 = map(float, sys.argv[3:])
masks.mkdir(parents=True, exist_ok=True)
with Tracker.open("nano") as tracker:
    tracker.prompt(Prompt.box(x1, y1, x2, y2))
    for index, path in enumerate(sorted(frames.glob("*.[jp][pn]g"))):
        image = cv2.imread(str(path))
        if image is None:
            sys.exit(f"{path}: cannot be read; expected a picture")
        (found,) = tracker.step(image, index / FPS).objects
        cv2.imwrite(str(masks / f"{path.stem}.png"), found.mask().astype(np.uint8) * 255)
        print(path.name, found.state, found.reason)
