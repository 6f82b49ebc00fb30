"""Cameras for a machine without any: stands in for cv2.VideoCapture and for sysfs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cv2

from tests.helpers.synthetic_video import numbered_picture


class FakeDevice:
    """One opened device; gives numbered pictures while it is plugged in."""

    def __init__(self, devices: FakeDevices, index: int) -> None:
        self._devices = devices
        self._index = index
        self._next = 0
        self.released = False
        self.settings: dict[int, float] = {
            cv2.CAP_PROP_FRAME_WIDTH: 96.0,
            cv2.CAP_PROP_FRAME_HEIGHT: 64.0,
            cv2.CAP_PROP_FPS: 25.0,
        }
        self.set_order: list[int] = []

    def isOpened(self) -> bool:
        """Whether it was there when it was opened."""
        return self._index in self._devices.plugged

    def set(self, propId: int, value: float) -> bool:
        """Take a setting, except for those that the test refuses."""
        self.set_order.append(propId)
        if propId not in self._devices.refused_settings:
            self.settings[propId] = value
        return True

    def get(self, propId: int) -> float:
        """Return a setting."""
        return self.settings.get(propId, 0.0)

    def grab(self) -> bool:
        """Fail when unplugged, or as often as the test says."""
        assert not self.released, "read after release"
        if self._devices.failing_grabs:
            self._devices.failing_grabs -= 1
            return False
        return self._index in self._devices.plugged

    def retrieve(self) -> tuple[bool, Any]:
        """Return the next numbered picture."""
        image = numbered_picture(self._next % 256, self._devices.size_wh)
        self._next += 1
        return True, image

    def release(self) -> None:
        """Note that it was released."""
        self.released = True


class FakeDevices:
    """What is plugged in, with the folder that stands in for /sys/class/video4linux."""

    def __init__(self, sysfs: Path) -> None:
        self.plugged: dict[int, str] = {}
        self.opened: list[FakeDevice] = []
        self.failing_grabs = 0
        self.refused_settings: set[int] = set()
        self.size_wh = (96, 64)
        self._sysfs = sysfs

    def plug(self, index: int, name: str) -> None:
        """Plug a camera in; like a USB camera it brings a metadata node."""
        self.plugged[index] = name
        for offset in (0, 1):
            folder = self._sysfs / f"video{index + offset}"
            folder.mkdir()
            (folder / "name").write_text(f"{name}\n")
            (folder / "index").write_text(f"{offset}\n")

    def unplug(self, index: int) -> None:
        """Pull it out."""
        del self.plugged[index]
        for offset in (0, 1):
            shutil.rmtree(self._sysfs / f"video{index + offset}")

    def open(self, index: int) -> FakeDevice:
        """Stand in for cv2.VideoCapture(index)."""
        device = FakeDevice(self, index)
        self.opened.append(device)
        return device
