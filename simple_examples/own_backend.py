"""A backend of your own: any runtime that can run a model's five networks.

python simple_examples/own_backend.py [SOURCE] [X1 Y1 X2 Y2]

This one is ONNX Runtime with plain settings; put your own in its place. What each network takes
and gives is in docs/export.md; what does not fit is refused when the model is opened.
"""

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from samcam import EngineOptions, Prompt, Tracker, open_source
from samcam.engines import DeviceTensor, Feed, HostTensor, StackBuffers, TensorSpec, check_feeds

TYPES = {"float": "float32", "uint8": "uint8", "int32": "int32", "bool": "bool"}


def specs_of(tensors: Iterable[Any]) -> dict[str, TensorSpec]:
    """Say what a network takes or gives; ONNX Runtime writes types as tensor(float)."""
    return {t.name: TensorSpec(t.name, TYPES[t.type[7:-1]], tuple(t.shape)) for t in tensors}


class PlainOnnxRuntime:
    """One network; `samcam.engines.Backend` says what is asked of it."""

    def __init__(self, network: str, path: Path, options: EngineOptions) -> None:
        import onnxruntime

        self._network = network
        self._session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        self.inputs: Mapping[str, TensorSpec] = specs_of(self._session.get_inputs())
        self.outputs: Mapping[str, TensorSpec] = specs_of(self._session.get_outputs())
        self._stacks = StackBuffers()

    def run(self, feeds: Mapping[str, Feed]) -> Mapping[str, DeviceTensor]:
        arrays = check_feeds(self._network, self.inputs, feeds, self._stacks)
        answers = self._session.run(list(self.outputs), arrays)
        return {
            name: HostTensor(answer, owned=True)  # no later run writes into it
            for name, answer in zip(self.outputs, answers, strict=True)
        }

    def close(self) -> None:
        self._session = None


parser = argparse.ArgumentParser(usage="%(prog)s [SOURCE] [X1 Y1 X2 Y2]")
parser.add_argument("source", nargs="?", default="demo")
parser.add_argument("box", nargs="*", type=float, default=(49, 226, 247, 425))
given = parser.parse_args()
try:
    source, prompt = open_source(given.source), Prompt.box(*given.box)
except (OSError, TypeError, ValueError) as error:
    parser.error(str(error))
with Tracker.open("nano", backend=PlainOnnxRuntime) as tracker:
    tracker.prompt(prompt)
    while (frame := source.read()) is not None:
        result = tracker.step(frame)
        spent = " ".join(f"{stage} {ms:.1f}" for stage, ms in result.stage_ms.items())
        print(frame.index, result.objects[0].state, f"{spent} ms")
source.close()
