"""The GPU day without a GPU: its order, its limits, its end; and the torch part on the CPU."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.gpu import __main__ as program
from bench.gpu import day, machine, report
from bench.gpu.day import Log, Taken, answer, run_day
from bench.gpu.flat import judged, run_flat
from bench.gpu.order import NotHere, Order, Outcome, Save, Step, Surprise
from bench.gpu.steps import steps_of
from bench.reports.environment import describe_environment
from bench.reports.report import ReportError, table
from bench.sam2_ours import Ours, on_torch
from bench.sam2_weights import lively_model
from samcam.engines import fake_networks
from samcam.engines.checks import compare_networks, read_pictures
from tests.conftest import REPO_ROOT
from tests.helpers.bench_run import run_bench
from tests.helpers.xvfb import wait_until


@pytest.fixture
def order(tmp_path: Path) -> Order:
    return Order(tmp_path / "work", device="cpu", sizes=(256,), frames=40)


def done(order: Order, save: Save) -> Outcome:
    return Outcome("done", "fine")


def surprise(order: Order, save: Save) -> Outcome:
    raise Surprise("two\nlines")


def broken(order: Order, save: Save) -> Outcome:
    return Outcome("done", str(1 // 0))


def not_here(order: Order, save: Save) -> Outcome:
    raise NotHere("no such library")


def run(steps: Sequence[Step], order: Order) -> tuple[list[Taken], str, list[int]]:
    """Run steps in this process; returns what they came to, what was said, and the reports."""
    said, reports = io.StringIO(), []

    def here(step: Step, given: Order) -> Outcome:
        return answer(step, given, lambda outcome: None)

    taken = run_day(steps, order, Log(said), here, lambda so_far: reports.append(len(so_far)))
    return taken, said.getvalue(), reports


@pytest.mark.parametrize(
    ("step", "line"), [(surprise, "two lines"), (broken, "ZeroDivisionError: ")]
)
def test_the_first_surprise_is_the_last_step(
    step: Callable[[Order, Save], Outcome],
    line: str,
    order: Order,
    capsys: pytest.CaptureFixture[str],
) -> None:
    steps = [Step("a", "A", done, 9), Step("b", "B", step, 9), Step("c", "C", done, 9)]
    taken, said, reports = run(steps, order)
    assert [one.outcome.status for one in taken] == ["done", "surprise"]
    assert taken[1].outcome.line.startswith(line)
    assert reports == [1, 2], "a report after each step"
    assert "[2/3] B: SURPRISE: " in said
    assert "C" not in said
    capsys.readouterr()
    assert program.conclude(taken, Path("out"), 1.0, Log(io.StringIO())) == 1
    shown = capsys.readouterr()
    assert shown.err.startswith(f"error: B: {line}")
    assert "1 done, 1 surprise (b)" in shown.out


def test_what_needs_a_missing_library_is_left_out_with_one_line(order: Order) -> None:
    steps = [
        Step("library", "library", not_here, 9),
        Step("build", "build", broken, 9, ("library",)),
        Step("speed", "speed", broken, 9, ("build",)),
        Step("other", "other", done, 9),
    ]
    taken, said, _ = run(steps, order)
    assert [one.step.name for one in taken] == ["library", "other"]
    lines = [line for line in said.splitlines() if line.startswith("[")]
    assert len(lines) == 2
    assert lines[0].startswith("[1/4] library: SKIPPED: no such library")


def test_a_step_has_its_own_end_and_that_of_the_day(order: Order) -> None:
    left = []

    def note(given: Order, save: Save) -> Outcome:
        left.append(given.left_s())
        return Outcome("done", "")

    now = time.monotonic()
    run([Step("a", "a", note, 7)], replace(order, ends_at_s=now + 1000))
    run([Step("a", "a", note, 1000)], replace(order, ends_at_s=now + 100))
    assert left[0] <= 7 < left[1] <= 100
    over = replace(order, ends_at_s=now)
    taken, said, _ = run([Step("a", "a", note, 7), Step("b", "b", note, 7, ("a",))], over)
    assert len(left) == 2
    assert [one.outcome.status for one in taken] == ["cut"]
    assert "no time left" in said
    assert "b: left out: needs a" in said


def test_a_process_that_dies_or_hangs_is_one_line(order: Order, tmp_path: Path) -> None:
    said = io.StringIO()
    result = tmp_path / "result.json"
    kill = "import os, signal; print('before', flush=True); os.kill(os.getpid(), signal.SIGSEGV)"
    code, stopped = day._watch([sys.executable, "-c", kill], 60, Log(said))
    assert "before" in said.getvalue()
    outcome = day._read(result, code, stopped)
    assert outcome.status == "surprise"
    assert outcome.line == "its process ended with SIGSEGV, see the log"

    Outcome("done", "half of it", {"a": 1}, {"t": table(("x", "y"), [("1", "2")])}).write(result)
    hang = "import time; time.sleep(600)"
    begun = time.monotonic()
    code, stopped = day._watch([sys.executable, "-c", hang], 0.5, Log(said))
    assert stopped
    assert time.monotonic() - begun < 60
    outcome = day._read(result, code, stopped)
    assert (outcome.status, outcome.line) == ("cut", "half of it; stopped at the end of its time")
    assert outcome.tables["t"].rows == (("1", "2"),)


def test_the_order_reaches_the_other_process(order: Order, tmp_path: Path) -> None:
    order.work.mkdir()
    order.write(tmp_path / "order.json")
    assert Order.read(tmp_path / "order.json") == order
    assert [step.name for step in steps_of(order)][:2] == ["packages", "torch-answers"]


# --- the report ------------------------------------------------------------------------------


def taken_of(outcome: Outcome) -> Taken:
    return Taken(Step("a", "A", done, 9), outcome, 1.5)


def test_the_report_has_every_table_and_figure(tmp_path: Path) -> None:
    place = report.Day(tmp_path / "out", "asked", describe_environment())
    place.open_folder()
    figures = {"times torch 512 px": {"frames": {"ours": {1: 2.5, 4: 8.0}, "theirs": {4: 9.0}}}}
    outcome = Outcome("done", "a|b", figures, {"Masks": table(("x",), [("1",)])}, {"n": {"L": 1}})
    place.write([taken_of(outcome)])
    page = (tmp_path / "out" / report.REPORT_PAGE).read_text("utf-8")
    assert "| 512 px: ours | 2.5 | 8.0 |" in page
    assert "| 512 px: theirs | - | 9.0 |" in page
    assert "| A | done | 1.5 | a/b |" in page
    assert "## Masks\n\n| x |" in page
    data = json.loads((tmp_path / "out" / report.REPORT_DATA).read_text("utf-8"))
    assert data["steps"][0]["figures"]["times torch 512 px"]["frames"]["theirs"] == {"4": 9.0}
    assert sorted(p.name for p in place.folder.iterdir()) == sorted({*report.FILES} - {report.LOG})
    report.check_limits(place.folder)
    place.open_folder()
    assert not list(place.folder.iterdir()), "an earlier day's files are replaced"


def test_the_folder_stays_small(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 10, 16 << 20).tobytes().hex()[: 16 << 20]
    packed = report._packed({"long": noise, "short": [1, 2]})
    assert len(packed) < report.MAX_LAYERS_BYTES
    said = io.StringIO()
    log = Log(said)
    for _ in range(100):
        log.note("x" * (day.MAX_LOG_BYTES // 50))
    assert len(said.getvalue()) < day.MAX_LOG_BYTES * 1.1
    assert said.getvalue().endswith("cut here)\n")
    total = day.MAX_LOG_BYTES + report.MAX_LAYERS_BYTES
    assert total < report.MAX_BYTES - (2 << 20), "room for the page and the figures"
    for index in range(report.MAX_FILES + 1):
        (tmp_path / str(index)).touch()
    with pytest.raises(ReportError, match="at most 8 files"):
        report.check_limits(tmp_path)


def test_another_folder_is_not_emptied(tmp_path: Path) -> None:
    (tmp_path / "thesis.odt").touch()
    (tmp_path / report.LOG).touch()
    with pytest.raises(ReportError, match=r"has thesis\.odt"):
        report.Day(tmp_path, "", describe_environment()).open_folder()
    assert (tmp_path / report.LOG).exists()


# --- the steps -------------------------------------------------------------------------------


def test_growth_is_a_surprise() -> None:
    flat = [10.0] * 40
    assert judged(flat, 10, (100, 500), (130, 510), True).figures["last_ms"] == 10.0
    with pytest.raises(Surprise, match="device memory grew from 500 to 900 MiB over 40 frames"):
        judged(flat, 10, (100, 500), (100, 900), True)
    with pytest.raises(Surprise, match="host memory grew from 100 to 300 MiB"):
        judged(flat, 10, (100, None), (300, None), True)
    slower = [10.0] * 30 + [13.0] * 10
    with pytest.raises(Surprise, match=r"a frame grew from 10\.0 to 13\.0 ms"):
        judged(slower, 10, (100, 500), (100, 500), True)
    assert "not known here" in judged(slower, 10, (100, None), (900, None), False).line


def test_a_long_run_ends_in_time(order: Order) -> None:
    networks = fake_networks()
    size = networks.manifest.image_size
    ours = Ours(networks, np.zeros((size, size, 3), np.uint8))
    outcome = run_flat(ours, order, limits=False)
    assert (outcome.status, outcome.figures["frames"]) == ("done", 40)
    manifest = networks.manifest
    bank = ours._banks[0]
    assert len(bank.memories) == manifest.num_recent, "bounded"
    assert len(bank.pointers) == manifest.max_recent_ptrs
    assert bank.memories[0] is not bank.prompt[0], "and in motion"
    short = replace(order, frames=10**6, ends_at_s=time.monotonic() + 3.2)
    outcome = run_flat(ours, short, limits=False)
    assert outcome.status == "cut"
    assert outcome.line.endswith("of 1000000 asked for")


def test_tests_that_did_not_run_are_no_success(
    order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a GPU they are skipped, and pytest calls that a success."""
    on_gpu = replace(order, device="cuda", ends_at_s=time.monotonic() + 300)
    known = machine.importlib.import_module

    def import_module(name: str) -> object:
        if name == "cuda.bindings":
            raise ImportError("no cuda.bindings")
        return known(name)

    monkeypatch.setattr(machine.importlib, "import_module", import_module)
    with pytest.raises(NotHere, match=r"cuda\.bindings cannot be imported"):
        machine.test_memory(on_gpu, lambda outcome: None)
    monkeypatch.setattr(machine.importlib, "import_module", lambda name: None)
    with pytest.raises(Surprise, match=r"test_cuda_memory\.py: expected all .* got: \d+ skipped"):
        machine.test_memory(on_gpu, lambda outcome: None)


