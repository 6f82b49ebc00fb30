"""Checks which options --record and --replay exclude."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from samcam.live.config import Request
from samcam.live.errors import ConfigError
from samcam.live.sinks import output_path
from samcam.system.files import resolved

_WHY_NOT = {
    "--prompt": "its prompts are the recorded ones",
    "--config": "its settings are the recorded ones; change single ones with --set",
    "--profile": "its source, model and objects are the recorded ones",
    "--suggest": "a replay tracks; give the picture with --source instead",
    "--loop": "it has the frames that were recorded",
    "--record": "record the original run instead",
}


def check_recording_options(request: Request) -> None:
    """Refuse options that exclude each other.

    Raises:
        ConfigError: All problems at once.
    """
    problems: list[str] = []
    if request.record is not None and request.suggest is not None:
        problems.append("--record: not with --suggest: nothing is tracked there")
    if request.replay is None:
        if request.pace == "recorded":
            problems.append("--pace recorded: expected with --replay DIR only")
    else:
        shown = f"--replay {request.replay}"
        problems += [
            f"{option}: not with {shown}: {why}"
            for option, why in _WHY_NOT.items()
            if option in request.given
        ]
        problems += [
            f"--set {text}: not with {shown}: its source is the recorded one"
            for text in request.overrides
            if text.strip().startswith("source.")
        ]
    for option, folder in (("--record", request.record), ("--replay", request.replay)):
        if folder is not None:
            problems += _inside(option, folder, request)
    if problems:
        raise ConfigError(problems)


def _inside(option: str, folder: Path, request: Request) -> Iterator[str]:
    """Give the problem of every output that would be written into a recording's folder."""
    targets = {} if request.metrics is None else {f"--metrics {request.metrics}": request.metrics}
    for text in request.outputs:
        written = output_path(text)
        if written is not None:
            targets[f"--output {text}"] = written
    for what, path in targets.items():
        if resolved(path).is_relative_to(resolved(folder)):
            yield f"{what}: this is in the folder of {option} {folder}; expected another place"
