"""A backend without a model, for tests and measurements of everything around the networks."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import numpy as np

from samcam.engines.base import Array, Backend, DeviceTensor, EngineError, Feed, TensorSpec
from samcam.engines.graph_table import (
    IMAGE_ENCODER,
    MASK_DECODER,
    MASK_PROMPT,
    MEMORY_ATTENTION,
    MEMORY_ENCODER,
    NetworkSpec,
)
from samcam.engines.host_rules import F32
from samcam.engines.host_tensors import HostTensor, StackBuffers, check_feeds
from samcam.engines.manifest import Manifest
from samcam.engines.sam2_graphs import DecoderOutput, Sam2Networks

Shapes: TypeAlias = tuple[tuple[str, tuple[int, ...]], ...]
OutputsFunction: TypeAlias = Callable[[Mapping[str, Array]], Mapping[str, Array]]
DecoderFunction: TypeAlias = Callable[[Mapping[str, Array]], DecoderOutput]

MAX_SHAPES: Final = 64  # distinct combinations of input shapes that are told apart
FAKE_CHANNELS: Final = 4  # of the high-resolution features
STATE_CHANNELS: Final = 4  # of a fake memory: present, x, y, radius
CANDIDATE_RADII: Final = (1.0, 0.6, 1.0, 1.4)
CANDIDATE_IOUS: Final = (0.90, 0.70, 0.93, 0.75)
OBJECT_SCORE: Final = 10.0

_LOGITS_PER_PIXEL = 4.0
_MAX_LOGIT = 20.0


class FakeBackend:
    """One network in numpy that behaves like a strict backend.

    It checks its inputs as the others do, and reuses its output arrays in every run, so that a
    missing copy shows.

    Attributes:
        calls: Number of runs.
        input_shapes: Combination of input shapes to number of runs, at most `MAX_SHAPES`; runs with
            further combinations count under the empty tuple.
    """

    def __init__(
        self,
        name: str,
        outputs: OutputsFunction | None = None,
        spec: NetworkSpec | None = None,
        delay_s: float = 0.0,
    ) -> None:
        """Make a network; `spec` None takes the sizes of `fake_manifest()`.

        Args:
            outputs: Computes the outputs from the inputs, by name; missing ones are zeros.
            delay_s: Seconds that each run sleeps, as a network that takes that long.
        """
        self.calls = 0
        self.input_shapes: Counter[Shapes] = Counter()
        self._spec = spec or fake_manifest().specs()[name]
        self.inputs = {tensor.name: tensor for tensor in self._spec.inputs}
        self.outputs = {tensor.name: tensor for tensor in self._spec.outputs}
        self._function = outputs
        self._delay_s = delay_s
        self._buffers: dict[str, Array] = {}
        self._stacks = StackBuffers()
        self._closed = False

    def run(self, feeds: Mapping[str, Feed]) -> Mapping[str, DeviceTensor]:
        if self._closed:
            raise EngineError(f"{self._spec.name}: closed")
        arrays = check_feeds(self._spec.name, self.inputs, feeds, self._stacks)
        self._count(arrays)
        if self._delay_s:
            time.sleep(self._delay_s)
        given = self._function(arrays) if self._function is not None else {}
        unknown = given.keys() - self.outputs.keys()
        if unknown:
            raise EngineError(f"{self._spec.name}: unknown outputs {', '.join(sorted(unknown))}")
        lengths = {
            axis: length
            for name, spec in self.inputs.items()
            for axis, length in zip(spec.shape, arrays[name].shape, strict=True)
            if isinstance(axis, str)
        }
        return {
            name: HostTensor(self._write(spec, given.get(name), lengths), owned=False)
            for name, spec in self.outputs.items()
        }

    def close(self) -> None:
        self._closed = True
        self._buffers.clear()

    def _count(self, arrays: Mapping[str, Array]) -> None:
        self.calls += 1
        shapes = tuple((name, array.shape) for name, array in arrays.items())
        if shapes not in self.input_shapes and len(self.input_shapes) >= MAX_SHAPES:
            shapes = ()
        self.input_shapes[shapes] += 1

    def _write(self, spec: TensorSpec, values: Array | None, lengths: Mapping[str, int]) -> Array:
        shape = tuple(
            lengths.get(axis, FAKE_CHANNELS) if isinstance(axis, str) else axis
            for axis in spec.shape
        )
        if values is not None and (values.shape != shape or values.dtype.name != spec.dtype):
            raise EngineError(
                f"{self._spec.name}: output {spec.name}: expected {spec.dtype} {shape}, "
                f"got {values.dtype.name} {values.shape}"
            )
        buffer = self._buffers.get(spec.name)
        if buffer is None or buffer.shape != shape:
            buffer = self._buffers[spec.name] = np.empty(shape, spec.dtype)
        buffer[...] = 0 if values is None else values
        return buffer


def fake_manifest(
    image_size: int = 256,
    width: int = 16,
    memory_channels: int = 8,
    max_cond: int = 4,
    form: str = "dynamic",
) -> Manifest:
    return Manifest(
        name="fake",
        family="fake",
        image_size=image_size,
        mask_size=image_size // 4,
        grid=image_size // 16,
        width=width,
        memory_channels=memory_channels,
        candidates=len(CANDIDATE_IOUS),
        max_cond=max_cond,
        no_obj_ptr=np.full(width, -1.0, np.float32),
        origin="made up in memory",
        licence="Apache-2.0",
        form=form,
    )


def fake_networks(
    image_size: int = 256,
    width: int = 16,
    memory_channels: int = 8,
    decoder: DecoderFunction | None = None,
    delay_s: float = 0.0,
    manifest: Manifest | None = None,
) -> Sam2Networks:
    """Return networks that find a disc where they were prompted, and keep it there.

    A click gives a disc of radius L / 8 around it, a box one that fills it, a mask one of its
    area. The memory carries the disc, so objects are independent, as in a real model; without
    prompt and memory the answer is "no object".

    Args:
        image_size: S, a multiple of 32.
        width: D, at least `STATE_CHANNELS`.
        memory_channels: M, at least `STATE_CHANNELS`.
        decoder: Answers in place of the disc. It gets the decoder's inputs by name (B = 1);
            `pix_feat_with_mem[0, :4, 0, 0]` is present, x, y and radius in L pixels.
        delay_s: Seconds that each picture takes, all of them in the image encoder.
        manifest: Instead of the sizes above, for example `fake_manifest(form="fixed")`.
    """
    sizes = manifest or fake_manifest(image_size, width, memory_channels)
    if min(sizes.width, sizes.memory_channels) < STATE_CHANNELS:
        raise EngineError(f"fake networks: width and memory_channels: at least {STATE_CHANNELS}")
    world = _DiscWorld(sizes)
    answer = decoder or world.decode

    def decode(feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        output = answer(feeds)
        return {
            "low_res_masks": output.low_res_masks[None],
            "ious": output.ious[None],
            "obj_ptrs": output.obj_ptrs[None],
            "object_score_logits": np.array([[output.object_score_logit]], np.float32),
        }

    functions: Mapping[str, OutputsFunction | None] = {
        IMAGE_ENCODER: None,
        MEMORY_ATTENTION: world.attend,
        MASK_DECODER: decode,
        MEMORY_ENCODER: world.encode_memory,
        MASK_PROMPT: world.encode_mask_prompt,
    }
    specs = sizes.specs()
    backends: dict[str, Backend] = {
        name: FakeBackend(name, function, specs[name], delay_s if name == IMAGE_ENCODER else 0.0)
        for name, function in functions.items()
    }
    return Sam2Networks(sizes, backends)


class _DiscWorld:
    """The functions of the fake networks; they keep nothing from run to run."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        size = manifest.mask_size
        axis = np.arange(size, dtype=np.float32)
        self._x, self._y = axis[None, :], axis[:, None]
        self._scale = np.float32(size / manifest.image_size)

    def attend(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        """Take the disc of the newest conditioning memory, else of the nearest recent one."""
        features = feeds["pix_feat"].copy()
        valid = feeds["maskmem_valid"][0]
        states = feeds["maskmem_features"][0, :, :STATE_CHANNELS, 0, 0]
        offsets = feeds["maskmem_tpos"][0]
        usable = [i for i in range(len(valid)) if valid[i] and states[i, 0] > 0]
        if usable:
            best = min(usable, key=lambda i: (offsets[i], -i))
            features[0, :STATE_CHANNELS] = states[best][:, None, None]
        return {"pix_feat_with_mem": features}

    def decode(self, feeds: Mapping[str, Array]) -> DecoderOutput:
        """Draw the candidates: discs of four sizes around one centre."""
        state = self._prompted(feeds)
        present, x, y, radius = state
        distance = np.hypot(self._x - x, self._y - y)
        radii = np.asarray(CANDIDATE_RADII, np.float32)[:, None, None] * radius
        masks = np.clip((radii - distance) * _LOGITS_PER_PIXEL, -_MAX_LOGIT, _MAX_LOGIT)
        pointers = np.zeros((len(CANDIDATE_IOUS), self._manifest.width), np.float32)
        pointers[:, :STATE_CHANNELS] = state
        return DecoderOutput(
            masks.astype(np.float32),
            np.asarray(CANDIDATE_IOUS, np.float32),
            pointers,
            OBJECT_SCORE if present > 0 else -OBJECT_SCORE,
        )

    def encode_memory(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        """Put the mask's disc into every pixel of the memory's first channels."""
        m = self._manifest
        shape = (1, m.memory_channels, m.grid, m.grid)
        dtype = np.float16 if m.memory_dtype == "float16" else np.float32
        memory = np.zeros(shape, dtype)
        memory[0, :STATE_CHANNELS] = _disc_of(feeds["low_res_mask"][0, 0])[:, None, None]
        return {"maskmem_features": memory}

    def encode_mask_prompt(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        """Shrink the mask by taking every fourth pixel; logits of -10 and 10."""
        step = self._manifest.image_size // self._manifest.mask_size
        logits = feeds["mask"][:, :, step // 2 :: step, step // 2 :: step].astype(np.float32)
        logits = logits * 20 - 10
        return {"mask_input": logits, "low_res_mask": logits}

    def _prompted(self, feeds: Mapping[str, Array]) -> F32:
        """Return the disc that the prompt asks for, else the one from memory."""
        labels = feeds["point_labels"][0]
        # from pixel centres of the S x S picture to those of the L x L mask
        points = (feeds["point_coords"][0] + 0.5) * self._scale - 0.5
        corners = points[(labels == 2) | (labels == 3)]
        clicks = points[labels == 1]
        if len(corners) == 2:
            x, y = corners.mean(axis=0)
            radius = np.abs(corners[1] - corners[0]).min() / 2
            return np.array([1, x, y, radius], np.float32)
        if len(clicks):
            x, y = clicks.mean(axis=0)
            return np.array([1, x, y, self._manifest.mask_size / 8], np.float32)
        if feeds["has_mask_input"][0]:
            return _disc_of(feeds["mask_input"][0, 0])
        state: F32 = feeds["pix_feat_with_mem"][0, :STATE_CHANNELS, 0, 0]
        return state


def _disc_of(mask_logits: F32) -> F32:
    """Return present, x, y and radius of the disc with the mask's centre and area."""
    ys, xs = np.nonzero(mask_logits > 0)
    if not len(xs):
        return np.zeros(STATE_CHANNELS, np.float32)
    return np.array([1, xs.mean(), ys.mean(), np.sqrt(len(xs) / np.pi)], np.float32)
