"""Tensors on a GPU: outputs, copies of them, and the fixed places of a network's inputs."""

from __future__ import annotations

from typing import Any

import numpy as np

from samcam.engines.base import Array, DeviceTensor, Feed, RowStack
from samcam.engines.host_tensors import host_values
from samcam.engines.tensorrt.cuda_memory import CudaDevice, DeviceBlock, PinnedBlock
from samcam.engines.tensorrt.cuda_runtime import CudaEvent


class CudaTensor:
    """A `DeviceTensor` in the memory of a GPU."""

    __slots__ = ("_block", "_device", "_mirror", "dtype", "shape")

    def __init__(
        self,
        device: CudaDevice,
        block: DeviceBlock,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        mirror: HostMirror | None = None,
    ) -> None:
        """Wrap a block, which holds the values without gaps; `mirror`: where every run puts them on
        the host."""
        self._device = device
        self._block = block
        self.shape = shape
        self.dtype = dtype
        self._mirror = mirror

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape)) * self.dtype.itemsize

    def address_on(self, device: CudaDevice) -> int | None:
        """Return the address of the values if they are on this device, else None."""
        return self._block.address if device is self._device else None

    def numpy(self) -> Array:
        """Wait for the values and return them on the host."""
        with self._device.use():
            if self._mirror is not None:
                return self._mirror.values()
            data = self._device.read(self._block.address, self.nbytes)
        values = data.view(self.dtype).reshape(self.shape)
        values.flags.writeable = False
        return values

    def copy(self) -> CudaTensor:
        """Return a copy that outlives the network's next run; the host does not wait for it."""
        with self._device.use():
            block = self._device.allocate(self.nbytes)
            self._device.copy(block.address, self._block.address, self.nbytes)
        return CudaTensor(self._device, block, self.shape, self.dtype)


class HostMirror:
    """The place on the host where the values of one device block arrive."""

    def __init__(
        self,
        device: CudaDevice,
        block: DeviceBlock,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        arrived: CudaEvent,
    ) -> None:
        """Reserve the place; the device must be in use. `arrived` is recorded after each `fetch`;
        mirrors of one run share it."""
        self._device = device
        self._source = block
        self._size = int(np.prod(shape)) * dtype.itemsize
        self._place = device.allocate_pinned(self._size)
        self._values = self._place.view(shape, dtype)
        self._arrived = arrived

    def fetch(self) -> None:
        """Queue the copy of the values; can be captured."""
        self._device.fetch(self._place.address, self._source.address, self._size)

    def values(self) -> Array:
        """Wait for the values; the array is valid until the next `fetch`."""
        self._arrived.wait()
        return self._values


class FixedInput:
    """The place on the device where a network reads one input, and how feeds get there.

    Feeds lie at changing addresses; a captured graph reads a fixed one. What is on the device is
    copied there, what is on the host goes through pinned memory.
    """

    def __init__(self, device: CudaDevice, size: int, dtype: np.dtype[Any]) -> None:
        """Reserve `size` bytes, those of the largest feed; the device must be in use."""
        self._device = device
        self._dtype = dtype
        self._size = size
        self._place = device.allocate(size)
        self._staging: PinnedBlock | None = None
        self._constant: Feed | None = None  # what is in place, where that can be told
        self._sent = 0  # mark on the device's timeline

    @property
    def address(self) -> int:
        return self._place.address

    def fill(self, feed: Feed) -> None:
        """Queue the feed's copy into place.

        It is of this input's element type, already checked, and may be changed afterwards. A
        read-only array that is in place already is not sent again.
        """
        if feed is self._constant:
            return
        self._constant = None  # a copy that fails may leave anything there
        if isinstance(feed, RowStack):
            self._fill_rows(feed)
            return
        source = self._on_device(feed)
        if source is not None:
            self._device.copy(self.address, source, _nbytes(feed))
        else:
            self._stage([feed], _nbytes(feed), [0])
        self._constant = feed if _never_changes(feed) else None

    def _fill_rows(self, stack: RowStack) -> None:
        size = _nbytes(stack.rows[0])
        on_host = []
        for i, row in enumerate(stack.rows):
            source = self._on_device(row)
            if source is None:
                on_host.append(i)
            else:
                self._device.copy(self.address + i * size, source, size)
        if on_host:
            self._stage([stack.rows[i] for i in on_host], size, on_host)
        used = len(stack.rows)
        if used < stack.total:
            self._device.clear(self.address + used * size, (stack.total - used) * size)

    def _stage(self, feeds: list[DeviceTensor | Array], size: int, places: list[int]) -> None:
        """Send host values, all of `size` bytes; feed i goes to byte `places[i] * size`
        (ascending), neighbours in one go."""
        if self._staging is None:
            self._staging = self._device.allocate_pinned(self._size)
        timeline = self._device.timeline
        if self._sent > timeline.done:  # the last feed may still be on its way out
            self._device.wait()
        for feed, place in zip(feeds, places, strict=True):
            values = host_values(feed)
            np.copyto(self._staging.view(values.shape, self._dtype, place * size), values)
        start = 0
        for i in range(1, len(places) + 1):
            if i == len(places) or places[i] != places[i - 1] + 1:
                offset = places[start] * size
                length = (i - start) * size
                self._device.send(self.address + offset, self._staging.address + offset, length)
                start = i
        self._sent = timeline.mark()

    def _on_device(self, feed: DeviceTensor | Array) -> int | None:
        """Return the feed's address if it is on this device, else None."""
        return feed.address_on(self._device) if isinstance(feed, CudaTensor) else None


def _nbytes(feed: DeviceTensor | Array) -> int:
    return int(np.prod(feed.shape)) * feed.dtype.itemsize


def _never_changes(feed: Feed) -> bool:
    """Say whether nobody can write into an array: it is read-only and not a view."""
    return isinstance(feed, np.ndarray) and not feed.flags.writeable and feed.flags.owndata
