"""Networks that follow an object by its colour: their answers depend on the picture they see.

A click takes up the colour under it, a memory keeps the colour under its mask, as coarse as the
features are: an object that fills no cell of the grid gets mixed with what is around it. So a
mask, a memory or a click that is a few pixels off is a wrong answer.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from samcam.engines.base import Array
from samcam.engines.fake_backend import fake_manifest
from samcam.engines.manifest import Manifest
from samcam.engines.sam2_graphs import DecoderOutput
from samcam.live.frames import F32
from tests.helpers.tracker_networks import RecordingNetworks, networks_of

REACH = 0.12  # largest difference of a channel, 0..1, that still counts as the same colour
STEEPNESS = 60.0  # logits per difference
COLOUR, KNOWN = slice(4, 7), 3  # channels of the features with memory


def colour_networks() -> RecordingNetworks:
    """Return the networks, with every call noted."""
    sizes = fake_manifest()
    return RecordingNetworks(networks_of(_ColourWorld(sizes), sizes))


class _ColourWorld:
    def __init__(self, manifest: Manifest) -> None:
        self._m = manifest

    def encode_image(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        picture = feeds["image"][0].astype(np.float32).transpose(2, 0, 1) / 255
        features = np.zeros((1, self._m.width, self._m.grid, self._m.grid), np.float32)
        features[0, :3] = _means(picture, self._m.grid)
        fine = np.zeros((1, 4, self._m.mask_size, self._m.mask_size), np.float32)
        fine[0, :3] = _means(picture, self._m.mask_size)
        return {"pix_feat": features, "pix_feat_no_mem": features, "high_res_feat0": fine}

    def attend(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        """Take the newest conditioning memory with an object."""
        features = feeds["pix_feat"].copy()
        memories = feeds["maskmem_features"][0, :, :4, 0, 0]
        usable = feeds["maskmem_valid"][0] & (feeds["maskmem_tpos"][0] == 0)
        usable &= memories[:, KNOWN] > 0
        if usable.any():
            newest = np.flatnonzero(usable)[-1]
            features[0, COLOUR] = memories[newest, :3, None, None]
            features[0, KNOWN] = 1
        return {"pix_feat_with_mem": features}

    def decode(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        output = self._answer(feeds)
        return {
            "low_res_masks": output.low_res_masks[None],
            "ious": output.ious[None],
            "obj_ptrs": output.obj_ptrs[None],
            "object_score_logits": np.array([[output.object_score_logit]], np.float32),
        }

    def encode_memory(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        m = self._m
        inside = (feeds["low_res_mask"][0, 0] > 0).astype(np.float32)
        cover = _means(inside[None], m.grid)[0]
        memory = np.zeros((1, m.memory_channels, m.grid, m.grid), np.float32)
        if cover.max() > 0:
            best = cover >= cover.max() - 1e-6
            memory[0, :3] = feeds["pix_feat"][0, :3][:, best].mean(axis=1)[:, None, None]
            memory[0, KNOWN] = 1
        return {"maskmem_features": memory}

    def encode_mask_prompt(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        step = self._m.image_size // self._m.mask_size
        low = feeds["mask"][:, :, step // 2 :: step, step // 2 :: step].astype(np.float32) * 20 - 10
        return {"mask_input": low, "low_res_mask": low}

    def _answer(self, feeds: Mapping[str, Array]) -> DecoderOutput:
        size, count = self._m.mask_size, self._m.candidates
        fine = feeds["high_res_feat0"][0, :3]
        colour = self._colour(feeds, fine)
        logits = np.full((size, size), -10.0, np.float32)
        if colour is not None:
            distance = np.abs(fine - colour[:, None, None]).max(axis=0)
            logits = np.asarray((REACH - distance) * STEEPNESS, np.float32)
        return DecoderOutput(
            np.repeat(logits[None], count, axis=0),
            np.full(count, 0.9, np.float32),
            np.zeros((count, self._m.width), np.float32),
            10.0 if (logits > 0).any() else -10.0,
        )

    def _colour(self, feeds: Mapping[str, Array], fine: F32) -> F32 | None:
        """Return the colour under a positive click or in the middle of a box, else a memory's."""
        labels, known = feeds["point_labels"][0], feeds["pix_feat_with_mem"][0, :, 0, 0]
        places = feeds["point_coords"][0] * (self._m.mask_size / self._m.image_size)
        for chosen in (places[labels == 1], places[(labels == 2) | (labels == 3)]):
            if len(chosen):
                x, y = chosen.mean(axis=0).astype(int)
                return np.asarray(fine[:, y, x], np.float32)
        return np.asarray(known[COLOUR], np.float32) if known[KNOWN] > 0 else None


def _means(channels: F32, size: int) -> F32:
    """Return the (C, size, size) means of square blocks."""
    step = channels.shape[1] // size
    blocks = channels.reshape(len(channels), size, step, size, step)
    return np.asarray(blocks.mean(axis=(2, 4)), np.float32)
