"""Reads a recording: what was run, its frames and its commands."""

from __future__ import annotations

import logging
from array import array
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from samcam.engines import BACKENDS, MANIFEST_NAME, EngineError, file_sha256, find_model
from samcam.live.commands import SaveProfile, SetEffect
from samcam.live.config import Request, flat, known_keys, load_settings, new_name, read_settings
from samcam.live.control import CommandScript, ScriptedCommand
from samcam.live.effects import EFFECT_NAMES
from samcam.live.errors import CaptureError, ConfigError
from samcam.live.frames import Prompt
from samcam.live.recording.fingerprint import difference
from samcam.live.recording.header import (
    COMMANDS_FILE,
    HEADER_FILE,
    STEPS_FILE,
    CommandRow,
    Header,
    SourceRecord,
    StepRow,
    read_header,
)
from samcam.live.recording.named_files import (
    HOTKEYS,
    check_model_folder,
    names_other_files,
    trusted_settings,
)
from samcam.live.recording.rules import before_rules, preset_of
from samcam.live.recording.sources import RecordedPictures, RecordedSteps, ReplaySource
from samcam.live.recording.values import Arrays, check_effect, decode_command
from samcam.live.sources import SourceOptions, VideoSource, open_source
from samcam.live.tracker import PRESETS
from samcam.system import read_model
from samcam.system.files import (
    is_file,
    is_folder,
    lenient_path,
    one_line,
    read_json,
    read_rows,
    reason_of,
    resolved,
)

