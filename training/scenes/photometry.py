"""The camera's faults: colour, blur, noise and compression, steady over a clip."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from training.scenes.render import line_kernel

Image = NDArray[np.uint8]


class Photometry:
    """One clip's random camera; `apply` is called once for every frame in order."""

    def __init__(self, rng: np.random.Generator, size: int) -> None:
        self._rng = rng
        self._grey = rng.random() < 0.05
        contrast = rng.uniform(0.3, 0.6) if rng.random() < 0.1 else rng.uniform(0.8, 1.2)
        self._gain = float(contrast)
        self._offset = (1 - self._gain) * rng.uniform(60, 190) + rng.normal(0, 10)
        self._gamma = float(np.exp(rng.normal(0, 0.2)))
        self._balance = np.exp(rng.normal(0, 0.07, 3))
        self._drift = np.append(rng.normal(0, 0.015, 3), rng.normal(0, 0.02))
        self._flicker = rng.choice([0.0, rng.uniform(0, 0.03)])
        self._defocus = rng.uniform(0.4, 1.6) * size / 256 if rng.random() < 0.25 else 0.0
        self._quality = int(rng.integers(30, 96)) if rng.random() < 0.5 else 0
        self._noise = self._make_noise(size) if rng.random() < 0.45 else None
        self._vignette = self._make_vignette(size) if rng.random() < 0.2 else None

    def _make_noise(self, size: int) -> NDArray[np.float32]:
        """Returns a noise field larger than a picture, so that each frame cuts its own."""
        side = size + 24
        sigma = min(self._rng.exponential(3.5) + 0.5, 14.0)
        luma = self._rng.standard_normal((side, side, 1), dtype=np.float32)
        field = np.repeat(luma, 3, 2)
        if self._rng.random() < 0.5:
            small = self._rng.standard_normal((side // 2, side // 2, 3), dtype=np.float32)
            field = field + cv2.resize(small, (side, side), interpolation=cv2.INTER_LINEAR)
        return (field * np.float32(sigma)).astype(np.float32)

    def _make_vignette(self, size: int) -> NDArray[np.float32]:
        """Returns a (size, size, 3) factor that darkens towards the corners."""
        line = np.linspace(-1, 1, size, dtype=np.float32) ** 2
        fall = 1 - np.float32(self._rng.uniform(0.1, 0.35)) * (line[None, :] + line[:, None])
        return np.repeat(fall[..., None], 3, 2).astype(np.float32)

    def _table(self, index: int) -> Image:
        """Returns the (256, 1, 3) colour table of a frame."""
        values = np.linspace(0, 1, 256)[:, None] ** self._gamma * 255
        balance = self._balance * np.exp(self._drift[:3] * index * 0.5)
        light = np.exp(self._drift[3] * index * 0.5 + self._rng.normal(0, self._flicker))
        out = (values * self._gain + self._offset) * balance * light
        table: Image = np.clip(out, 0, 255).astype(np.uint8)[:, None, :]
        return table

    def apply(self, frame: Image, index: int, shake: tuple[float, float]) -> Image:
        """Returns the (S, S, 3) frame as the camera sees it; `shake` is the whole picture's blur
        vector in pixels."""
        out = frame
        if np.hypot(*shake) > 1.5:
            out = cv2.filter2D(out, -1, line_kernel(shake)).astype(np.uint8, copy=False)
        if self._defocus:
            out = cv2.GaussianBlur(out, (0, 0), self._defocus).astype(np.uint8, copy=False)
        if self._vignette is not None:
            out = cv2.multiply(out, self._vignette, dtype=cv2.CV_8U).astype(np.uint8, copy=False)
        out = cv2.LUT(out, self._table(index)).astype(np.uint8, copy=False)
        if self._grey:
            grey = cv2.cvtColor(out, cv2.COLOR_BGR2GRAY)
            out = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR).astype(np.uint8, copy=False)
        if self._noise is not None:
            size = len(out)
            x, y = self._rng.integers(0, 24, 2)
            cut = self._noise[y : y + size, x : x + size]
            out = cv2.add(out, cut, dtype=cv2.CV_8U).astype(np.uint8, copy=False)
        if self._quality:
            _, packed = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, self._quality])
            out = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)
        return out
