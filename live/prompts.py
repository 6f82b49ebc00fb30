"""Reads prompts from the command line: `point=X,Y box=X1,Y1,X2,Y2 ...` and `@FILE.jsonl`."""

from __future__ import annotations

import json
import math
import re
import shlex
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import cv2
import numpy as np

from engines.places import lenient_path
from live.config import ConfigError
from live.frames import MAX_OBJECT_ID, MIN_OBJECT_ID, U8, Mask, Prompt
from live.sources.quiet import quiet_opencv

KEYS: Final = ("point", "neg", "box", "mask", "image", "bbox_txt", "object", "frame")
REPEATABLE: Final = ("point", "neg")
_HERE: Final = Path()
_FORMS: Final = {
    "point": "X,Y",
    "neg": "X,Y",
    "box": "X1,Y1,X2,Y2 with X1 < X2 and Y1 < Y2",
    "mask": "a PNG file",
    "image": "a picture file",
    "bbox_txt": "a text file whose first line is x,y,w,h",
    "object": f"a whole number {MIN_OBJECT_ID}..{MAX_OBJECT_ID}",
    "frame": "a whole number of at least 0",
}


@dataclass(slots=True)
class _Draft:
    """A prompt as written: texts and numbers, not yet checked against the picture.

    Attributes:
        where: The spec as the user wrote it, or file and line.
        points: x, y and label of each click.
        folder: Folder that relative file names start from.
        pipes: Whether a file may be a pipe or device, which can be waited for without end.
    """

    where: str
    folder: Path
    pipes: bool
    points: list[tuple[float, float, int]] = field(default_factory=list)
    box: tuple[float, ...] | None = None
    box_key: str = "box"
    mask: str | None = None
    image: str | None = None
    object_id: int = 1
    frame: int = 0


def parse_prompts(
    specs: Iterable[str],
    size_wh: tuple[int, int],
    frame_count: int | None = None,
    folder: Path = _HERE,
    pipes: bool = True,
) -> list[Prompt]:
    """Parse the prompts of the command line.

    Args:
        specs: One `--prompt` each: space-separated `key=value` (quotes keep a space inside a
            file name), or `@FILE.jsonl` with one JSON object of the same keys per line.
        size_wh: Picture size of the source; every coordinate must lie inside.
        frame_count: Length of the source, None when unknown.
        folder: Where relative file names of the specs start; the current folder.
        pipes: Whether a file may be a pipe or device, which can be waited for without end.

    Raises:
        ConfigError: All problems at once; each line says which prompt, which value and what was
            expected.
    """
    problems: list[str] = []
    prompts = []
    for draft in _drafts(specs, folder, problems, pipes):
        known = len(problems)
        _check(draft, size_wh, frame_count, problems)
        prompt = _build(draft, size_wh, problems) if len(problems) == known else None
        if prompt is not None:
            prompts.append(prompt)
    if problems:
        raise ConfigError(problems)
    return prompts


def check_prompt_texts(specs: Iterable[str]) -> None:
    """Check the form of prompts, without a picture: no coordinates, no masks.

    Raises:
        ConfigError: All problems at once.
    """
    problems: list[str] = []
    for _ in _drafts(specs, _HERE, problems, pipes=False):
        pass
    if problems:
        raise ConfigError(problems)


def is_prompt_text(spec: str) -> bool:
    """Whether a text is made of `key=value` with known keys, whatever the values."""
    pairs = _split(spec, "", [])
    return pairs is not None and all(key in KEYS for key, _ in pairs)


def _drafts(
    specs: Iterable[str], folder: Path, problems: list[str], pipes: bool
) -> Iterator[_Draft]:
    for spec in specs:
        if spec.startswith("@"):
            yield from _read_jsonl(_place(folder, spec[1:]), problems, pipes)
            continue
        where = f'--prompt "{spec}"'
        draft = _Draft(where, folder, pipes)
        pairs = _split(spec, where, problems)
        if pairs is not None and _fill(draft, pairs, problems):
            yield draft


def _split(spec: str, where: str, problems: list[str]) -> list[tuple[str, Any]] | None:
    """Split `key=value key=value`, values as text; None after a problem."""
    lexer = shlex.shlex(spec, posix=True, punctuation_chars="")
    lexer.whitespace_split, lexer.escape, lexer.commenters = True, "", ""
    try:
        words = list(lexer)
    except ValueError:
        problems.append(f"{where}: a quote is not closed; expected '...' or \"...\"")
        return None
    pairs = []
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            problems.append(f"{where}: {word}: expected key=value, such as point=320,240")
            return None
        pairs.append((key, value))
    return pairs


