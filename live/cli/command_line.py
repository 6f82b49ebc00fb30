"""The command line: reads the arguments, runs the program, turns errors into exit codes."""

from __future__ import annotations

import argparse
import os
import re
import shlex
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NoReturn

from samcam.engines import BACKENDS, EngineError
from samcam.live.cli import start
from samcam.live.config import Request
from samcam.live.effects import EFFECT_NAMES
from samcam.live.errors import CaptureError, ConfigError, SinkError
from samcam.live.profiles import TEXT_KEYS, load_profile
from samcam.live.tracker import GUIDES, NO_GUIDE, PRESETS
from samcam.system import VERSION, Interrupts, complain, memory_problem, program
from samcam.system.files import NoHomeError, expand_user, one_line

EXIT_CODES: dict[type[Exception], int] = {
    ConfigError: 2,
    CaptureError: 3,
    EngineError: 4,
    SinkError: 5,
    NoHomeError: 2,
}
SOURCE_HELP = (
    "camera index or part of its name, video file, picture, folder of pictures, rtsp:// or "
    "http:// URL, or demo (0)"
)
PROMPT_HELP = (
    "point=X,Y neg=X,Y box=X1,Y1,X2,Y2 mask=FILE.png [image=FILE] bbox_txt=FILE object=ID "
    "frame=N, separated by spaces, in pixels of the source; or @FILE.jsonl; repeatable"
)
OUTPUT_HELP = (
    "window, virtualcam[:DEVICE], video:FILE.mp4, masks:DIR[?format=png|coco|mot] (several with "
    "commas) or none; repeatable (window where there is a display)"
)
_OPTIONS_OF_PATHS: Final = frozenset(
    ("--source", "--model", "--record", "--replay", "--metrics", "--config", "--suggest")
)
SUGGEST_HELP = "propose objects for a picture, each of a folder, or a video's first frame; exit"
PACE_HELP = (
    "live: newest frame wins; all: every frame, in order; recorded: with --replay, exactly the "
    "frames that were processed"
)


class _Parser(argparse.ArgumentParser):
    """Raises `ConfigError` where argparse would print its usage and exit."""

    words: Sequence[str] = ()  # what is parsed

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}{self._dash_hint(message)}; see --help")

    def _dash_hint(self, message: str) -> str:
        """Return how to write a value that begins with a dash; "" where there is none."""
        option = re.match(r"argument (--[\w-]+): expected one argument", message)
        if option is None:
            return ""
        name = option[1]
        values = [value for word, value in pairwise(self.words) if word == name]
        value = next((value for value in values if value.startswith("-")), "")
        if not value or value.partition("=")[0] in self._option_string_actions:
            return ""
        place = "./" if name in _OPTIONS_OF_PATHS else ""
        written = shlex.quote(f"{name}={place}{value}")
        return f"; a value that begins with a dash is written {written}"


def _path(text: str) -> Path:
    """Return a path with ~ expanded, as no shell does in `--record=~/DIR`."""
    try:
        return expand_user(text)
    except NoHomeError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _file(text: str) -> Path:
    """Return the path of a file to write; `Path` would forget a slash at the end."""
    if not text or os.path.basename(text) in ("", ".", ".."):
        raise argparse.ArgumentTypeError(f"{text!r}: expected the name of a file")
    return _path(text)


def build_parser() -> _Parser:
    """Return the parser of SPEC's options."""
    name = program()
    parser = _Parser(
        prog=name,
        description="Click any object in a live picture: it is tracked and masked, frame by frame.",
        epilog=f"{name} ctl --help: how to control a run under way",
        allow_abbrev=False,
    )
    add = parser.add_argument
    repeated = partial(add, action="append", default=[])
    add("--profile", metavar="NAME", help="start as saved: source, model, preset, effect, objects")
    add("--source", metavar="SRC", help=SOURCE_HELP)
    add("--model", help="nano, sam2.1-SIZE[@512], or a model folder (nano)")
    add("--backend", default="auto", metavar="NAME", help=f"{' | '.join(BACKENDS)} (auto)")
    add("--preset", metavar="NAME", help=f"{' | '.join(PRESETS)} (default)")
    add("--guide", metavar="NAME", help=f"{' | '.join(GUIDES)}: tracker.guide ({NO_GUIDE})")
    repeated("--prompt", dest="prompts", metavar="SPEC", help=PROMPT_HELP)
    repeated("--output", dest="outputs", metavar="SINK", help=OUTPUT_HELP)
    add("--effect", metavar="NAME", help=f"{' | '.join(EFFECT_NAMES)} (highlight)")
    add("--pace", metavar="NAME", help=PACE_HELP)
    add("--smooth", action="store_true", help="show every frame, masks carried by motion (live)")
    add("--loop", action="store_true", help="start a file again at its end")
    add("--record", type=_path, metavar="DIR", help="record the run, in a new or empty folder")
    add("--replay", type=_path, metavar="DIR", help="run a recording again")
    add("--metrics", type=_file, metavar="FILE.jsonl", help="append one row per processed frame")
    add("--config", type=_path, metavar="FILE", help="settings (config.yaml where there is one)")
    repeated("--set", dest="overrides", metavar="KEY=VALUE", help="change one setting")
    add("--check-config", action="store_true", help="check the settings and exit")
    add("--list-cameras", action="store_true", help="list the cameras and exit")
    add("--doctor", action="store_true", help="check what a run needs, say what to do, and exit")
    add("--save-profile", metavar="NAME", help="save a profile when the run ends")
    add("--list-profiles", action="store_true", help="list the saved profiles and exit")
    add("--suggest", type=_file, metavar="FILE.json", help=SUGGEST_HELP)
    add("--version", action="version", version=f"samcam {VERSION}")
    return parser


def parse(argv: Sequence[str]) -> Request:
    """Parse the command line.

    Raises:
        ConfigError: An unknown option or a missing value.
    """
    parser = build_parser()
    parser.words = argv
    given = parser.parse_args(argv)
    saved = None if given.profile is None else load_profile(given.profile)
    # What is given wins over the profile, and that over the defaults.
    chosen = {} if saved is None else {key: getattr(saved, key) for key in TEXT_KEYS}
    chosen.update({key: vars(given)[key] for key in TEXT_KEYS if vars(given)[key] is not None})
    rest: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in vars(given).items()
        if key not in TEXT_KEYS
    }
    written = frozenset(word.partition("=")[0] for word in argv if word.startswith("--"))
    return Request(**chosen, **rest, saved=saved, given=written)


def _lines(error: Exception) -> Sequence[str]:
    """Return an error as one line per problem, whatever line ends a value has."""
    if isinstance(error, ConfigError):
        return error.problems
    if isinstance(error, EngineError):  # the table of a self-check, among others
        return str(error).splitlines()
    return [str(error)]


def run_command_line(argv: Sequence[str], interrupts: Interrupts) -> int:
    """Run the program and return its exit code.

    Raises:
        Interrupted: A signal came before the run was under way, or a second one.
        Exception: A bug, or too little memory.
    """
    try:
        code = start.run(parse(argv), interrupts)
        interrupts.raise_lost()
        return code
    except tuple(EXIT_CODES) as error:
        if interrupts.raised or memory_problem(error) is not None:
            raise  # it is not what it looks like; the caller says so
        for line in _lines(error):
            complain(f"error: {one_line(line)}")
        return next(code for kind, code in EXIT_CODES.items() if isinstance(error, kind))
