"""The networks as typed calls: what the tracker sees of a model.

`NETWORKS` (from `engines.graph_table`) is the one table of names, element types and shapes.
One object per call (B = 1): adding an object changes no bit of another's answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from samcam.engines.base import (
    Array,
    Backend,
    DeviceTensor,
    EngineError,
    HostStamp,
    RowStack,
    Stamp,
    StampingBackend,
)
from samcam.engines.graph_table import (
    IMAGE_ENCODER,
    MASK_DECODER,
    MASK_PROMPT,
    MEMORY_ATTENTION,
    MEMORY_ENCODER,
    NETWORKS,
)
from samcam.engines.host_rules import F32
from samcam.engines.manifest import Manifest

U8: TypeAlias = NDArray[np.uint8]
I32: TypeAlias = NDArray[np.int32]
Mask: TypeAlias = NDArray[np.bool_]

NO_POINT_LABEL = -1


@dataclass(frozen=True, slots=True, eq=False)
class ImageFeatures:
    """One picture's features where the backend keeps them; they outlive later runs.

    Attributes:
        pix_feat: [1, D, G, G] raw.
        pix_feat_no_mem: [1, D, G, G] with the no-memory embedding: for an object's first prompt.
        high_res_feat0: [1, C0, L, L].
        high_res_feat1: [1, C1, L/2, L/2].
    """

    pix_feat: DeviceTensor
    pix_feat_no_mem: DeviceTensor
    high_res_feat0: DeviceTensor
    high_res_feat1: DeviceTensor


@dataclass(frozen=True, slots=True, eq=False)
class DecoderOutput:
    """The decoder's raw answer for every token, on the host; never written again.

    Attributes:
        low_res_masks: (K, L, L) float32 logits.
        ious: (K,) float32 predicted IoU.
        obj_ptrs: (K, D) float32.
        object_score_logit: Above 0 the object is present.
    """

    low_res_masks: F32
    ious: F32
    obj_ptrs: F32
    object_score_logit: float


class Sam2Networks:
    """The five networks of one model. Used by the inference thread only."""

    def __init__(self, manifest: Manifest, backends: Mapping[str, Backend]) -> None:
        """Take over the backends, one per name of `NETWORKS`: `close` closes them.

        Raises:
            EngineError: A network has no backend.
        """
        absent = [name for name in NETWORKS if name not in backends]
        if absent:
            raise EngineError(f"model {manifest.name}: no backend for {', '.join(absent)}")
        self.manifest = manifest
        self.backends = dict(backends)  # by network
        size, mask_size = manifest.image_size, manifest.mask_size
        self._image: U8 = np.zeros((1, size, size, 3), np.uint8)
        self._no_mask: F32 = np.zeros((1, 1, mask_size, mask_size), np.float32)
        self._no_mask.flags.writeable = False  # so that a device may keep it

    def stamp(self) -> Stamp:
        """Note the moment at which everything asked of the networks so far is done.

        Work on a GPU goes on after a call has returned: its time is that between two stamps.
        """
        backend = self.backends[IMAGE_ENCODER]
        return backend.stamp() if isinstance(backend, StampingBackend) else HostStamp()

    def encode_image(self, image_bgr: U8) -> ImageFeatures:
        """Encode one picture, (H, W, 3) uint8 of any size, stretched to S x S bilinearly."""
        size = self.manifest.image_size
        cv2.resize(image_bgr, (size, size), dst=self._image[0], interpolation=cv2.INTER_LINEAR)
        outputs = self.backends[IMAGE_ENCODER].run({"image": self._image})
        return ImageFeatures(
            outputs["pix_feat"].copy(),
            outputs["pix_feat_no_mem"].copy(),
            outputs["high_res_feat0"].copy(),
            outputs["high_res_feat1"].copy(),
        )

    def attend(
        self,
        features: ImageFeatures,
        maskmem_features: Sequence[DeviceTensor],
        maskmem_tpos: Sequence[int],
        obj_ptrs: Sequence[F32],
        obj_ptr_tpos: Sequence[float],
    ) -> DeviceTensor:
        """Condition a picture's features on one object's memories (memory attention).

        Args:
            maskmem_features: N >= 1 tensors [1, M, G, G].
            maskmem_tpos: N numbers: 0 conditioning, 1..6 steps away.
            obj_ptrs: P >= 1 arrays (D,).
            obj_ptr_tpos: P signed step offsets.

        Returns:
            `pix_feat_with_mem` [1, D, G, G], valid until the next call.

        Raises:
            EngineError: More memories or pointers than a model takes that is not of the dynamic
                form.
            ValueError: Lists of different lengths, or empty ones.
        """
        num_memories, num_pointers = len(maskmem_features), len(obj_ptrs)
        _check_offsets("memories", num_memories, len(maskmem_tpos))
        _check_offsets("pointers", num_pointers, len(obj_ptr_tpos))
        rows_n, rows_p = self._rows(num_memories, num_pointers)
        outputs = self.backends[MEMORY_ATTENTION].run(
            {
                "pix_feat": features.pix_feat,
                "maskmem_features": RowStack(maskmem_features, rows_n),
                "maskmem_tpos": _padded(maskmem_tpos, rows_n, np.int32),
                "maskmem_valid": np.arange(rows_n)[None] < num_memories,
                "obj_ptrs": RowStack([pointer[None] for pointer in obj_ptrs], rows_p),
                "obj_ptr_tpos": _padded(obj_ptr_tpos, rows_p, np.float32),
                "obj_ptr_valid": np.arange(rows_p)[None] < num_pointers,
            }
        )
        return outputs["pix_feat_with_mem"]

    def decode(
        self,
        pix_feat_with_mem: DeviceTensor,
        features: ImageFeatures,
        points_xy: F32,
        labels: I32,
        mask_input: F32 | None = None,
    ) -> DecoderOutput:
        """Decode one object.

        Args:
            pix_feat_with_mem: [1, D, G, G] from `attend`, or `features.pix_feat_no_mem` for an
                object's first prompt, or `features.pix_feat` for a mask prompt.
            points_xy: (T, 2) in pixels of the S x S picture; T = 0 while tracking.
            labels: (T,) 1 positive, 0 negative, 2 and 3 the corners of a box.
            mask_input: (L, L) logits, already clamped; None for none.
        """
        points = np.asarray(points_xy, np.float32).reshape(1, -1, 2)
        kinds = np.asarray(labels, np.int32).reshape(1, -1)
        if not kinds.size:
            # Meta feeds one empty point where there is none, besides the pad point that the
            # network adds: sam2_base.py:315-318 @2b90b9f.
            points = np.zeros((1, 1, 2), np.float32)
            kinds = np.full((1, 1), NO_POINT_LABEL, np.int32)
        outputs = self.backends[MASK_DECODER].run(
            {
                "pix_feat_with_mem": pix_feat_with_mem,
                "high_res_feat0": features.high_res_feat0,
                "high_res_feat1": features.high_res_feat1,
                "point_coords": points,
                "point_labels": kinds,
                "mask_input": self._no_mask if mask_input is None else mask_input[None, None],
                "has_mask_input": np.array([mask_input is not None]),
            }
        )
        return DecoderOutput(
            _kept(outputs["low_res_masks"])[0],
            _kept(outputs["ious"])[0],
            _kept(outputs["obj_ptrs"])[0],
            float(outputs["object_score_logits"].numpy()[0, 0]),
        )

    def encode_memory(
        self,
        features: ImageFeatures,
        low_res_mask: F32,
        is_prompted: bool,
        object_score_logit: float,
    ) -> DeviceTensor:
        """Make a memory of one object on one picture.

        Args:
            low_res_mask: (L, L) logits of the chosen token after the presence rule.
            is_prompted: Whether the mask answers a prompt; it is binarised then.

        Returns:
            `maskmem_features` [1, M, G, G]; it outlives later runs.
        """
        outputs = self.backends[MEMORY_ENCODER].run(
            {
                "pix_feat": features.pix_feat,
                "low_res_mask": low_res_mask[None, None],
                "is_prompted": np.array([is_prompted]),
                "object_score_logits": np.array([[object_score_logit]], np.float32),
            }
        )
        return outputs["maskmem_features"].copy()

    def encode_mask_prompt(self, mask: Mask) -> tuple[F32, F32]:
        """Turn a mask of the whole picture, (H, W) bool of any size, into the decoder's input and
        the answer.

        Returns:
            `mask_input` and `low_res_mask`, each (L, L) float32; they outlive later runs.
        """
        square = stretch_mask(mask, self.manifest.image_size)
        outputs = self.backends[MASK_PROMPT].run({"mask": square.astype(np.uint8)[None, None]})
        return (
            _kept(outputs["mask_input"])[0, 0],
            _kept(outputs["low_res_mask"])[0, 0],
        )

    def close(self) -> None:
        """Close every backend, also after one that fails to. Idempotent."""
        close_all(self.backends.values())

    def __enter__(self) -> Sam2Networks:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _rows(self, memories: int, pointers: int) -> tuple[int, int]:
        """Return how many rows of memories and of pointers the network gets."""
        manifest = self.manifest
        if manifest.form == "dynamic":
            return memories, pointers
        for rows in manifest.row_steps:
            if memories <= rows[0] and pointers <= rows[1]:
                return rows
        most, what, given = (
            (manifest.max_memories, "memories", memories)
            if memories > manifest.max_memories
            else (manifest.max_pointers, "pointers", pointers)
        )
        raise EngineError(
            f"model {manifest.name}: memory_attention takes at most {most} {what}, got {given}: "
            f"lower tracker.bank.max_cond (at most {manifest.max_cond})"
        )


def _check_offsets(what: str, given: int, offsets: int) -> None:
    if given < 1 or given != offsets:
        raise ValueError(
            f"{what}: expected one offset each and at least 1, got {given} {what}"
            f" and {offsets} offsets"
        )


def close_all(backends: Iterable[Backend]) -> None:
    """Close every backend, also after one that fails to; the errors are raised at the end."""
    with ExitStack() as closing:
        for backend in reversed(list(backends)):
            closing.callback(backend.close)


def stretch_mask(mask: Mask, size: int) -> Mask:
    """Stretch a mask to (size, size), antialiased where it shrinks, and cut at one half.

    Source: `add_new_mask`, sam2_video_predictor.py:319-330 @2b90b9f (bilinear, antialias=True,
    >= 0.5).
    """
    height, width = mask.shape
    if (height, width) == (size, size):
        return mask
    rows, columns = _triangle_weights(height, size), _triangle_weights(width, size)
    # 0.5 less rounding noise: ties (the middle of an edge) count as inside, as upstream.
    return (rows @ mask.astype(np.float32) @ columns.T) >= 0.5 - 1e-6


def _triangle_weights(length: int, size: int) -> F32:
    """Return the (size, length) matrix of antialiased bilinear resampling along one axis."""
    scale = length / size
    reach = max(scale, 1.0)
    centres = (np.arange(size) + 0.5) * scale
    distance = np.abs(np.arange(length)[None] + 0.5 - centres[:, None]) / reach
    weights = np.clip(1.0 - distance, 0.0, None)
    normalised: F32 = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return normalised


def _kept(output: DeviceTensor) -> Array:
    """Return an output's values on the host, in an array that no later run writes into."""
    values = output.numpy()
    return values.copy() if values.flags.writeable else values


def _padded(values: Sequence[float], total: int, dtype: type[np.int32 | np.float32]) -> Array:
    """Return (1, total) with `values` first and zeros after them."""
    row = np.zeros((1, total), dtype)
    row[0, : len(values)] = values
    return row
