"""SAM 2.1 through our networks, on whatever runs them: a tracked frame of a long run, timed."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from samcam.engines import (
    F32,
    IMAGE_ENCODER,
    MASK_DECODER,
    MEMORY_ATTENTION,
    MEMORY_ENCODER,
    U8,
    DeviceTensor,
    EngineOptions,
    ImageFeatures,
    Sam2Networks,
    Stamp,
    TorchOptions,
    choose_token,
    networks_of,
)
from samcam.engines.checks import read_pictures

if TYPE_CHECKING:
    from transformers import Sam2VideoModel

_NO_POINTS: Final = np.zeros((0, 2), np.float32), np.zeros(0, np.int32)
_PRESENT: Final = 10.0  # object score of what is remembered


@dataclass(slots=True)
class _Bank:
    """What one object is remembered by: its prompt, and what came last."""

    prompt: tuple[DeviceTensor, F32]
    memories: deque[DeviceTensor]
    pointers: deque[F32]


class Ours:
    """Our networks at work. A full memory: one prompted frame, the newest ones, their pointers."""

    def __init__(self, networks: Sam2Networks, picture: U8) -> None:
        """Take over the networks; `picture` is (S, S, 3) uint8 BGR."""
        self.networks = networks
        self._picture = picture
        self._banks: list[_Bank] = []

    def start(self, objects: int) -> None:
        """Prompt so many objects and fill their memories."""
        networks, manifest = self.networks, self.networks.manifest
        features = networks.encode_image(self._picture)
        output = networks.decode(features.pix_feat_no_mem, features, *_NO_POINTS)
        memory = networks.encode_memory(features, output.low_res_masks[0], True, _PRESENT)
        pointer = output.obj_ptrs[0]
        recent, pointers = manifest.num_recent, manifest.max_recent_ptrs
        self._banks = [
            _Bank(
                (memory, pointer),
                deque([memory] * recent, recent),
                deque([pointer] * pointers, pointers),
            )
            for _ in range(objects)
        ]

    def frame(self) -> None:
        """Track one frame; returns when its masks are on the host and the device is idle."""
        networks = self.networks
        begun = networks.stamp()
        features = networks.encode_image(self._picture)
        for bank in self._banks:
            attended = self._attend(features, bank)
            output = networks.decode(attended, features, *_NO_POINTS)
            choice = choose_token(
                output.low_res_masks, output.ious, True, networks.manifest.token_rule
            )
            logits = output.low_res_masks[choice.mask_token]
            bank.memories.append(networks.encode_memory(features, logits, False, _PRESENT))
            bank.pointers.append(output.obj_ptrs[choice.pointer_token])
        self._passed_ms(begun)

    def parts(self, calls: int) -> Mapping[str, list[float]]:
        """Return the milliseconds of some calls of each network, one object."""
        networks = self.networks
        features = networks.encode_image(self._picture)
        attended = self._attend(features, self._banks[0]).copy()
        logits = networks.decode(attended, features, *_NO_POINTS).low_res_masks[0]
        runs: dict[str, Callable[[], object]] = {
            IMAGE_ENCODER: lambda: networks.encode_image(self._picture),
            MEMORY_ATTENTION: lambda: self._attend(features, self._banks[0]),
            MASK_DECODER: lambda: networks.decode(attended, features, *_NO_POINTS),
            MEMORY_ENCODER: lambda: networks.encode_memory(features, logits, False, _PRESENT),
        }
        return {name: [self._time(run) for _ in range(calls)] for name, run in runs.items()}

    def attend_to(self, memories: int, pointers: int) -> None:
        """Attend to so many memories and pointers of the first object."""
        memory, pointer = self._banks[0].prompt
        features = self.networks.encode_image(self._picture)
        offsets = [min(i, self.networks.manifest.num_recent) for i in range(memories)]
        steps = [float(i) for i in range(pointers)]
        self.networks.attend(features, [memory] * memories, offsets, [pointer] * pointers, steps)

    def _attend(self, features: ImageFeatures, bank: _Bank) -> DeviceTensor:
        memory, pointer = bank.prompt
        return self.networks.attend(
            features,
            [memory, *bank.memories],
            [0, *range(1, 1 + len(bank.memories))],
            [pointer, *bank.pointers],
            [float(i) for i in range(1 + len(bank.pointers))],
        )

    def _time(self, run: Callable[[], object]) -> float:
        begun = self.networks.stamp()
        run()
        return self._passed_ms(begun)

    def _passed_ms(self, begun: Stamp) -> float:
        """Wait until the device has done what it was asked for; return how long that took."""
        ended = self.networks.stamp()
        while (passed_ms := ended.ms_since(begun)) is None:
            time.sleep(0)
        return passed_ms


def on_torch(
    model: Sam2VideoModel, size: int, device: str, precision: str, compiled: bool
) -> Sam2Networks:
    """Return the model's networks on the torch backend; the model's weights move to its device.

    Raises:
        EngineError: torch or the device is missing.
    """
    from samcam.export import build_modules, sam2_manifest

    manifest = sam2_manifest(model, "tiny", size, "none", "dynamic")
    if compiled:
        manifest = manifest.padded()
    modules = build_modules(model, size, raw_values=False)  # as `torch_models.load_modules`
    options = EngineOptions(torch=TorchOptions(device, precision, compiled))
    return networks_of(modules, manifest, options)


def square_picture(size: int) -> U8:
    """Return a painted picture that needs no stretching, (size, size, 3) uint8 BGR."""
    picture = cv2.resize(read_pictures()[0], (size, size), interpolation=cv2.INTER_AREA)
    return picture.astype(np.uint8, copy=False)
