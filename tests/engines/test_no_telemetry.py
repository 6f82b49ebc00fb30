"""Nothing is collected: ONNX Runtime writes neither a device's number nor events."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPO_ROOT
from tests.helpers.bounds import RUN_TIMEOUT_S

OPEN_A_MODEL = """
from pathlib import Path
from samcam.engines.onnxruntime import import_onnxruntime
graph = sorted(Path("engines/nano").glob("*.onnx"))[0]
import_onnxruntime().InferenceSession(str(graph), providers=["CPUExecutionProvider"])
"""


@pytest.mark.parametrize("code", [OPEN_A_MODEL, "import samcam.export, onnxruntime"])
def test_the_home_folder_stays_empty(code: str, tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if "TELEMETRY" not in key}
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        environment.pop(name, None)
    subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPO_ROOT,
        env={**environment, "HOME": str(tmp_path)},
        check=True,
        timeout=RUN_TIMEOUT_S,
    )
    assert list(tmp_path.rglob("*")) == []
