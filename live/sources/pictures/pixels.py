"""From a picture as Pillow decoded it to (H, W, 3) uint8 BGR, as it is meant to be seen."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeAlias, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps

from samcam.live.frames import U8

Note: TypeAlias = Callable[[str], None]

# What damaged files make Pillow and OpenCV raise.
DAMAGE: Final = (
    *(OSError, SyntaxError, ValueError, TypeError, IndexError, KeyError, EOFError),
    *(AttributeError, OverflowError, RuntimeError, ArithmeticError, struct.error, cv2.error),
)
IN_EIGHT_BITS: Final = "its 16 bits a channel are shown in 8"
_NUMBERS: Final = ("F", "I")
# Modes with transparency: by which way their colours are reached. The palette's need none.
_PLAIN_MODES: Final = {
    "RGBA": ("RGB", "RGB"),
    "LA": ("L", "L"),
    "RGBa": ("RGBA", "RGB"),
    "La": ("LA", "L"),
}
_PROFILE_MODES: Final = {"RGB ": "RGB", "CMYK": "CMYK", "GRAY": "L"}
_NARROW_BITS: Final = (8, 10, 12)  # what cameras store in 16 bits without scaling it


@dataclass(slots=True)
class Depth:
    """How 16 bits become 8 in the pictures of one source: the first that is not black decides.

    Attributes:
        bits: Bits that are in use; None before that one.
    """

    bits: int | None = None

    def reduce(self, samples: NDArray[Any]) -> U8:
        """Return (H, W, ...) uint16 samples in 8 bits.

        Pictures of 8, 10 or 12 bits that were stored unscaled would be black: they are brightened
        to their own full scale. Pictures that use more count as 16 bits.
        """
        used = int(samples.max(initial=0))
        if not used:  # a black one tells nothing about those that follow
            return np.zeros(samples.shape, np.uint8)
        bits = next((bits for bits in _NARROW_BITS if used < 1 << bits), 16)
        self.bits = bits if self.bits is None else max(bits, self.bits)
        return np.asarray(np.minimum(samples >> (self.bits - 8), 255), np.uint8)


def to_bgr(image: Image.Image, depth: Depth, note: Note) -> U8:
    """Return a decoded picture as (H, W, 3) BGR, turned as its EXIF says.

    Args:
        image: Loaded.
        depth: Of the source.
        note: Called for each thing that is left out or was changed.
    """
    image = upright(image, note)
    if "A" in image.getbands() or "a" in image.getbands() or "transparency" in image.info:
        image = _without_alpha(image, note)
    if image.mode.startswith("I;16"):
        return _gray(_reduced(np.asarray(image), depth, note))
    if image.mode in _NUMBERS:
        return _gray(_from_numbers(image, depth, note))
    image = _in_srgb(image, note)
    rgb = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    return cast(U8, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))


def upright(image: Image.Image, note: Note) -> Image.Image:
    """Return a decoded picture turned as its EXIF says; as it is stored where that is damaged."""
    try:
        return ImageOps.exif_transpose(image)
    except DAMAGE:
        note("its EXIF is damaged and left out: it may have to be turned")
        return image


def deep_to_bgr(samples: NDArray[Any], image: Image.Image, depth: Depth, note: Note) -> U8:
    """Return a picture of 16 bits a colour as (H, W, 3) uint8 BGR.

    Args:
        samples: (H, W, 3) or (H, W, 4) uint16, as OpenCV reads them: BGR, a TIFF turned already.
        image: The same picture as Pillow has it, for what its EXIF says.
        depth, note: As for `to_bgr`.
    """
    small = _reduced(np.ascontiguousarray(samples[:, :, :3]), depth, note)
    if image.format == "TIFF":
        return small
    unturned = Image.fromarray(small)
    unturned.info = image.info  # its EXIF among it
    return np.array(upright(unturned, note))


def _reduced(samples: NDArray[Any], depth: Depth, note: Note) -> U8:
    small = depth.reduce(samples)
    if depth.bits == 16:
        note(IN_EIGHT_BITS)
    elif depth.bits is not None:
        note(f"it uses {depth.bits} of its 16 bits a channel: brightened to full scale")
    return small


def _without_alpha(image: Image.Image, note: Note) -> Image.Image:
    """Return a picture's colours; where nothing is transparent, nothing is lost."""
    alpha = image.convert("RGBA").getchannel("A")
    if cast(tuple[int, int], alpha.getextrema())[0] < 255:
        note("its transparency is left out")
    plain = _PLAIN_MODES.get(image.mode)
    return image.convert(plain[0]).convert(plain[1]) if plain else image


def _gray(gray: U8) -> U8:
    return cast(U8, cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR))


def _from_numbers(image: Image.Image, depth: Depth, note: Note) -> U8:
    """Return a picture of 32-bit numbers in 8 bits: 16-bit values as such, else by their range."""
    values = np.asarray(image)
    if image.mode == "I" and values.min() >= 0 and values.max() < 1 << 16:
        return _reduced(values.astype(np.uint16), depth, note)
    finite = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(finite.min()), float(finite.max())
    if low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    note(f"its values {low:g} to {high:g} are shown as black to white")
    scaled = (finite - low) * (255.0 / (high - low)) if high > low else np.zeros_like(finite)
    return np.rint(scaled).astype(np.uint8)


def _in_srgb(image: Image.Image, note: Note) -> Image.Image:
    """Return the picture in sRGB, where it names other colours by a profile."""
    profile = image.info.get("icc_profile")
    if not isinstance(profile, bytes) or not profile:
        return image
    try:
        name, mode, transform = _transform(profile)
        if transform is None or mode != image.mode:
            return image
        turned = ImageCms.applyTransform(image, transform)
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        note(f"its colour profile cannot be used and is left out: {error}")
        return image
    note(f"its colours are turned from {name!r} to sRGB")
    return image if turned is None else turned


@lru_cache(maxsize=4)
def _transform(profile: bytes) -> tuple[str, str, ImageCms.ImageCmsTransform | None]:
    """Return a profile's name, the mode that it is for, and the way to sRGB; None: it is sRGB.

    Raises:
        ImageCms.PyCMSError: It is damaged.
        OSError: Likewise.
    """
    opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    name = ImageCms.getProfileDescription(opened).strip()
    mode = _PROFILE_MODES.get(opened.profile.xcolor_space, "")
    if "srgb" in name.casefold() or not mode:
        return name, mode, None
    transform = ImageCms.buildTransform(opened, ImageCms.createProfile("sRGB"), mode, "RGB")
    return name, mode, transform
