"""An error of the GPU in mid-stream, through the program: said once, exit code 4, files whole.

The driver is a fake that stays broken, as a real one does; so the program runs in this process.
"""

from __future__ import annotations

import json
import logging
import threading
from pathlib import Path

import av
import pytest

from samcam.__main__ import main
from samcam.engines import EngineError, load_model
from samcam.export.build_tensorrt import BuildOrder, build_engines
from tests.helpers import fake_tensorrt
from tests.helpers.failing_cuda import FailingCuda
from tests.helpers.fake_driver import Status
from tests.helpers.tiny_model import write_tiny_model

BEFORE = 8  # frames that are fine
RUN = (
    "--source demo --prompt point=320,240 --output video:out.mp4 --output masks:m --metrics r.jsonl"
)


def break_down(cuda: FailingCuda, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a function fail at its first call in the step after `BEFORE`."""
    from samcam.live.tracker.tracker import Tracker

    step = Tracker.step

    def counted(tracker: Tracker, frame: object) -> object:
        if tracker.next_step == BEFORE:
            cuda.fail_at(name, 1, Status.cudaErrorIllegalAddress)
        return step(tracker, frame)  # type: ignore[arg-type]

    monkeypatch.setattr(Tracker, "step", counted)


def test_an_error_at_the_start_is_no_fault_of_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cuda = FailingCuda()
    fake_tensorrt.install(monkeypatch, cuda)
    write_tiny_model(tmp_path / "model")
    build_engines(BuildOrder(folder=tmp_path / "model", check=False))
    cuda.fail_at("cudaStreamEndCapture", 1, Status.cudaErrorLaunchFailure)
    with pytest.raises(EngineError) as caught:
        load_model(str(tmp_path / "model"), "tensorrt")
    text = str(caught.value)
    assert text.startswith("image_encoder: cuda")
    assert "(cudaErrorLaunchFailure, CUDA error 719): start again; where it comes back" in text
    assert "export" not in text
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING], "slower is not all"


@pytest.mark.parametrize(
    ("name", "networks"),
    [
        # the encoder's launch: the last memory may still be under way
        ("cudaGraphLaunch", "memory_encoder, image_encoder"),
        # the wait for the mask: everything since the last one
        ("cudaEventSynchronize", "memory_encoder, image_encoder, memory_attention, mask_decoder"),
        ("cudaMemcpyAsync", "memory_encoder, image_encoder"),
        # the stages' times are read when all of the step is asked for
        ("cudaEventQuery", "memory_encoder"),
    ],
)
def test_an_error_in_mid_stream_ends_the_run_cleanly(
    name: str,
    networks: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cuda = FailingCuda()
    fake_tensorrt.install(monkeypatch, cuda)
    write_tiny_model(tmp_path / "model")
    build_engines(BuildOrder(folder=tmp_path / "model", check=False))
    break_down(cuda, name, monkeypatch)
    monkeypatch.chdir(tmp_path)
    before = set(threading.enumerate())
    code = main([*RUN.split(), "--model", "model", "--backend", "tensorrt", "--preset", "sam2"])
    said = [line for line in capsys.readouterr().err.splitlines() if "error" in line.lower()]
    assert said == [
        f"error: {networks}: {name}: the fake driver says 700 (cudaErrorIllegalAddress, "
        "CUDA error 700): start again; where it comes back, update the driver, or use "
        "--backend onnxruntime"
    ]
    assert code == 4
    assert set(threading.enumerate()) <= before, "no thread is left"
    logging.getLogger().handlers.clear()
    with av.open("out.mp4") as video:
        assert sum(1 for _ in video.decode(video=0)) == BEFORE
    assert len(list(Path("m").glob("*.png"))) == BEFORE
    assert len([json.loads(line) for line in Path("r.jsonl").read_text().splitlines()]) == BEFORE