_LONGEST_VERSION: Final = 40
_LONGEST_WORD: Final = 40

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """A recording, read and checked; its source is opened by `open_source`.

    Attributes:
        folder: Where it is.
        header: What was run.
        steps: The processed frames.
        prompts: The command line's.
        commands: In the order in which they took effect.
    """

    folder: Path
    header: Header
    steps: RecordedSteps
    prompts: tuple[Prompt, ...]
    commands: tuple[ScriptedCommand, ...]

    @classmethod
    def open(cls, folder: Path) -> Recording:
        """Read a recording.

        Raises:
            CaptureError: There is none, it is damaged, or it has no step.
        """
        if not is_file(folder / HEADER_FILE):
            raise CaptureError(
                f"--replay {folder}: no {HEADER_FILE} there; expected a folder that --record wrote"
            )
        try:
            header = _with_settings(read_header(folder))
            steps = _read_steps(folder)
            arrays = Arrays(folder)
            prompts = tuple(_read_prompts(header, arrays))
            commands = tuple(_read_commands(folder, arrays, steps, header.source.size_wh))
        except (ValueError, OverflowError, OSError) as error:
            raise CaptureError(
                f"--replay {folder}: {reason_of(error)}; made by version {header_version(folder)}"
            ) from error
        if not steps.frames:
            lost = f"{STEPS_FILE} holds none of its {header.steps} steps; expected them"
            why = lost if header.steps else "no frame was processed: nothing to replay"
            raise CaptureError(f"--replay {folder}: {why}")
        _compare_steps(header, len(steps.frames))
        if header.pictures_dropped:
            _log.info(
                "replay: %d frames were dropped before they were tracked, for want of an encoder "
                "fast enough",
                header.pictures_dropped,
            )
        return cls(folder, header, steps, prompts, commands)

    def request(self, request: Request) -> Request:
        """Fill in from the recording whatever the request does not set.

        Raises:
            CaptureError: The recording has a backend, preset or effect that this version has not,
                or needs a file that is not the recorded one.
            EngineError: The model folder that it names is not the recorded one.
        """
        header, given = self.header, request.given
        self._check_words(given)
        if "--model" not in given:
            try:
                check_model_folder(header.model, header.manifest_sha256)
            except EngineError as error:
                raise EngineError(f"--replay {self.folder}: {error}") from error
        settings = self._settings(request)
        rules = None
        if "--preset" not in given and header.rules is not None:
            try:
                rules = preset_of(header.preset, header.rules)
            except ValueError as error:
                raise CaptureError(
                    f"--replay {self.folder}: {HEADER_FILE}: {error} (made by version "
                    f"{shown_version(header.version)}); to use the rules of this one: --preset "
                    f"{header.preset}"
                ) from error
        return replace(
            request,
            source=self._place(request),
            model=request.model if "--model" in given else header.model,
            backend=request.backend if "--backend" in given else header.backend,
            preset=request.preset if "--preset" in given else header.preset,
            effect=request.effect if "--effect" in given else header.effect,
            pace=request.pace or "recorded",
            recorded=settings,
            foreign_hotkeys=HOTKEYS not in _chosen(request),
            rules=rules,
        )

    def _settings(self, request: Request) -> dict[str, object]:
        """Return the recorded settings that `--set` leaves, without what may not be opened."""
        effect = request.effect if "--effect" in request.given else self.header.effect
        own = self.header.settings.get("effect.per_object")
        effects = [effect, *(own.values() if isinstance(own, dict) else ())]
        commands = (item.command for item in self._scripted(request))
        effects += [one.name for one in commands if isinstance(one, SetEffect)]
        given = _chosen(request)
        settings, files = dict(self.header.settings), self.header.files
        today = "--preset" in request.given or self.header.rules is not None
        if not today:
            settings |= before_rules(self.header.preset, settings, given)
        needed = "replace" in effects or None in effects  # None: the next one, by turns
        try:
            trusted, left_out = trusted_settings(settings, files, given, needed)
        except ValueError as error:
            raise CaptureError(f"--replay {self.folder}: {error}") from error
        for line in left_out:
            _log.warning("replay: %s", line)
        recorded = {key: value for key, value in trusted.items() if key not in given}
        try:
            load_settings(None, given=recorded)
        except ConfigError as error:
            shown = f"{HEADER_FILE}: settings: {error.problems[0]}"
            raise CaptureError(f"--replay {self.folder}: {shown}") from error
        return recorded

    def _scripted(self, request: Request) -> Iterator[ScriptedCommand]:
        """Give the recorded commands, without changes of the effect where `--effect` is given."""
        for item in self.commands:
            if not ("--effect" in request.given and isinstance(item.command, SetEffect)):
                yield item

    def _check_words(self, given: Collection[str]) -> None:
        words = (
            ("backend", self.header.backend, BACKENDS),
            ("preset", self.header.preset, PRESETS),
            ("effect", self.header.effect, EFFECT_NAMES),
        )
        for name, word, known in words:
            if f"--{name}" not in given and word not in known:
                raise CaptureError(
                    f"--replay {self.folder}: recorded with {name} {word[:_LONGEST_WORD]}, which "
                    "this version does not have (made by version "
                    f"{shown_version(self.header.version)}); choose one with "
                    f"--{name} {' | '.join(known)}"
                )

    def check_model(self, model: str, version: str) -> None:
        """Warn where the recorded model's files, or the program, have changed.

        Args:
            model: The one in use; another than the recorded one was chosen on purpose: no warning.
            version: Of this program.

        Raises:
            EngineError: There is no such model, or it is damaged.
        """
        try:
            now = file_sha256(find_model(model) / MANIFEST_NAME)
        except OSError as error:
            raise EngineError(
                f"model {model}: {MANIFEST_NAME} cannot be read: {error.strerror}; expected a "
                "whole model folder"
            ) from error
        same = self.header.model in (model, str(resolved(lenient_path(model))))
        if same and now != self.header.manifest_sha256:
            _log.warning(
                "replay: model %s is not the recorded one (manifest %s..., recorded %s...): the "
                "masks will differ",
                model,
                now[:12],
                self.header.manifest_sha256[:12],
            )
        if version != self.header.version:
            _log.warning(
                "replay: recorded by version %s, this is %s: the masks may differ",
                shown_version(self.header.version),
                version,
            )

    def open_source(
        self, place: str, options: SourceOptions, exact: bool, chosen: bool = False
    ) -> VideoSource:
        """Open the frames of the recording.

        Args:
            place: Where the recorded file or folder is now.
            options: As recorded.
            exact: Only the frames that were processed.
            chosen: Whether the user named the place, not the recording.

        Raises:
            CaptureError: The source is missing, or is not the recorded one.
        """
        record = self.header.source
        source: VideoSource
        if record.pictures is not None:
            source = RecordedPictures(self.folder, record, options.max_megapixels)
        else:
            if record.path is not None:
                self._check_source(record, lenient_path(place), chosen)
            again = replace(options, repeat_picture=record.repeated, loop=record.looped)
            source = open_source(place, again)
        return ReplaySource(source, self.steps, exact)

    def script(self, request: Request) -> CommandScript:
        """Return the recorded commands; without changes of the effect where `--effect` is given."""
        commands = list(self._scripted(request))
        return CommandScript(commands, self.steps.frames, request.pace == "recorded")

    def _place(self, request: Request) -> str:
        record = self.header.source
        if "--source" not in request.given:
            return record.path or record.name
        if record.path is None:
            raise ConfigError(
                f"--source {request.source}: not with --replay {self.folder}, which needs no file: "
                f"it was recorded from {record.name} ({record.kind})"
            )
        return request.source

    def _check_source(self, record: SourceRecord, path: Path, chosen: bool) -> None:
        """Refuse a file or folder that is missing or not the recorded one.

        Args:
            chosen: Whether the user named it, not the recording.
        """
        recorded = record.fingerprint
        if recorded is None:
            return
        try:
            found = difference(recorded, path)
            lists = not found and not is_folder(path) and names_other_files(path)
        except OSError as error:
            raise CaptureError(
                f"--replay {self.folder}: its source was {record.path}, which cannot be read now"
                f"{'' if str(path) == record.path else f', nor can {path}'}: "
                f"{reason_of(error)}; say where it is with --source PATH"
            ) from error
        if found:
            raise CaptureError(
                f"--replay {self.folder}: source {path} is not the recorded one{found}; say where "
                "the recorded one is with --source PATH"
            )
        if lists and not chosen:
            raise CaptureError(
                f"--replay {self.folder}: its source was {path}, a list of other files, which a "
                "recording may not have opened; to open them, name it with --source"
            )


