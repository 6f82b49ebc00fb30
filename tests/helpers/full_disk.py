"""A sink on a disk that fills up: in a process of its own, with a limit of its files' size."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.conftest import REPO_ROOT
from tests.helpers.bounds import RUN_TIMEOUT_S

PROGRAM = """
import resource, signal, sys
from pathlib import Path
from samcam.live.errors import SinkError
path = Path(sys.argv[1])
{setup}
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit},) * 2)
try:
    for i in range(1000):
        sink.put({picture})
except SinkError as error:
    print(error)
sink.close()
"""


def fill_disk(path: Path, limit: int, setup: str, picture: str) -> subprocess.CompletedProcess[str]:
    """Put pictures into a sink until no file may grow any more; its error goes to stdout.

    Args:
        path: `path` of `setup`.
        limit: Of every file, in bytes.
        setup: Program text that makes `sink`.
        picture: Program text of picture `i`.
    """
    code = PROGRAM.format(setup=setup, limit=limit, picture=picture)
    return subprocess.run(
        [sys.executable, "-c", code, str(path)],
        cwd=REPO_ROOT,
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
        check=True,
    )
