"""The programs in simple_examples/ run as they stand, each as a process; mypy reads them too."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from samcam.live.sources.demo import DemoSource
from tests.conftest import REPO_ROOT
from tests.helpers.bounds import RUN_TIMEOUT_S
from tests.project.test_project import pyproject

EXAMPLES = REPO_ROOT / "simple_examples"
FRAMES = 4
BOX = "24 113 124 213"  # the gear in a demo of this size
SIZE_WH = (427, 240)


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a few pictures of the demo."""
    folder = tmp_path_factory.mktemp("frames")
    source = DemoSource(SIZE_WH, 30.0, FRAMES)
    while (frame := source.read()) is not None:
        cv2.imwrite(str(folder / f"{frame.index:05d}.png"), frame.image_bgr)
    return folder


def run(name: str, *words: str, cwd: Path, code: int = 0) -> list[str]:
    """Run an example in a folder; returns the lines that it prints, of errors where one is due."""
    command = [sys.executable, str(EXAMPLES / name), *words]
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False
    )
    assert done.returncode == code, done.stderr
    return (done.stderr if code else done.stdout).splitlines()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("folder.py",), "the following arguments are required: frames, masks, x1"),
        (("folder.py", "none", "masks", "1", "2", "3", "4"), "none"),
        (("folder.py", ".", "masks", "1", "2", "3", "4"), "no pictures in this folder"),
        (("folder.py", "demo.png", "masks", "1", "2", "x", "4"), "invalid float value: 'x'"),
        (("webcam.py", "demo", "1"), "expected 2, got 1"),
        (("webcam.py", "none.mp4", "1", "2"), "no such file or folder"),
        (("own_gate.py", "demo", "1", "2", "3"), "missing 1 required positional argument"),
        (("own_backend.py", "none.mp4"), "no such file or folder"),
    ],
)
def test_wrong_words(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    lines = run(*words, cwd=tmp_path, code=2)
    assert lines[0].startswith("usage: ")
    assert said in lines[-1]


def test_names_of_one_stem_and_their_order(frames: Path, tmp_path: Path) -> None:
    """a.png and a.jpg are two pictures, 10 comes after 9, and what cannot be written is said."""
    image = cv2.imread(str(frames / "00000.png"))
    assert image is not None
    for name in ("a.png", "a.jpg", "9.png", "10.png"):
        (tmp_path / "in").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "in" / name), image)
    assert len(run("folder.py", "in", "masks", *BOX.split(), cwd=tmp_path)) == 4
    assert len([*(tmp_path / "masks").iterdir()]) == 4
    (tmp_path / "blocked" / "00002.png").mkdir(parents=True)
    (line,) = run("folder.py", "in", "blocked", *BOX.split(), cwd=tmp_path, code=1)[-1:]
    assert "00002.png: cannot be written" in line


def test_webcam(frames: Path, tmp_path: Path) -> None:
    lines = run("webcam.py", str(frames), "74", "163", cwd=tmp_path)
    assert [line.split()[:2] for line in lines] == [[str(i), "tracking"] for i in range(FRAMES)]


def test_folder(frames: Path, tmp_path: Path) -> None:
    lines = run("folder.py", str(frames), "masks", *BOX.split(), cwd=tmp_path)
    assert [line.split()[:2] for line in lines] == [
        [f"{i:05d}.png", "tracking"] for i in range(FRAMES)
    ]
    for path in frames.iterdir():
        mask = cv2.imread(str(tmp_path / "masks" / path.name), cv2.IMREAD_UNCHANGED)
        assert mask is not None
        assert mask.shape == SIZE_WH[::-1]
        assert set(np.unique(mask)) == {0, 255}
        assert (mask > 0)[113:213, 24:124].mean() > 0.3


def test_own_gate(frames: Path, tmp_path: Path) -> None:
    """What the tracker says of the motion is its answer, from the second step on."""
    lines = run("own_gate.py", str(frames), *BOX.split(), cwd=tmp_path)
    agreed = [line.split()[2] for line in lines]
    assert len(agreed) == FRAMES
    assert agreed[0] == "None"
    assert all(0.5 < float(word) <= 1 for word in agreed[1:])


def test_own_backend(frames: Path, tmp_path: Path) -> None:
    lines = run("own_backend.py", str(frames), *BOX.split(), cwd=tmp_path)
    assert [line.split()[:2] for line in lines] == [[str(i), "tracking"] for i in range(FRAMES)]
    assert all(re.search(r"encode \d+\.\d attend", line) for line in lines)


def test_examples_are_short_checked_and_listed() -> None:
    assert "simple_examples" in pyproject()["tool"]["mypy"]["packages"]
    page = (REPO_ROOT / "docs" / "python_api.md").read_text(encoding="utf-8")
    for path in EXAMPLES.glob("[a-z]*.py"):
        assert f"simple_examples/{path.name}" in page
        imports = re.findall(r"^(?:from|import) (samcam[\w.]*)", path.read_text(), re.M)
        assert set(imports) <= {"samcam", "samcam.engines", "samcam.kalman"}, path
    (webcam,) = EXAMPLES.glob("webcam.py")
    body = webcam.read_text(encoding="utf-8").split('"""', 2)[2]
    assert len([line for line in body.splitlines() if line.strip()]) <= 32
