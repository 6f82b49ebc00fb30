"""SamCam's program from a checkout: `samcam.__main__.main`, which is the command `samcam` too."""

import sys

from samcam.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
