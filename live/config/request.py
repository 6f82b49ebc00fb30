"""What the user asked for: the command line in typed form, not yet checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from samcam.live.profiles import Profile, said_by

if TYPE_CHECKING:
    from samcam.live.tracker import TrackerSettings


@dataclass(frozen=True, slots=True)
class Request:
    """The command line, parsed but not yet checked.

    `given`: the options that stand on it; `saved`: what the profile of that name holds;
    `recorded`: settings by key that a replay brings, below those of `--set`; `foreign_hotkeys`:
    whether those of the settings are a recording's and may open no file; `rules`: the preset as a
    recording has it, None: as this version has it.
    """

    source: str = "0"
    model: str = "nano"
    backend: str = "auto"
    preset: str = "default"
    guide: str | None = None
    prompts: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    effect: str = "highlight"
    pace: str | None = None
    metrics: Path | None = None
    config: Path | None = None
    overrides: tuple[str, ...] = ()
    smooth: bool = False
    check_config: bool = False
    list_cameras: bool = False
    doctor: bool = False
    suggest: Path | None = None
    save_profile: str | None = None
    list_profiles: bool = False
    record: Path | None = None
    replay: Path | None = None
    loop: bool = False
    profile: str | None = None
    saved: Profile | None = None
    recorded: Mapping[str, object] = field(default_factory=dict)
    given: frozenset[str] = frozenset()
    foreign_hotkeys: bool = False
    rules: TrackerSettings | None = None

    @property
    def options(self) -> Mapping[str, Mapping[str, object]]:
        """Settings by key that have an option of their own, by that."""
        return {} if self.guide is None else {"--guide": {"tracker.guide": self.guide}}

    def is_profiles(self, key: str) -> bool:
        """Whether source, model, preset or effect are a profile's, not the command line's."""
        return self.profile is not None and f"--{key}" not in self.given

    def origin(self, key: str) -> str:
        """Return where source, model, preset or effect was set, as a message begins."""
        return said_by(self.profile or "", key) if self.is_profiles(key) else f"--{key}"
