"""Profiles: source, model, preset, effect and objects, kept in a folder for the next start.

A folder holds `profile.json` (docs/schemas/profile.schema.json), one reference picture and one
mask per object. Each save gives its pictures new names and replaces `profile.json` last, in one
step, so a profile is always the old one or the new one, whole. Only its user can open it:
it holds a camera's address with its password.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, TypeAlias

import cv2
import numpy as np

from samcam.engines import is_model_name
from samcam.live.control import object_name
from samcam.live.errors import ConfigError
from samcam.live.frames import MAX_OBJECT_ID, MIN_OBJECT_ID, U8, FrameResult, Mask, Prompt
from samcam.live.prompts import PromptFiles, read_masks, read_reference
from samcam.system import ModelError, Section, Setting, hide_in_url, read_model
from samcam.system.files import (
    NoHomeError,
    close_to_others,
    expand_user,
    foreign_entry,
    is_there,
    lenient_path,
    make_private_folder,
    parse_json,
    read_regular,
    reason_of,
    user_data_folder,
    write_private,
    write_whole,
)

PROFILE_FILE: Final = "profile.json"
TEXT_KEYS: Final = ("source", "model", "preset", "effect")
_MAX_BYTES: Final = 1 << 20
_NAME: Final = re.compile(r"\w[\w .-]{0,62}")
_OURS: Final = re.compile(
    r"(picture|object_\d{1,3}_mask)-[0-9a-f]{8}\.png"
    r"|profile\.json-[0-9a-f]{8}\.part"  # that earlier versions left
)
_Text: TypeAlias = Annotated[str, Setting(limits={"min_length": 1}, expected="a text")]


def _file(start: str, doc: str) -> Setting:
    limits = {"pattern": rf"^{start}-[0-9a-f]{{8}}\.png$"}
    return Setting(doc, limits=limits, expected="the name of a file that a save wrote")


class ProfileError(ValueError):
    """A profile cannot be saved; one line for the user."""


@dataclass(frozen=True, slots=True)
class ProfileObject(Section):
    """An object of a profile."""

    object: Annotated[int, Setting("Its number.", low=MIN_OBJECT_ID, high=MAX_OBJECT_ID)]
    mask: Annotated[str, _file("object_[0-9]{1,3}_mask", "File of its mask; black is outside.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile(Section):
    """What profile.json holds; the files that it names lie beside it."""

    __needed__: ClassVar = ("version",)

    version: Annotated[int, Setting(low=1, high=1, expected="1")] = 1
    saved: Annotated[_Text, Setting("Date and time, ISO 8601.")]
    source: Annotated[_Text, Setting("As after --source; a file or folder with its whole path.")]
    model: Annotated[_Text, Setting("As after --model; a folder with its whole path.")]
    preset: _Text
    effect: _Text
    picture: Annotated[str, _file("picture", "File of the reference picture.")]
    objects: Annotated[
        tuple[ProfileObject, ...], Setting(limits={"min_length": 1, "max_length": MAX_OBJECT_ID})
    ]

    def __post_init__(self) -> None:
        ids = [item.object for item in self.objects]
        for number, object_id in enumerate(ids):
            if object_id in ids[:number]:
                raise ValueError(
                    f"objects.{number}.object: {object_id}: stands twice; expected it once"
                )

    @property
    def object_ids(self) -> list[int]:
        """Its objects, ascending."""
        return sorted(item.object for item in self.objects)

    def read_prompts(self, name: str, max_megapixels: float) -> list[Prompt]:
        """Return its objects as prompts of the first frame: masks of its picture.

        Args:
            name: As given to `load_profile`, for messages.
            max_megapixels: Larger pictures are refused.

        Raises:
            ConfigError: A file is missing or holds something else; one line for each.
        """
        files = PromptFiles(profile_folder(name), max_megapixels=max_megapixels)
        prompts: list[Prompt] = []
        problems: list[str] = []
        try:
            picture = read_reference(files, self.picture)
        except ValueError as error:
            raise ConfigError(f"{said_by(name, 'picture')}: {error}") from error
        size_wh, whose = picture.shape[1::-1], f"image={self.picture}"
        for item in sorted(self.objects, key=lambda item: item.object):
            try:
                (mask,) = read_masks(files, item.mask, size_wh, whose, split_ids=False).values()
            except ValueError as error:
                problems.append(f"{said_by(name, f'object {item.object}')}: {error}")
            else:
                prompts.append(Prompt(item.object, 0, mask=mask, reference_bgr=picture))
        if problems:
            raise ConfigError(problems)
        return prompts


def profiles_folder() -> Path:
    """Return the folder of named profiles, which may not exist; NoHomeError without a home."""
    return user_data_folder() / "profiles"


def profile_folder(name: str) -> Path:
    """Return the folder of a profile: a name, or a path, which has a separator in it.

    Raises:
        ConfigError: The name is none, a ~ is of an unknown user, or there is no home folder.
    """
    if "/" in name or os.sep in name:
        try:
            return expand_user(name)
        except NoHomeError as error:
            raise ConfigError(f"profile {error}") from error
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"profile {name!r}: expected a name of at most 63 letters, digits, spaces and . _ - "
            "that starts with a letter or digit, or a folder such as ./profiles/guitar"
        )
    try:
        return profiles_folder() / name
    except NoHomeError as error:
        raise ConfigError(f"profile {name}: {error}, or give a path such as ./{name}") from error


def said_by(name: str, key: str) -> str:
    """Return how a message about a value of a profile begins: with profile, file and key."""
    return f"--profile {name}: {profile_folder(name) / PROFILE_FILE}: {key}"


def absolute_name(name: str, folder: Path) -> str:
    """Return a profile's name as it is, a path made absolute."""
    if name.startswith("~") or not ("/" in name or os.sep in name):
        return name
    return str(folder / name)


