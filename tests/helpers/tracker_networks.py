"""Networks for tests of the tracker: scripted, recorded, or sensitive to every input."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from samcam.engines.base import Array, Backend, DeviceTensor
from samcam.engines.fake_backend import FakeBackend, fake_manifest
from samcam.engines.graph_table import (
    IMAGE_ENCODER,
    MASK_DECODER,
    MASK_PROMPT,
    MEMORY_ATTENTION,
    MEMORY_ENCODER,
)
from samcam.engines.manifest import Manifest
from samcam.engines.sam2_graphs import DecoderOutput, ImageFeatures, Sam2Networks
from samcam.live.frames import F32, I32, NS_PER_S, U8, Frame, Mask, Prompt

SIZE = (640, 480)


def frame(index: int, image: U8 | None = None, fps: float = 30.0) -> Frame:
    """Return frame `index` of a stream; black without an image."""
    picture = np.zeros((SIZE[1], SIZE[0], 3), np.uint8) if image is None else image
    return Frame(index, round(index * NS_PER_S / fps), 0, picture)


def click(x: float, y: float, label: int = 1, object_id: int = 1, at: int | None = None) -> Prompt:
    """Return a click in source pixels."""
    return Prompt(object_id, at, np.array([[x, y]], np.float32), np.array([label], np.int32))


def box_prompt(x1: float, y1: float, x2: float, y2: float, object_id: int = 1) -> Prompt:
    """Return a box in source pixels."""
    return Prompt(object_id, box_xyxy_px=np.array((x1, y1, x2, y2), np.float32))


def square_logits(size: int, x: int, y: int, edge: int, value: float = 6.0) -> F32:
    """Return (size, size) logits with a square object at column x, row y; none if edge is 0."""
    logits = np.full((size, size), -value, np.float32)
    logits[y : y + edge, x : x + edge] = value
    return logits


@dataclass
class Script:
    """Answers of a decoder, set by the test between steps.

    Attributes:
        masks: K squares as (x, y, edge) in low-resolution pixels.
        ious: K predicted IoUs.
        score: Object score logit.
    """

    masks: Sequence[tuple[int, int, int]] = ((20, 20, 10),) * 4
    ious: Sequence[float] = (0.1, 0.9, 0.2, 0.3)
    score: float = 5.0
    size: int = 64
    width: int = 16

    def decode(self, feeds: Mapping[str, Array]) -> DecoderOutput:
        """Answer whatever was asked; pointer k is filled with k."""
        return DecoderOutput(
            np.stack([square_logits(self.size, *mask) for mask in self.masks]),
            np.array(self.ious, np.float32),
            np.repeat(np.arange(4, dtype=np.float32)[:, None], self.width, axis=1),
            self.score,
        )


@dataclass(frozen=True)
class Attended:
    """One call of `attend`."""

    memories: tuple[F32, ...]
    tpos: tuple[int, ...]
    obj_ptrs: tuple[F32, ...]
    ptr_tpos: tuple[float, ...]


@dataclass(frozen=True)
class Decoded:
    """One call of `decode`."""

    pix_feat: DeviceTensor
    features: ImageFeatures
    points_xy: F32
    labels: I32
    mask_input: F32 | None


@dataclass(frozen=True)
class Remembered:
    """One call of `encode_memory`."""

    features: ImageFeatures
    low_res_mask: F32
    is_prompted: bool
    score: float


@dataclass
class Calls:
    """What was asked of the networks since the last `clear`."""

    images: list[U8] = field(default_factory=list)
    attended: list[Attended] = field(default_factory=list)
    decoded: list[Decoded] = field(default_factory=list)
    remembered: list[Remembered] = field(default_factory=list)
    masks: list[Mask] = field(default_factory=list)

    def clear(self) -> None:
        """Forget everything."""
        for calls in (self.images, self.attended, self.decoded, self.remembered, self.masks):
            calls.clear()


class RecordingNetworks(Sam2Networks):
    """Networks that note what they are asked."""

    def __init__(self, inner: Sam2Networks) -> None:
        super().__init__(inner.manifest, inner.backends)
        self.calls = Calls()

    def encode_image(self, image_bgr: U8) -> ImageFeatures:
        self.calls.images.append(image_bgr)
        return super().encode_image(image_bgr)

    def attend(
        self,
        features: ImageFeatures,
        maskmem_features: Sequence[DeviceTensor],
        maskmem_tpos: Sequence[int],
        obj_ptrs: Sequence[F32],
        obj_ptr_tpos: Sequence[float],
    ) -> DeviceTensor:
        memories = tuple(np.array(memory.numpy(), np.float32) for memory in maskmem_features)
        pointers = tuple(pointer.copy() for pointer in obj_ptrs)
        self.calls.attended.append(
            Attended(memories, tuple(maskmem_tpos), pointers, tuple(obj_ptr_tpos))
        )
        return super().attend(features, maskmem_features, maskmem_tpos, obj_ptrs, obj_ptr_tpos)

    def decode(
        self,
        pix_feat_with_mem: DeviceTensor,
        features: ImageFeatures,
        points_xy: F32,
        labels: I32,
        mask_input: F32 | None = None,
    ) -> DecoderOutput:
        given = None if mask_input is None else mask_input.copy()
        self.calls.decoded.append(
            Decoded(pix_feat_with_mem, features, points_xy.copy(), labels.copy(), given)
        )
        return super().decode(pix_feat_with_mem, features, points_xy, labels, mask_input)

    def encode_memory(
        self,
        features: ImageFeatures,
        low_res_mask: F32,
        is_prompted: bool,
        object_score_logit: float,
    ) -> DeviceTensor:
        self.calls.remembered.append(
            Remembered(features, low_res_mask.copy(), is_prompted, object_score_logit)
        )
        return super().encode_memory(features, low_res_mask, is_prompted, object_score_logit)

    def encode_mask_prompt(self, mask: Mask) -> tuple[F32, F32]:
        self.calls.masks.append(mask)
        return super().encode_mask_prompt(mask)


class World(Protocol):
    """Five functions that stand for networks."""

    def encode_image(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]: ...
    def attend(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]: ...
    def decode(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]: ...
    def encode_memory(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]: ...
    def encode_mask_prompt(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]: ...


def networks_of(world: World, sizes: Manifest) -> Sam2Networks:
    """Return networks that answer as a world does."""
    functions: Mapping[str, Callable[[Mapping[str, Array]], Mapping[str, Array]]] = {
        IMAGE_ENCODER: world.encode_image,
        MEMORY_ATTENTION: world.attend,
        MASK_DECODER: world.decode,
        MEMORY_ENCODER: world.encode_memory,
        MASK_PROMPT: world.encode_mask_prompt,
    }
    specs = sizes.specs()
    backends: dict[str, Backend] = {
        name: FakeBackend(name, function, specs[name]) for name, function in functions.items()
    }
    return Sam2Networks(sizes, backends)


def sensitive_networks(manifest: Manifest | None = None) -> Sam2Networks:
    """Return networks whose every output depends on every input, deterministically."""
    sizes = manifest or fake_manifest()
    return networks_of(_SensitiveWorld(sizes), sizes)


class _SensitiveWorld:
    """Fixed random linear maps with a sine on top: small, and no input goes unnoticed."""

    def __init__(self, manifest: Manifest) -> None:
        self._m = manifest
        rng = np.random.default_rng(2)

        def matrix(rows: int, columns: int) -> F32:
            values = rng.normal(size=(rows, columns)) / np.sqrt(columns)
            return np.asarray(values, np.float32)

        width, memory, tokens = manifest.width, manifest.memory_channels, manifest.candidates
        self._colours = matrix(width, 3)
        self._recall = matrix(width, memory)
        self._keep = matrix(memory, width)
        self._draw = matrix(tokens, width)
        self._rate = matrix(tokens, width)
        self._point = matrix(tokens * width, width)

    def encode_image(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        grid, cell = self._m.grid, self._m.image_size // self._m.grid
        picture = feeds["image"][0].reshape(grid, cell, grid, cell, 3).mean(axis=(1, 3)) / 64
        features = np.einsum("dc,ijc->dij", self._colours, picture)[None].astype(np.float32)
        return {"pix_feat": features, "pix_feat_no_mem": features + np.float32(0.25)}

    def attend(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        keep = feeds["maskmem_valid"][0]
        weights = np.cos(feeds["maskmem_tpos"][0][keep] + 1).astype(np.float32)
        memory = np.einsum("n,nmij->mij", weights, feeds["maskmem_features"][0][keep])
        past = np.einsum("dm,mij->dij", self._recall, memory)
        hold = feeds["obj_ptr_valid"][0]
        ages = np.cos(feeds["obj_ptr_tpos"][0][hold] / 15).astype(np.float32)
        pointer = (ages @ feeds["obj_ptrs"][0][hold])[:, None, None]
        return {"pix_feat_with_mem": np.sin(feeds["pix_feat"] + past[None] + pointer[None])}

    def decode(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        features = feeds["pix_feat_with_mem"][0]
        for point, label in zip(feeds["point_coords"][0], feeds["point_labels"][0], strict=True):
            features = features + np.float32(np.sin(point @ (0.1, 0.07)) * (label + 2))
        repeat = self._m.mask_size // self._m.grid
        if feeds["has_mask_input"][0]:
            features = features + feeds["mask_input"][0, 0, ::repeat, ::repeat][None] / 16
        low = np.einsum("kd,dij->kij", self._draw, np.sin(features)) * 8
        mean = np.tanh(features.mean(axis=(1, 2)))
        pointers = np.sin(self._point @ mean).reshape(1, self._m.candidates, -1)
        return {
            "low_res_masks": low.repeat(repeat, 1).repeat(repeat, 2)[None].astype(np.float32),
            "ious": (1 / (1 + np.exp(-self._rate @ mean)))[None].astype(np.float32),
            "obj_ptrs": pointers.astype(np.float32),
            "object_score_logits": np.array([[mean.sum() + 1]], np.float32),
        }

    def encode_memory(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        repeat = self._m.mask_size // self._m.grid
        mask = feeds["low_res_mask"][0, 0, ::repeat, ::repeat]
        shown = (mask > 0) * 20.0 - 10 if feeds["is_prompted"][0] else np.tanh(mask / 4)
        kept = np.einsum("md,dij->mij", self._keep, feeds["pix_feat"][0]) + shown[None]
        kept += np.tanh(feeds["object_score_logits"][0, 0])
        return {"maskmem_features": np.sin(kept)[None].astype(np.float32)}

    def encode_mask_prompt(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        step = self._m.image_size // self._m.mask_size
        low = feeds["mask"][:, :, ::step, ::step].astype(np.float32) * 20 - 10
        return {"mask_input": low / 3, "low_res_mask": low}
