"""The embedded model, tracked with IO binding: the processor's memory stands for a device's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from samcam.engines.base import Array
from samcam.engines.onnxruntime import providers
from samcam.engines.onnxruntime.tensors import OrtTensor
from tests.live.tracker.test_tensorrt_tracker import FRAMES, track


@pytest.mark.slow
def test_the_same_masks_bit_by_bit(nano_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prompts of every kind, three objects, memories that fill up; and nothing large comes back:
    after the check at the start the host reads no tensor that stays on the device."""
    expected = track("onnxruntime", nano_dir)
    read: list[tuple[int, ...]] = []
    plain = OrtTensor.numpy

    def counted(self: OrtTensor) -> Array:
        read.append(self.shape)
        return plain(self)

    monkeypatch.setitem(providers._MEMORY, "cpu", "cpu")
    monkeypatch.setattr(OrtTensor, "numpy", counted)
    given = track("onnxruntime", nano_dir)
    seen = 0
    for right, answer in zip(expected, given, strict=True):
        for a, b in zip(right.objects, answer.objects, strict=True):
            assert (a.object_id, a.predicted_iou) == (b.object_id, b.predicted_iou)
            if a.mask_logits is not None:
                assert b.mask_logits is not None
                assert np.array_equal(a.mask_logits, b.mask_logits)
                seen += 1
    assert seen >= FRAMES
    assert 0 < len(read) < FRAMES, read  # the check's
