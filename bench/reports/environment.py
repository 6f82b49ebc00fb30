"""Where figures were taken: commit, processor, versions, model. Part of every report."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from samcam.engines import MANIFEST_NAME, file_sha256, find_model

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("onnxruntime", "opencv-python", "numpy", "av")
GIT_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class Environment:
    """What a figure depends on besides the program.

    Attributes:
        commit: Short hash, with "+" where tracked files differ from it.
        cpu: Processor name and usable cores.
        versions: Python and the packages that compute.
    """

    commit: str
    cpu: str
    versions: str

    def lines(self) -> tuple[str, ...]:
        return (f"commit {self.commit}", self.cpu, self.versions)


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(REPOSITORY), *arguments],
            capture_output=True,
            text=True,
            timeout=GIT_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None  # an installed copy has no history; the report then says "unknown"
    return done.stdout.strip()


def _commit() -> str:
    short = _git("rev-parse", "--short=10", "HEAD")
    if short is None:
        return "unknown (not a git checkout)"
    return short + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")


def _cpu() -> str:
    name = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    except OSError:
        pass  # not Linux: the platform's own name stands
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} cores, {platform.system()}"


def _versions() -> str:
    found = [f"Python {platform.python_version()}"]
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue  # an optional runtime
    return ", ".join(found)


def describe_environment() -> Environment:
    return Environment(_commit(), _cpu(), _versions())


def model_line(name: str) -> str:
    """Name a model with the first digits of its manifest's SHA-256; that names all its files.

    Raises:
        EngineError: There is no such model.
    """
    manifest = find_model(name) / MANIFEST_NAME
    return f"model {name}, manifest {file_sha256(manifest)[:12]}"
