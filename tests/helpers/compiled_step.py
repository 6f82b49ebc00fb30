"""Runs a compiled network on two threads; a program, as the compiler leaves threads behind.

Prints what ran without being compiled: the number of memories of each such call.
"""

from __future__ import annotations

import json
import threading

import numpy as np
import torch

from samcam.engines.graph_table import MEMORY_ATTENTION
from samcam.engines.options import EngineOptions, TorchOptions
from samcam.engines.torch_backend import TorchNetwork
from tests.helpers.tiny_model import example_feeds, probe_outputs, tiny_manifest
from tests.helpers.torch_probe import Probe


def main() -> None:
    """Compile both steps on this thread, run them on another one, then run other shapes."""
    spec = tiny_manifest().specs()[MEMORY_ATTENTION]
    module = Probe(spec)
    eager_calls: list[int] = []

    def note(_: torch.nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        if not torch.compiler.is_compiling():
            eager_calls.append(given[1].shape[1])

    module.register_forward_pre_hook(note)
    options = EngineOptions(threads=1, torch=TorchOptions(device="cpu", compile=True))
    network = TorchNetwork(spec, module, tiny_manifest(), options)

    def check(feeds: dict[str, np.ndarray]) -> None:
        answer = network.run(feeds)["pix_feat_with_mem"].numpy()
        np.testing.assert_allclose(
            answer, probe_outputs(spec, feeds)["pix_feat_with_mem"], rtol=1e-5
        )

    def check_steps(seed: int) -> None:
        for memories, pointers in tiny_manifest().row_steps:
            feeds = example_feeds(spec, np.random.default_rng(seed), memories)
            more = example_feeds(spec, np.random.default_rng(seed), pointers)
            check(feeds | {name: more[name] for name in more if name.startswith("obj_ptr")})

    check_steps(0)
    errors: list[BaseException] = []

    def later() -> None:
        try:
            check_steps(1)
        except BaseException as error:
            errors.append(error)

    with torch.compiler.set_stance("fail_on_recompile"):
        thread = threading.Thread(target=later)
        thread.start()
        thread.join()
        if errors:
            raise errors[0]
        check(example_feeds(spec, np.random.default_rng(2), rows=3))
    network.close()
    print(json.dumps(eager_calls))


if __name__ == "__main__":
    main()
