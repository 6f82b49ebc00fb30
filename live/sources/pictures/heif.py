"""HEIC and HEIF pictures, by the optional package pi-heif (LGPL-3.0, decoding only)."""

from __future__ import annotations

from typing import IO

from PIL import Image

from samcam.system import install


class HeifMissingError(Exception):
    """pi-heif is not installed; the message says what to do."""


def open_heif(file: IO[bytes]) -> Image.Image:
    """Open a HEIF picture whose size is known and nothing of which is decoded yet.

    libheif joins the tiles, crops, turns and mirrors as the file says.

    Raises:
        HeifMissingError: The package is not there.
        SyntaxError: The file is damaged, as Pillow's own formats report it.
    """
    try:
        from pi_heif import as_plugin
    except ImportError as error:
        raise HeifMissingError(
            f"HEIC and HEIF pictures need the package pi-heif; install it with {install('heif')}, "
            "or convert the picture to JPEG"
        ) from error
    image: Image.Image = as_plugin.HeifImageFile(file)
    return image
