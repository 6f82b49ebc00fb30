"""`python -m bench.endurance`: a long live run on the demo, watched from outside, then replayed.

Two objects, a recording, an effect, a video and masks, in real time; then Ctrl-C. Memory, threads
and open files are read from /proc every second (Linux only). The run passes if none of them grows,
if the program ends by itself in time and leaves no thread behind, and if the replay of the
recording gives the same masks bit for bit. Exit code 1 where it does not.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from bench.reports.environment import REPOSITORY
from bench.reports.report import faults_code
from samcam.live.sources.demo import demo_clicks
from samcam.system import prepare_streams

SIZE_WH: Final = (854, 480)
FPS: Final = 30
SAMPLE_S: Final = 1.0
END_S: Final = 30.0  # a Ctrl-C must be through by then
MAX_GROWTH: Final = 0.03  # of resident memory, between the second and the last quarter
LEFT_BEHIND: Final = "left behind"


@dataclass(frozen=True, slots=True)
class Sample:
    """The process at one moment: resident memory in MiB, number of threads and of open files."""

    rss_mib: float
    threads: int
    files: int


def command_line(out: Path) -> list[str]:
    """The command that a user would type for the live run."""
    prompts = [f"object={n} point={x},{y}" for n, (x, y) in sorted(demo_clicks(SIZE_WH).items())]
    return [
        *(sys.executable, str(REPOSITORY / "run_live.py")),
        *("--source", "demo", "--pace", "live", "--effect", "blur"),
        *(word for prompt in prompts for word in ("--prompt", prompt)),
        *("--record", str(out / "recording")),
        *("--output", f"video:{out / 'live.mp4'}", "--output", f"masks:{out / 'live_masks'}"),
        *("--set", f"source.demo_size=[{SIZE_WH[0]}, {SIZE_WH[1]}]"),
        *("--set", "source.demo_frames=0", "--set", f"source.fps={FPS}"),
    ]


def replay_line(out: Path) -> list[str]:
    return [
        *(sys.executable, str(REPOSITORY / "run_live.py")),
        *("--replay", str(out / "recording"), "--output", f"masks:{out / 'replay_masks'}"),
    ]


def read_sample(pid: int) -> Sample:
    """Read /proc for one process; OSError where it has ended, or there is no /proc."""
    folder = Path("/proc", str(pid))
    status = dict(
        line.split(":", 1) for line in (folder / "status").read_text().splitlines() if ":" in line
    )
    return Sample(
        rss_mib=int(status["VmRSS"].split()[0]) / 1024,
        threads=int(status["Threads"]),
        files=len(list((folder / "fd").iterdir())),
    )


def watch(child: subprocess.Popen[str], seconds: float) -> list[Sample]:
    """Sample a process until the time is over or it ends."""
    samples = []
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s and child.poll() is None:
        samples.append(read_sample(child.pid))
        time.sleep(SAMPLE_S)
    return samples


def growth(samples: Sequence[Sample]) -> list[str]:
    """Name what grew between the second and the last quarter of a run; the first warms up."""
    quarter = len(samples) // 4
    if quarter < 1:
        return [f"{len(samples)} samples, expected at least 4: the run was too short"]
    before, after = samples[quarter : 2 * quarter], samples[-quarter:]
    rss = [float(np.median([s.rss_mib for s in part])) for part in (before, after)]
    faults = []
    if rss[1] > rss[0] * (1 + MAX_GROWTH):
        faults.append(f"memory grew from {rss[0]:.0f} to {rss[1]:.0f} MiB")
    for what in ("threads", "files"):
        most = [max(getattr(s, what) for s in part) for part in (before, after)]
        if most[1] > most[0]:
            faults.append(f"{what} grew from {most[0]} to {most[1]}")
    return faults


def differing(live: Path, replay: Path) -> tuple[int, int]:
    """Return how many masks of the live run were compared, and how many the replay has otherwise.

    In live pace a sink that is late leaves pictures out, so the replay may have more.
    """
    names = sorted(path.name for path in live.glob("*.png"))
    other = sum(
        not (replay / n).is_file() or (live / n).read_bytes() != (replay / n).read_bytes()
        for n in names
    )
    return len(names), other


def run_live(out: Path, seconds: float) -> list[str]:
    """Do the live run; return what was wrong with it."""
    log = out / "live.log"
    with log.open("w") as errors:
        child = subprocess.Popen(
            command_line(out), cwd=REPOSITORY, stderr=errors, stdout=errors, text=True
        )
        try:
            samples = watch(child, seconds)
            child.send_signal(signal.SIGINT)
            code = child.wait(END_S)
        except subprocess.TimeoutExpired:
            return [f"did not end within {END_S:g} s of Ctrl-C, see {log}"]
        finally:
            child.kill()
    faults = growth(samples)
    if code != 128 + signal.SIGINT:
        faults.append(f"ended with code {code}, expected {128 + signal.SIGINT}, see {log}")
    if LEFT_BEHIND in log.read_text():
        faults.append(f"a thread was left behind, see {log}")
    if samples:
        rss = [s.rss_mib for s in samples]
        print(
            f"live run: {len(samples) * SAMPLE_S:.0f} s; memory {rss[len(rss) // 4]:.0f} MiB after "
            f"a quarter, {rss[-1]:.0f} MiB at the end, {max(rss):.0f} MiB at most; "
            f"{samples[-1].threads} threads, {samples[-1].files} open files"
        )
    print("\n".join(f"  {line}" for line in _summary(log)))
    return faults


def _summary(log: Path) -> list[str]:
    lines = log.read_text().splitlines()
    starts = [i for i, line in enumerate(lines) if line.startswith("summary:")]
    return lines[starts[-1] :][:6] if starts else ["no summary"]


def run_replay(out: Path) -> list[str]:
    """Replay the recording; return what was wrong with it."""
    log = out / "replay.log"
    with log.open("w") as errors:
        done = subprocess.run(replay_line(out), cwd=REPOSITORY, stderr=errors, stdout=errors)
    if done.returncode:
        return [f"the replay ended with code {done.returncode}, see {log}"]
    compared, other = differing(out / "live_masks", out / "replay_masks")
    print(f"replay: {compared} masks, {other} differ")
    if other or not compared:
        return [f"the replay's masks differ: {other} of {compared}"]
    return []


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.endurance", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--out", type=Path, default=Path("out/endurance"), metavar="DIR")
    options = parser.parse_args(arguments)
    if not options.minutes > 0:
        parser.error(f"--minutes {options.minutes:g}: expected more than 0")
    out: Path = options.out.resolve()
    if out.exists() and any(out.iterdir()):
        print(f"error: --out {out}: expected a new or empty folder", file=sys.stderr)
        return 2
    out.mkdir(parents=True, exist_ok=True)
    return faults_code(lambda: run_live(out, options.minutes * 60) or run_replay(out), {})


if __name__ == "__main__":
    prepare_streams()
    sys.exit(main())
