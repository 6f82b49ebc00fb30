"""The sizes of `nano`."""

from __future__ import annotations

from dataclasses import dataclass

MASK_LOGIT_SCALE = 20.0  # sigmoid * 20 - 10, as sam2_base.py's sigmoid_scale/bias_for_mem_enc
MASK_STRIDE = 2  # pixels of the picture per cell of a mask: L = S / 2
HIGH4, HIGH2 = 32, 16  # channels of the finer maps at S/4 and S/2


@dataclass(frozen=True)
class NanoConfig:
    """Widths of `nano`; the defaults are the shipped model."""

    width: int = 128
    stages: tuple[int, ...] = (32, 64, 128, 192)
    blocks: tuple[int, ...] = (1, 2, 4, 2)
    stem: int = 24
    key: int = 32
    value: int = 64
    candidates: int = 4
    decoder_layers: int = 2

    @property
    def memory_channels(self) -> int:
        return self.key + self.value