def name_problems(name: str) -> list[str]:
    """Return what is wrong with a profile's name, one line each."""
    try:
        profile_folder(name)
    except ConfigError as error:
        return list(error.problems)
    return []


def looked_for(name: str, object_ids: Sequence[int], names: Sequence[str]) -> str:
    """Return the message at the start of a run with a profile; `names` are of objects 1, 2, …"""
    if not object_ids:
        return f"profile {name}: has no object: click one"
    return f"profile {name}: looking for " + ", ".join(object_name(i, names) for i in object_ids)


def load_profile(name: str) -> Profile:
    """Read a profile; its pictures are read later, with the prompts.

    Raises:
        ConfigError: There is none, or it is damaged; one line.
    """
    path = profile_folder(name) / PROFILE_FILE
    try:
        data = read_regular(path, _MAX_BYTES)
    except (OSError, ValueError) as error:
        known = ", ".join(saved_profiles()) or "none"
        why = f"{reason_of(error)}; saved profiles: {known}"
        raise ConfigError(f"--profile {name}: {path}: {why}") from error
    try:
        profile = read_model(Profile, parse_json(data))
    except ValueError as error:
        what = error.line if isinstance(error, ModelError) else error
        raise ConfigError(
            f"--profile {name}: {path}: {what}; save it again, or remove the folder"
        ) from error
    if hide_in_url(profile.source) != profile.source:
        close_to_others(path)
    return profile


def saved_profiles() -> list[str]:
    """Return the names of the profiles in the user's folder, sorted."""
    try:
        folders = profiles_folder().iterdir()
        return sorted(item.name for item in folders if (item / PROFILE_FILE).is_file())
    except (OSError, NoHomeError):
        return []


def describe_profiles() -> Iterator[str]:
    """Give one line per saved profile, and where they are.

    Raises:
        ConfigError: There is no home folder.
    """
    try:
        folder = profiles_folder()
    except NoHomeError as error:
        raise ConfigError(f"--list-profiles: {error}") from error
    names = saved_profiles()
    for name in names:
        try:
            profile = load_profile(name)
        except ConfigError as error:
            yield f"{name}: {error}"
            continue
        yield (
            f"{name}: objects {', '.join(map(str, profile.object_ids))}; "
            f"source {hide_in_url(profile.source)}, model {profile.model}, "
            f"effect {profile.effect}; saved {profile.saved}"
        )
    start = "profiles" if names else "no profile is saved; they"
    yield f"{start} are folders in {folder}; remove a folder to remove its profile"