def test_memory_in_use_is_read_from_nvidia_smi(monkeypatch: pytest.MonkeyPatch) -> None:
    row = ["NVIDIA GeForce RTX 4090", "580.65.06", "8.9", "24564 MiB", "512 MiB"]
    monkeypatch.setattr(machine, "query_gpus", lambda: [row])
    assert machine.device_memory_mib() == 512.0
    monkeypatch.setattr(machine, "query_gpus", lambda: [[*row[:4], "[N/A]"]])
    assert machine.device_memory_mib() is None


@pytest.mark.slow
def test_made_up_weights_have_masks_that_a_fault_changes() -> None:
    """Empty masks would agree with anything."""
    model = lively_model()
    networks = on_torch(model, 256, "cpu", "float32", compiled=False)
    faulty = on_torch(model, 256, "cpu", "float32", compiled=False)
    attend = faulty.attend
    faulty.attend = lambda features, memories, *rest: attend(  # type: ignore[method-assign]
        features, [np.zeros_like(memory.numpy()) for memory in memories], *rest
    )
    checked = ("memory_attention", "mask_decoder", "mask_prompt")
    checks = compare_networks(networks, faulty, read_pictures()[:1], checked)
    by_name = {check.network: check for check in checks}
    assert by_name["memory_attention"].min_iou < 0.9
    assert all(check.passed for check in checks[1:])
    assert [check.cases for check in checks] == [3, 9, 6], "no mask of the right ones is empty"


