"""The same answers as Meta's tracker: checkpoint, `python -m export`, ONNX Runtime, our tracker.

The reference is Meta's own tracker on real frames (../shared/parity); for stories that its golden
files do not tell, Meta's rules written down plainly on transformers' model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from samcam.engines.graph_table import IMAGE_ENCODER, MASK_DECODER, MEMORY_ATTENTION, MEMORY_ENCODER
from samcam.engines.host_tensors import HostTensor
from samcam.engines.model_folder import load_model
from samcam.engines.sam2_graphs import Sam2Networks
from samcam.live.frames import Prompt
from samcam.live.tracker.presets import SAM2
from samcam.live.tracker.tracker import Tracker
from tests.conftest import run_python
from tests.helpers.parity import (
    LOGIT_TOLERANCE,
    VALUE_TOLERANCE,
    CachedEncoder,
    ChangedFeeds,
    Golden,
    Recording,
    difference,
    load_golden,
    run_tracker,
)
from tests.helpers.reference import Reference, ReferenceAnswer, library_model
from tests.helpers.tracker_networks import RecordingNetworks, Script, box_prompt, click, frame

pytestmark = [pytest.mark.shared, pytest.mark.slow]

CASES = ("box", "box_camel", "click", "clicks", "mask", "two", "correct", "correct_cond")
# Golden frames that lie behind a near tie may be left out, but no case may hide behind one.
LEAST_SHARE = 0.75
WIDE = 10  # a fault must show at this many times the tolerance


@pytest.fixture(scope="module")
def networks(sam2_256: Path) -> Iterator[Sam2Networks]:
    loaded = load_model(str(sam2_256), "onnxruntime")
    backends = dict(loaded.backends)
    backends[IMAGE_ENCODER] = CachedEncoder(backends[IMAGE_ENCODER])
    with Sam2Networks(loaded.manifest, backends) as cached:
        yield cached


@pytest.fixture(scope="module")
def camel(shared_dir: Path) -> Golden:
    return load_golden(shared_dir, "box_camel")


@pytest.fixture(scope="module")
def dog(shared_dir: Path) -> Golden:
    return load_golden(shared_dir, "box")


def check_case(golden: Golden, networks: Sam2Networks) -> Recording:
    recording = run_tracker(
        networks.manifest,
        networks.backends,
        golden.settings,
        golden.frames,
        list(golden.prompts()),
    )
    found = difference(golden, recording)
    assert found.agrees, "; ".join(found.problems[:3])
    assert found.frames >= LEAST_SHARE * found.total, found.left_at
    print(f"{golden.name}: {found}")
    return recording


@pytest.mark.parametrize("name", CASES)
def test_golden_answers_at_256(name: str, shared_dir: Path, networks: Sam2Networks) -> None:
    recording = check_case(load_golden(shared_dir, name), networks)
    if name == "correct_cond":  # two conditioning frames: 8 memories, told apart by their steps
        assert len(set(recording.answers[19, 1].result.memory_steps)) == 8


@pytest.mark.long
def test_golden_answers_at_512(shared_dir: Path, parity_checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sam2.1-tiny@512"
    model = ("-m", "export", "sam2.1-tiny@512")
    run_python(*model, "--checkpoint", parity_checkpoint, "--out", folder)
    with load_model(str(folder), "onnxruntime") as networks:
        check_case(load_golden(shared_dir, "box_512"), networks)


Arrays = dict[str, Any]


def pointers_reversed(arrays: Arrays) -> None:
    arrays["obj_ptrs"] = arrays["obj_ptrs"][:, ::-1]


def one_offset_wrong(arrays: Arrays) -> None:
    arrays["obj_ptr_tpos"][0, -1] += 1


def temporal_rows_reversed(arrays: Arrays) -> None:
    tpos = arrays["maskmem_tpos"]
    arrays["maskmem_tpos"] = np.where(tpos > 0, 7 - tpos, 0).astype(np.int32)


def last_memory_dropped(arrays: Arrays) -> None:
    arrays["maskmem_valid"] &= arrays["maskmem_tpos"] != 1


def prompt_memory_soft(arrays: Arrays) -> None:
    arrays["is_prompted"][:] = False


def double_sigmoid(arrays: Arrays) -> None:
    mask = np.maximum(arrays["low_res_mask"], -80)
    arrays["low_res_mask"] = (20 / (1 + np.exp(-mask)) - 10).astype(np.float32)


def nothing(arrays: Arrays) -> None:
    """Leave everything as it is: the harness itself must not fail the comparison."""


@pytest.mark.parametrize(
    ("network", "fault"),
    [
        (MEMORY_ATTENTION, nothing),
        (MEMORY_ATTENTION, pointers_reversed),
        (MEMORY_ATTENTION, one_offset_wrong),
        (MEMORY_ATTENTION, temporal_rows_reversed),
        (MEMORY_ATTENTION, last_memory_dropped),
        (MEMORY_ENCODER, prompt_memory_soft),
        (MEMORY_ENCODER, double_sigmoid),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_the_comparison_sees_faults(
    network: str, fault: Callable[[Arrays], None], camel: Golden, networks: Sam2Networks
) -> None:
    """Each fault fails the golden comparison within a few frames, and not by a hair."""
    short = replace(camel, frames=camel.frames[:7])
    backends = dict(networks.backends)
    backends[network] = ChangedFeeds(backends[network], fault)
    recording = run_tracker(networks.manifest, backends, SAM2, short.frames, list(short.prompts()))
    found = difference(short, recording)
    assert found.agrees == (fault is nothing)
    worst = max(
        float(np.abs(recording.answers[i, 1].answer.low_res_mask - stored[0]).max())
        for i, stored in enumerate(short.arrays["low_res"][: len(short.frames)])
    )
    assert worst < LOGIT_TOLERANCE if fault is nothing else worst > WIDE * LOGIT_TOLERANCE


def test_three_objects_are_each_as_if_alone(dog: Golden, networks: Sam2Networks) -> None:
    frames = dog.frames[:9]
    boxes = {1: (0, (45, 6, 153, 162)), 2: (2, (170, 120, 240, 220)), 3: (5, (20, 100, 90, 200))}
    prompts = [
        Prompt(object_id=i, frame_index=at, box_xyxy_px=np.array(box, np.float32))
        for i, (at, box) in boxes.items()
    ]
    run = (networks.manifest, networks.backends, SAM2, frames)
    together = run_tracker(*run, prompts)
    for prompt in prompts:
        alone = run_tracker(*run, [prompt])
        steps = [step for step, object_id in together.answers if object_id == prompt.object_id]
        assert steps == list(range(prompt.frame_index or 0, len(frames)))
        for step in steps:
            ours, single = (r.answers[step, prompt.object_id].answer for r in (together, alone))
            assert np.array_equal(ours.low_res_mask, single.low_res_mask)
            assert np.array_equal(ours.obj_ptr, single.obj_ptr)
            assert ours.object_score == single.object_score


def assert_same(recording: Recording, wanted: dict[int, ReferenceAnswer]) -> None:
    for step, answer in wanted.items():
        ours = recording.answers[step, 1].answer
        assert np.abs(ours.low_res_mask - answer.low_res).max() < LOGIT_TOLERANCE, step
        assert np.abs(ours.obj_ptr - answer.pointer).max() < VALUE_TOLERANCE, step
        assert abs(ours.object_score - answer.score) < VALUE_TOLERANCE, step


def test_two_prompted_frames_on_one_object(
    camel: Golden, networks: Sam2Networks, parity_checkpoint: Path
) -> None:
    """A click on frame 0 and a click with a negative on frame 3, both conditioning."""
    frames = camel.frames[:10]
    prompts = [
        click(120, 110, at=0),
        Prompt(1, 3, np.array([[125, 105], [230, 60]], np.float32), np.array([1, 0], np.int32)),
    ]
    settings = replace(SAM2, corrections_condition=True)
    recording = run_tracker(networks.manifest, networks.backends, settings, frames, prompts)
    reference = Reference(library_model(parity_checkpoint, 256), corrections_condition=True)
    clicks = {p.frame_index: (p.points_xy_px.tolist(), p.labels.tolist()) for p in prompts}
    wanted = {
        i: reference.step(i, image, *clicks.get(i, (None, None))) for i, image in enumerate(frames)
    }
    assert_same(recording, {i: answer for i, answer in wanted.items() if answer is not None})
    assert recording.answers[9, 1].result.memory_steps == (0, 3, 8, 7, 6, 5, 4)


def test_a_lost_stretch_leaves_the_same_memories(
    camel: Golden, networks: Sam2Networks, parity_checkpoint: Path
) -> None:
    """Both sides are made to lose the object on frames 3 to 5, and find it again."""
    frames, lost, penalty = camel.frames[:10], range(3, 6), 40.0
    at = 0

    class Loses:
        def __init__(self) -> None:
            self.inner = networks.backends[MASK_DECODER]

        def run(self, feeds: Any) -> Any:
            nonlocal at
            outputs = dict(self.inner.run(feeds))
            if at in lost:
                score = outputs["object_score_logits"].numpy() - np.float32(penalty)
                outputs["object_score_logits"] = HostTensor(score, owned=True)
            at += 1
            return outputs

        def close(self) -> None: ...

    backends = dict(networks.backends) | {MASK_DECODER: Loses()}
    prompt = next(camel.prompts())
    recording = run_tracker(networks.manifest, backends, SAM2, frames, [prompt])
    model = library_model(parity_checkpoint, 256)
    reference, step = Reference(model), 0
    model.mask_decoder.pred_obj_score_head.register_forward_hook(
        lambda module, inputs, output: output - penalty if step in lost else output
    )
    assert prompt.box_xyxy_px is not None
    corners = prompt.box_xyxy_px.reshape(2, 2).tolist()
    wanted = {}
    for step, image in enumerate(frames):
        wanted[step] = reference.step(step, image, *((corners, [2, 3]) if step == 0 else ()))
    visible = [recording.answers[i, 1].answer.present for i in range(len(frames))]
    assert not any(visible[3:6])
    assert any(visible[6:])
    assert_same(recording, wanted)


def test_offsets_do_not_drift_in_ten_minutes() -> None:
    """18 000 steps at 30 fps: memories and pointers are as far away as they were at the start."""
    from samcam.engines.fake_backend import fake_manifest, fake_networks

    script = Script(masks=((4, 4, 5),) * 4, size=16)
    inner = fake_networks(decoder=script.decode, manifest=fake_manifest(image_size=64))
    networks = RecordingNetworks(inner)
    picture = np.zeros((48, 64, 3), np.uint8)
    with Tracker(networks, SAM2) as tracker:
        tracker.prompt(box_prompt(10, 10, 30, 30))
        for step in range(18_000):
            networks.calls.clear()
            tracker.step(frame(step, picture))
            if step == 0:
                continue
            (attended,) = networks.calls.attended
            recent = range(1, min(step, 16))  # frame 0 is the conditioning one
            assert attended.tpos == (0, *recent[:6])
            assert attended.ptr_tpos == (float(step), *map(float, recent))