def save_profile(
    name: str, options: Mapping[str, Any], picture_bgr: U8, masks: dict[int, Mask]
) -> Path:
    """Write a profile, or replace the one of that name.

    Args:
        name: As for `profile_folder`.
        options: Values for source, model, preset and effect.
        picture_bgr: (H, W, 3) reference picture.
        masks: (H, W) mask of each object on it; at least one, none empty.

    Returns:
        Its folder.

    Raises:
        ProfileError: The name is not valid, the folder holds something else, or it cannot be
            written.
    """
    try:
        folder = profile_folder(name)
    except ConfigError as error:
        raise ProfileError(str(error)) from error
    try:
        foreign = foreign_entry(folder, PROFILE_FILE)
    except (OSError, ValueError) as error:  # such as a name longer than file systems take
        raise _unwritable(name, folder, error) from error
    if foreign is not None:
        raise ProfileError(
            f"profile {name}{_apart(name, folder, ': ')} holds something else; expected a "
            "new folder or a profile"
        )
    stamp = secrets.token_hex(4)
    files = {f"picture-{stamp}.png": picture_bgr}
    for object_id, mask in sorted(masks.items()):
        files[f"object_{object_id}_mask-{stamp}.png"] = mask.astype(np.uint8) * 255
    picture, *names = files
    profile = Profile(
        **options,
        saved=datetime.now(UTC).isoformat(timespec="seconds"),
        picture=picture,
        objects=tuple(map(ProfileObject, sorted(masks), names)),
    )
    text = json.dumps(asdict(profile), indent=1) + "\n"
    try:
        make_private_folder(folder)
        for file, pixels in files.items():
            write_private(folder / file, _png(pixels))
        write_whole(folder / PROFILE_FILE, text.encode(), private=True)
    except OSError as error:
        for file in files:
            with suppress(OSError):
                (folder / file).unlink(missing_ok=True)
        raise _unwritable(name, folder, error) from error
    _sweep(folder, set(files))
    return folder


def _unwritable(name: str, folder: Path, error: Exception) -> ProfileError:
    place = _apart(name, folder, ": ")
    return ProfileError(f"profile {name}{place}: cannot be written: {reason_of(error)}")


def _apart(name: str, folder: Path, before: str) -> str:
    """Return the folder of a profile for a message, unless its name says it."""
    return "" if folder == lenient_path(name) else f"{before}{folder}"


def _png(pixels: U8) -> bytes:
    done, data = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not done:
        raise OSError("a picture could not be encoded")
    return data.tobytes()


def _sweep(folder: Path, keep: set[str]) -> None:
    """Remove the files of earlier saves; any that cannot be removed do no harm."""
    with suppress(OSError):
        for item in list(folder.iterdir()):
            if _OURS.fullmatch(item.name) and item.name not in keep:
                item.unlink(missing_ok=True)


class ProfileSaver:
    """Saves profiles of a running program, on command and at its end. Main thread only.

    A save takes some tens of milliseconds, during which no picture is shown.
    """

    def __init__(self, source: str, model: str, preset: str, at_end: str | None = None) -> None:
        """Keep what does not change while running; `at_end`: the profile to save at the end."""
        self._options = {"source": _lasting(source), "model": _lasting(model), "preset": preset}
        self._at_end = at_end
        self._newest: tuple[FrameResult, str] | None = None
        self._fullest: tuple[FrameResult, str] | None = None

    def see(self, result: FrameResult, effect: str) -> None:
        """Keep a result that is shown, and its effect."""
        self._newest = (result, effect)
        if self._at_end is not None and _visible(result) >= (
            _visible(self._fullest[0]) if self._fullest else 1
        ):
            self._fullest = self._newest

    def save(self, name: str, effect: str | None = None) -> str:
        """Save a profile of the newest picture and return the message for the user.

        `effect`: the current one; None: that of the newest picture.

        Raises:
            ProfileError: No object is visible, or the profile cannot be written.
        """
        return self._save(name, self._newest, effect)

    def finish(self) -> str | None:
        """Save the profile of the end of the run; return the message for the user.

        It shows the picture with the most visible objects, the newest of several.

        Raises:
            ProfileError: No object was ever visible, or the profile cannot be written.
        """
        return None if self._at_end is None else self._save(self._at_end, self._fullest)

    def _save(
        self, name: str, seen: tuple[FrameResult, str] | None, effect: str | None = None
    ) -> str:
        masks = _masks(seen[0]) if seen is not None else {}
        if seen is None or not masks:
            raise ProfileError(f"profile {name}: no object is visible; click one first")
        result = seen[0]
        options = {**self._options, "effect": effect or seen[1]}
        folder = save_profile(name, options, result.frame.image_bgr, masks)
        saved = ", ".join(map(str, masks))
        hidden = ", ".join(str(o.object_id) for o in result.objects if o.object_id not in masks)
        left_out = f"; not visible and left out: {hidden}" if hidden else ""
        return f"profile {name} saved{_apart(name, folder, ' in ')}: objects {saved}{left_out}"


def _visible(result: FrameResult) -> int:
    return sum(item.visible for item in result.objects)


def _masks(result: FrameResult) -> dict[int, Mask]:
    return {item.object_id: mask for item in result.objects if (mask := item.mask()).any()}


def _lasting(text: str) -> str:
    """Return a path made absolute; a camera or a model's name as it is."""
    path = lenient_path(text)
    word = text == "demo" or text.isdecimal() or "://" in text or is_model_name(text)
    return str(path.absolute()) if not word and is_there(path) else text
