"""Commands for hints, in the form in which SamCam was started and installed here.

SamCam runs from a checkout (`python run_live.py`), as the command `samcam` that pip or uv wrote, as
`python -m samcam`, and in the temporary environment of `uvx samcam`. A hint can be pasted, so it
names what is really there. Cheap to import: `ctl` answers a key press.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Final

_PROGRAM_FILE: Final = "run_live.py"
_NAME: Final = "samcam"
_EXPORTER: Final = "export"  # in a checkout's folder; elsewhere inside of the package
_CHECKOUT_FILES: Final = (_PROGRAM_FILE, "pyproject.toml")  # a wheel has neither
_UV_CACHE: Final = "archive-v"  # and a number: uv's folder with the environments of one run
_PLAIN: Final = re.compile(r"[\w./:+-]+")  # what no shell takes apart
_UV_TOOL: Final = "uv-receipt.toml"  # in the environments of `uv tool install`


def checkout() -> Path | None:
    """Return the folder of the checkout that this code runs from; None for an installed copy."""
    folder = Path(os.path.realpath(__file__)).parents[1]
    return folder if all((folder / name).is_file() for name in _CHECKOUT_FILES) else None


def program() -> str:
    """Return the command that starts SamCam, as this process was started.

    A process that is another program (a test, a notebook) gets the usual one of its installation.
    """
    if _is_uvx():
        return f"uvx {_NAME}"
    started = Path(sys.argv[0] if sys.argv else "")
    if started.name == "__main__.py" and started.parent.name == _NAME:
        return f"{_python()} -m {_NAME}"
    if started.name.removesuffix(".exe") == _NAME or checkout() is None:
        return _NAME
    if started.name == _PROGRAM_FILE and (folder := _elsewhere()) is not None:
        return f"python {_quoted(folder / _PROGRAM_FILE)}"
    return f"python {_PROGRAM_FILE}"


def exporter(part: str = "") -> str:
    """Return the command that starts the exporter, or `part` of it such as `build_tensorrt`; the
    short one in the checkout's folder only."""
    here = checkout() is not None and _elsewhere() is None
    module = _EXPORTER if here else f"{_NAME}.{_EXPORTER}"
    return f"{_python()} -m {module}" + (f".{part}" if part else "")


def with_exporter(text: str | None) -> str:
    """Return a module's docstring as a help text: `python -m export` is what it is here."""
    return (text or "").replace(f"python -m {_EXPORTER}", exporter())


def install(extra: str = "") -> str:
    """Return the command that installs SamCam with an extra, or the dependencies it lacks."""
    extras = f"[{extra}]" if extra else ""
    wheel = f'"{_NAME}{extras}"' if extra else _NAME
    if _is_uvx():
        return f"uvx --with {wheel} {_NAME}" if extra else f"uvx --reinstall {_NAME}"
    folder = checkout()
    away = _elsewhere()
    place = "." if away is None else str(away)
    here = f'"{place}{extras}"' if extra else _quoted(Path(place))
    if _is_uv_tool():
        return f"uv tool install --force {wheel if folder is None else f'-e {here}'}"
    if folder is None:
        return f"{_pip()} install {wheel}"
    limits = _quoted(Path(place, "constraints.txt"))
    return f"{_pip()} install -c {limits} -e {here}"


def reinstall() -> str:
    """Return the command that writes SamCam's own files again."""
    if _is_uvx():
        return f"uvx --reinstall {_NAME}"
    if _is_uv_tool():
        return f"uv tool install --reinstall {_NAME}"
    again = f"--reinstall-package {_NAME}" if _pip() != "pip" else "--force-reinstall --no-deps"
    return f"{_pip()} install {again} {_NAME}"


def install_also(package: str) -> str:
    """Return the command that installs a package beside SamCam."""
    if not (_is_uvx() or _is_uv_tool()):
        return f"{_pip()} install {package}"
    return f'uv pip install --python "{sys.executable}" {package}'


def install_over(package: str) -> str:
    """Return the command that writes a package's files again, over whatever is there."""
    again = "--force-reinstall" if _pip() == "pip" else "--reinstall"
    return install_also(f"{again} --no-deps {package}")


def exchange(package: str, other: str, version: str) -> str:
    """Return the commands that put another package over one whose folder it shares.

    The one stays installed beneath, in the same version, for whoever requires it.
    """
    return f"{install_also(f'{package}=={version}')} && {install_over(f'{other}=={version}')}"


def _elsewhere() -> Path | None:
    """Return the folder of the checkout where that is not the current one: a hint names it."""
    folder = checkout()
    try:
        return None if folder is None or os.path.samefile(".", folder) else folder
    except OSError:  # the current folder is gone
        return folder


def _quoted(path: Path) -> str:
    """Return a path as it is pasted into a shell."""
    return str(path) if _PLAIN.fullmatch(str(path)) else f'"{path}"'


def _python() -> str:
    if _is_uvx():
        return f"uvx --from {_NAME} python"
    return f'"{sys.executable}"' if _is_uv_tool() else "python"


def _pip() -> str:
    """Return pip's command; environments that uv made have no pip inside."""
    return "uv pip" if _is_made_by_uv() else "pip"


def _is_uvx() -> bool:
    folder = os.path.basename(os.path.dirname(sys.prefix))
    return folder.startswith(_UV_CACHE) and _is_made_by_uv() and not _is_uv_tool()


def _is_uv_tool() -> bool:
    return os.path.isfile(os.path.join(sys.prefix, _UV_TOOL))


def _is_made_by_uv() -> bool:
    try:
        text = Path(sys.prefix, "pyvenv.cfg").read_text(encoding="utf-8", errors="replace")
    except OSError:  # no virtual environment
        return False
    return any(line.partition("=")[0].strip() == "uv" for line in text.splitlines())
