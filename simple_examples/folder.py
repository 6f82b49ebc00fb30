"""One object through a folder of frames, its masks as black and white PNG, numbered as they come.

python simple_examples/folder.py FRAMES MASKS X1 Y1 X2 Y2
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from samcam import Prompt, Tracker, open_source

parser = argparse.ArgumentParser(description="One object through a folder of frames.")
parser.add_argument("frames", type=Path)
parser.add_argument("masks", type=Path)
for corner in ("x1", "y1", "x2", "y2"):
    parser.add_argument(corner, type=float)
given = parser.parse_args()
try:  # in the order of their numbers: 9.png comes before 10.png
    source = open_source(given.frames)
    prompt = Prompt.box(given.x1, given.y1, given.x2, given.y2).fitted(source.info.size_wh)
    given.masks.mkdir(parents=True, exist_ok=True)
except (OSError, ValueError) as error:
    parser.error(str(error))
with Tracker.open("nano") as tracker:
    tracker.prompt(prompt)
    while (frame := source.read()) is not None:
        (found,) = tracker.step(frame).objects
        path = given.masks / f"{frame.index:05d}.png"
        try:
            Image.fromarray(found.mask().astype(np.uint8) * 255).save(path)
        except OSError as error:
            sys.exit(f"{path}: cannot be written: {error}")
        print(path.name, found.state, found.reason)
source.close()
