"""transformers' own SAM 2.1 in a streaming session, to measure ours beside it."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final

from samcam.engines import IMAGE_ENCODER, MASK_DECODER, MEMORY_ATTENTION, MEMORY_ENCODER, U8

if TYPE_CHECKING:
    import torch
    from transformers import Sam2VideoModel

_FILL: Final = 17  # frames until the memory of a session is full: 7 memories, 16 pointers
_STRIDE: Final = 16
_MEAN_RGB: Final = (0.485, 0.456, 0.406)
_STD_RGB: Final = (0.229, 0.224, 0.225)


class Library:
    """`Sam2VideoModel` at one picture size."""

    def __init__(
        self,
        precision: str,
        compiled: bool,
        source: Sam2VideoModel,
        picture: U8,
        device: torch.device,
    ) -> None:
        """Make the model anew for the size of `picture`, (S, S, 3) uint8 BGR.

        `precision` is "float32", or "bfloat16" for autocast; `compiled`: the four parts, once the
        memory is full.
        """
        import torch

        self._model: Any = _resized(source, picture.shape[0])
        torch.nn.Module.to(self._model, device)
        self._parts: dict[str, torch.nn.Module] = {
            IMAGE_ENCODER: self._model.vision_encoder,
            MEMORY_ATTENTION: self._model.memory_attention,
            MASK_DECODER: self._model.mask_decoder,
            MEMORY_ENCODER: self._model.memory_encoder,
        }
        self._plain = {name: part.forward for name, part in self._parts.items()}
        self._compiled = compiled
        self._rounded = precision == "bfloat16"
        self._picture = picture
        self._device = device

    def start(self, objects: int) -> None:
        """Prompt the objects by one click each and track until the memory is full."""
        import torch
        from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceSession

        self._set_forwards(self._plain)
        size = self._picture.shape[0]
        self._session = Sam2VideoInferenceSession(
            video_height=size,
            video_width=size,
            inference_device=self._device,
            inference_state_device=self._device,
            video_storage_device=self._device,
            dtype=torch.float32,
        )
        for number in range(objects):
            index = self._session.obj_id_to_idx(number)
            click = {
                "point_coords": torch.full((1, 1, 1, 2), size / 2),
                "point_labels": torch.ones(1, 1, 1, dtype=torch.int32),
            }
            self._session.add_point_inputs(index, 0, click)
            self._session.obj_with_new_inputs.append(number)
        for _ in range(_FILL):
            self.frame()
        if self._compiled:
            compiled = {name: torch.compile(forward) for name, forward in self._plain.items()}
            self._set_forwards(compiled)

    def frame(self) -> None:
        """Track one frame; its masks go to the host."""
        import torch

        with ExitStack() as modes:
            modes.enter_context(torch.inference_mode())
            if self._rounded:
                modes.enter_context(torch.autocast(self._device.type, torch.bfloat16))
            picture = torch.from_numpy(self._picture).to(self._device)
            rgb = picture.permute(2, 0, 1).flip(0).float() / 255
            mean, std = (
                torch.tensor(values, device=self._device).view(3, 1, 1)
                for values in (_MEAN_RGB, _STD_RGB)
            )
            answer = self._model(inference_session=self._session, frame=((rgb - mean) / std)[None])
            answer.pred_masks.cpu()
        self._wait()

    def parts(self, calls: int) -> Mapping[str, list[float]]:
        """Return the milliseconds of each part's calls in some frames."""
        times: dict[str, list[float]] = {name: [] for name in self._parts}
        with ExitStack() as hooks:
            for name, part in self._parts.items():
                hooks.enter_context(self._timed(part, times[name]))
            for _ in range(calls):
                self.frame()
        return times

    def _set_forwards(self, forwards: Mapping[str, Callable[..., Any]]) -> None:
        for name, forward in forwards.items():
            self._parts[name].forward = forward

    def _wait(self) -> None:
        import torch

        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    @contextmanager
    def _timed(self, part: torch.nn.Module, times: list[float]) -> Iterator[None]:
        """Time every call of a part, from idle to idle."""
        begun = 0.0

        def begin(*_: object) -> None:
            nonlocal begun
            self._wait()
            begun = time.perf_counter()

        def end(*_: object) -> None:
            self._wait()
            times.append((time.perf_counter() - begun) * 1000)

        handles = part.register_forward_pre_hook(begin), part.register_forward_hook(end)
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def _resized(source: Sam2VideoModel, size: int) -> Sam2VideoModel:
    """Return a copy of the model for another picture size."""
    import torch
    from transformers import Sam2VideoModel

    config: Any = copy.deepcopy(source.config)
    grid = size // _STRIDE
    config.image_size = config.prompt_encoder_config.image_size = size
    config.vision_config.backbone_feature_sizes = [[grid * k, grid * k] for k in (4, 2, 1)]
    config.memory_attention_rope_feat_sizes = [grid, grid]
    model = Sam2VideoModel(config)
    model.load_state_dict(source.state_dict())
    torch.nn.Module.eval(model)  # the subclass's own is not typed
    return model