def shown_version(version: str) -> str:
    """Return an untrusted version text, short and without terminal codes."""
    return one_line(version[:_LONGEST_VERSION])


def header_version(folder: Path) -> str:
    """Return the version of the program that wrote a recording, or "unknown"."""
    try:
        row = read_json(folder / HEADER_FILE, follow=False)
    except (ValueError, OSError):
        return "unknown"
    version = row.get("version") if isinstance(row, dict) else None
    return shown_version(version) if isinstance(version, str) else "unknown"


def _chosen(request: Request) -> dict[str, object]:
    """Return what the command line sets, by key; None also for a value that does not fit."""
    values = flat(read_settings(None, request.overrides, request.options).settings)
    keys = [text.partition("=")[0].strip() for text in request.overrides]
    keys += [key for some in request.options.values() for key in some]
    return {key: values.get(key) for key in keys}


def _with_settings(header: Header) -> Header:
    """Return a header with its settings under their present names."""
    settings = {new_name(key): value for key, value in header.settings.items()}
    unknown = [key for key in settings if key not in known_keys()]
    if unknown:
        raise ValueError(
            f"{HEADER_FILE}: settings.{unknown[0][:_LONGEST_WORD]}: unknown to this version; "
            "expected the keys of its configuration"
        )
    return replace(header, settings=settings)


def _read_steps(folder: Path) -> RecordedSteps:
    frames, times_ns = array("q"), array("q")
    for number, data in enumerate(read_rows(folder / STEPS_FILE)):
        try:
            row = read_model(StepRow, data)
            if row.step != number or (frames and row.frame <= frames[-1]):
                raise ValueError("steps are missing before it")
        except ValueError as error:
            raise ValueError(f"{STEPS_FILE}, line {number + 1}: {error}") from error
        frames.append(row.frame)
        times_ns.append(row.time_ns)
    return RecordedSteps(frames, times_ns)


def _read_commands(
    folder: Path, arrays: Arrays, steps: RecordedSteps, size_wh: tuple[int, int]
) -> list[ScriptedCommand]:
    found = []
    for number, data in enumerate(read_rows(folder / COMMANDS_FILE), 1):
        try:
            row = read_model(CommandRow, data)
            command = decode_command(row.command, arrays)
            if isinstance(command, SaveProfile):  # it would write where the recording says
                raise ValueError("command SaveProfile: expected another; no recording has it")
            check_effect(command)
            if isinstance(command, Prompt):
                command.fitted(size_wh)
        except ValueError as error:
            raise ValueError(f"{COMMANDS_FILE}, line {number}: {error}") from error
        frame = steps.frames[row.step] if row.step < len(steps.frames) else None
        found.append(ScriptedCommand(command, row.step, frame))
    return found


def _compare_steps(header: Header, found: int) -> None:
    """Log how many steps there are, unless they are all of the run."""
    if not header.complete:
        _log.warning("replay: the run was cut off: %d steps can be replayed", found)
    elif header.steps not in (None, found):
        _log.warning(
            "replay: the run had %d steps, but %s has %d: these can be replayed",
            header.steps,
            STEPS_FILE,
            found,
        )


def _read_prompts(header: Header, arrays: Arrays) -> Iterator[Prompt]:
    for number, row in enumerate(header.prompts):
        try:
            command = decode_command(row, arrays)
            if not isinstance(command, Prompt):
                raise ValueError(f"command {type(command).__name__}: expected a Prompt")
            command.fitted(header.source.size_wh)
        except ValueError as error:
            raise ValueError(f"{HEADER_FILE}: prompts.{number}: {error}") from error
        yield command