# --- the program -----------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["all", "torch", "tensorrt"])
def test_without_a_gpu_it_says_so_and_makes_nothing(part: str, tmp_path: Path) -> None:
    if machine.find_driver() is not None:
        pytest.skip("there is an NVIDIA driver")
    ended = run_bench("gpu", "--part", part, "--out", tmp_path / "out")
    assert ended.returncode == 4
    assert ended.stderr == f"error: {machine.NO_GPU}\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--minutes", "0"], "--minutes 0: expected more than 0"),
        (["--frames", "0"], "--frames 0: expected at least 1"),
        (["--objects", "0"], "--objects 0: expected at least 1"),
        (["--device", "cpu"], "--device cpu: only with --part torch"),
        (["--size", "300"], "invalid choice"),
    ],
)
def test_wrong_use_is_one_line(
    arguments: list[str], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        program.parse_arguments(arguments)
    assert part in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_who_stops_it_stops_its_steps(tmp_path: Path) -> None:
    """They are processes in sessions of their own, on a GPU that others wait for."""
    work, out = tmp_path / "tmp", tmp_path / "out"
    work.mkdir()
    words = ("--part", "torch", "--device", "cpu", "--size", "256", "--out", str(out))
    with subprocess.Popen(
        [sys.executable, "-m", "bench.gpu", *words],
        cwd=REPO_ROOT,
        env={**os.environ, "TMPDIR": str(work)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as ended:
        wait_until(lambda: bool(steps_in(work)), "a step")
        ended.send_signal(signal.SIGTERM)
        assert ended.stderr is not None
        assert ended.stderr.read() == "error: stopped; what was done is in the report\n"
    assert ended.returncode == 128 + signal.SIGTERM
    assert steps_in(work) == []
    assert list(work.glob("samcam-gpu-*")) == []
    assert (out / report.LOG).is_file()


def steps_in(work: Path) -> list[int]:
    """Return the processes that work in a folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().decode(errors="replace")
        except OSError:
            continue  # it ended meanwhile
        if "bench.gpu.child" in words and str(work) in words:
            found.append(int(entry.parent.name))
    return found


@pytest.mark.long
def test_the_torch_part_runs_on_the_cpu(tmp_path: Path) -> None:
    """Every step of it but those that need a GPU, in real processes."""
    out = tmp_path / "out"
    ended = run_bench(
        "gpu",
        *("--part", "torch", "--device", "cpu", "--size", 256, "--frames", 12),
        *("--objects", 1, 2, "--minutes", 20, "--out", out),
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert sorted(p.name for p in out.iterdir()) == ["log.txt", "report.json", "report.md"]
    steps = json.loads((out / "report.json").read_text("utf-8"))["steps"]
    assert [(step["step"], step["status"]) for step in steps] == [
        ("packages", "done"),
        ("torch-answers", "done"),
        ("torch-256", "done"),
        ("torch-flat", "done"),
    ]
    ways = steps[2]["figures"]["times torch 256 px"]["frames"]
    assert {name for name, found in ways.items() if min(found.values()) > 0} == {
        f"{owner} {precision}"
        for owner in ("samcam", "transformers")
        for precision in ("float32", "bfloat16")
    }
    page = (out / "report.md").read_text("utf-8")
    assert "| image_encoder | 6 |" in page
    assert "torch 256 px bfloat16, beside float32" in (out / "log.txt").read_text("utf-8")