def _place(folder: Path, name: str) -> Path:
    """Return where a file is; the shell leaves the ~ of `@~/FILE` and `mask=~/FILE` as it is."""
    return folder / lenient_path(name)


def _check_kind(path: Path, pipes: bool) -> None:
    """Refuse what can be waited for without end, where nobody may be kept waiting.

    Raises:
        ValueError: It is a pipe or a device.
        OSError: There is no such file.
    """
    mode = path.stat().st_mode
    if not pipes and not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise ValueError("a pipe or device; expected a file")


def _read_jsonl(path: Path, problems: list[str], pipes: bool) -> Iterator[_Draft]:
    try:
        _check_kind(path, pipes)
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        problems.append(f"--prompt @{path}: cannot be read: {_reason(error)}")
        return
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            problems.append(f"{where}: not valid JSON: {error.msg}")
            continue
        if not isinstance(row, dict):
            problems.append(f'{where}: expected an object such as {{"point": [320, 240]}}')
            continue
        draft = _Draft(where, path.parent, pipes)
        if _fill(draft, list(_json_pairs(row)), problems):
            yield draft


def _json_pairs(row: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Give key and value; a list of points becomes one pair per point."""
    for key, value in row.items():
        if key in REPEATABLE and isinstance(value, list) and value and isinstance(value[0], list):
            yield from ((key, point) for point in value)
        else:
            yield key, value


def _fill(draft: _Draft, pairs: Sequence[tuple[str, Any]], problems: list[str]) -> bool:
    """Put the pairs into the draft; False after a problem."""
    found = len(problems)
    seen: set[str] = set()
    for key, value in pairs:
        if key not in KEYS:
            problems.append(f"{draft.where}: {key}: unknown key; expected {', '.join(KEYS)}")
            continue
        if key in seen and key not in REPEATABLE:
            problems.append(f"{draft.where}: {key}: given twice; expected once")
            continue
        seen.add(key)
        try:
            _set(draft, key, value)
        except ValueError as error:
            shown = value if isinstance(value, str) else json.dumps(value)
            reason = str(error) or f"expected {_FORMS[key]}"
            problems.append(f"{draft.where}: {key}={shown}: {reason}")
    if {"box", "bbox_txt"} <= seen:
        problems.append(f"{draft.where}: box and bbox_txt: expected one of them")
    if "mask" in seen and seen & {"point", "neg", "box", "bbox_txt"}:
        problems.append(f"{draft.where}: mask cannot be combined with points or a box")
    if "image" in seen and "mask" not in seen:
        problems.append(f"{draft.where}: image: expected together with mask=FILE.png")
    if not seen & {"point", "neg", "box", "bbox_txt", "mask"} and len(problems) == found:
        problems.append(f"{draft.where}: expected a point, a box, a mask or bbox_txt")
    return len(problems) == found


def _set(draft: _Draft, key: str, value: Any) -> None:
    """Store one value.

    Raises:
        ValueError: It has the wrong form; the text says why, or is empty.
    """
    if key in REPEATABLE:
        x, y = _numbers(value, 2)
        draft.points.append((x, y, 1 if key == "point" else 0))
    elif key == "box":
        draft.box = _numbers(value, 4)
    elif key == "bbox_txt":
        x, y, width, height = _read_bbox(_place(draft.folder, _text(value)), draft.pipes)
        draft.box, draft.box_key = (x, y, x + width, y + height), "bbox_txt"
    elif key == "mask":
        draft.mask = _text(value)
    elif key == "image":
        draft.image = _text(value)
    elif key == "object":
        draft.object_id = _whole(value, MIN_OBJECT_ID, MAX_OBJECT_ID)
    else:
        draft.frame = _whole(value, 0, None)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError
    return value


def _whole(value: Any, low: int, high: int | None) -> int:
    if isinstance(value, str):
        value = int(value) if value.isascii() and value.isdigit() and len(value) < 16 else None
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError
    if value < low or (high is not None and value > high):
        raise ValueError
    return value


def _numbers(value: Any, count: int) -> tuple[float, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list) or len(parts) != count:
        raise ValueError
    numbers = []
    for part in parts:
        if isinstance(part, bool) or not isinstance(part, str | int | float):
            raise ValueError
        try:
            number = float(part)
        except (ValueError, OverflowError):
            raise ValueError from None
        if not math.isfinite(number):
            raise ValueError
        numbers.append(number)
    return tuple(numbers)


def _read_bbox(path: Path, pipes: bool) -> tuple[float, ...]:
    """Read `x,y,w,h` from the first line, as SAMURAI's demo does (scripts/demo.py, load_txt)."""
    try:
        _check_kind(path, pipes)
        with path.open(encoding="utf-8") as file:
            line = file.readline().strip()
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot be read: {_reason(error)}") from error
    try:
        return _numbers(re.split(r"\s*,\s*|\s+", line), 4)
    except ValueError:
        raise ValueError(f"the first line is {line[:60]!r}; expected x,y,w,h") from None


def _check(
    draft: _Draft, size_wh: tuple[int, int], frame_count: int | None, problems: list[str]
) -> None:
    """Check coordinates and frame against the source."""
    width, height = size_wh
    for x, y, label in draft.points:
        if not (0 <= x < width and 0 <= y < height):
            problems.append(
                f"{draft.where}: {'point' if label else 'neg'}={x:g},{y:g}: outside the picture "
                f"of {width}x{height}; expected 0 <= X < {width} and 0 <= Y < {height}"
            )
    if draft.box is not None:
        x1, y1, x2, y2 = draft.box
        shown = f"{draft.box_key}: {x1:g},{y1:g},{x2:g},{y2:g}"
        if not (x1 < x2 and y1 < y2):
            problems.append(f"{draft.where}: {shown}: empty box; expected X1 < X2 and Y1 < Y2")
        elif not (x1 >= 0 and y1 >= 0 and x2 <= width and y2 <= height):
            problems.append(
                f"{draft.where}: {shown}: outside the picture of {width}x{height}; "
                f"expected 0 <= X <= {width} and 0 <= Y <= {height}"
            )
    if frame_count is not None and draft.frame >= frame_count:
        problems.append(
            f"{draft.where}: frame={draft.frame}: the source has {frame_count} frames; "
            f"expected 0..{frame_count - 1}"
        )


def _build(draft: _Draft, size_wh: tuple[int, int], problems: list[str]) -> Prompt | None:
    mask: Mask | None = None
    reference: U8 | None = None
    try:
        if draft.image is not None:
            reference = _read_picture(draft, "image", draft.image, cv2.IMREAD_COLOR)
        if draft.mask is not None:
            mask = _read_mask(draft, size_wh, reference)
    except ValueError as error:
        problems.append(f"{draft.where}: {error}")
        return None
    return Prompt(
        object_id=draft.object_id,
        frame_index=draft.frame,
        points_xy_px=np.array([p[:2] for p in draft.points], np.float32).reshape(-1, 2),
        labels=np.array([p[2] for p in draft.points], np.int32),
        box_xyxy_px=None if draft.box is None else np.array(draft.box, np.float32),
        mask=mask,
        reference_bgr=reference,
    )


def _read_mask(draft: _Draft, size_wh: tuple[int, int], reference: U8 | None) -> Mask:
    """Read the mask: what is not transparent where the file has an alpha channel, else all that is
    not black (palette index 0), whatever its value.
    """
    pixels = _read_picture(draft, "mask", str(draft.mask), cv2.IMREAD_UNCHANGED)
    found = (pixels.shape[1], pixels.shape[0])
    wanted = size_wh if reference is None else (reference.shape[1], reference.shape[0])
    if found != wanted:
        whose = "the source" if reference is None else f"image={draft.image}"
        hint = "; use image=FILE if the mask belongs to another picture" * (reference is None)
        raise ValueError(
            f"mask={draft.mask}: {found[0]}x{found[1]} pixels; expected {wanted[0]}x{wanted[1]} "
            f"as {whose}{hint}"
        )
    planes = pixels if pixels.ndim == 3 else pixels[:, :, None]
    shown = planes[:, :, 3:] if planes.shape[2] == 4 else planes
    mask: Mask = np.asarray(shown.any(axis=2), np.bool_)
    if not mask.any():
        what = "all transparent" if planes.shape[2] == 4 else "all black"
        raise ValueError(f"mask={draft.mask}: {what}; expected some object pixels above 0")
    return mask


def _read_picture(draft: _Draft, key: str, name: str, flags: int) -> U8:
    """Read a picture file in the layout that OpenCV's `flags` ask for."""
    path = _place(draft.folder, name)
    try:
        _check_kind(path, draft.pipes)
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except (OSError, ValueError) as error:
        raise ValueError(f"{key}={path}: cannot be read: {_reason(error)}") from error
    try:
        with quiet_opencv():
            pixels = cv2.imdecode(data, flags) if data.size else None
    except cv2.error:  # beyond OpenCV's limit of pixels, among others
        pixels = None
    if pixels is None:
        raise ValueError(f"{key}={path}: not a picture that can be decoded; expected PNG or JPEG")
    return cast(U8, pixels)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
