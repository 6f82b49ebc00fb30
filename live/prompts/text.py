"""Reads prompts from the command line: `point=X,Y box=X1,Y1,X2,Y2 ...` and `@FILE.jsonl`."""

from __future__ import annotations

import itertools
import json
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from samcam.live.errors import ConfigError
from samcam.live.frames import MAX_OBJECT_ID, MIN_OBJECT_ID, Prompt
from samcam.live.prompts.files import PromptFiles, numbers, read_bbox
from samcam.live.prompts.masks import read_masks, read_reference
from samcam.system.files import parse_json, reason_of, text_lines

_NAME_KEYS: Final = ("mask", "image", "bbox_txt")
REPEATABLE: Final = ("point", "neg")
_HERE: Final = PromptFiles()
_NO_PIPES: Final = PromptFiles(pipes=False)
_FORMS: Final = {
    "point": "X,Y",
    "neg": "X,Y",
    "box": "X1,Y1,X2,Y2 with X1 < X2 and Y1 < Y2",
    "mask": "a picture file, or FILE#ID for one id of a palette mask",
    "image": "a picture file",
    "bbox_txt": "a text file whose first line is x,y,w,h",
    "object": f"a whole number {MIN_OBJECT_ID}..{MAX_OBJECT_ID}",
    "frame": "a whole number of at least 0",
}
KEYS: Final = tuple(_FORMS)


@dataclass(slots=True)
class _Draft:
    """A prompt as written: texts and numbers, not yet checked against the picture.

    Attributes:
        where: The spec as the user wrote it, or file and line.
        files: How the files that it names are read.
        points: x, y and label of each click.
        object_id, frame: None: not said.
    """

    where: str
    files: PromptFiles
    points: list[tuple[float, float, int]] = field(default_factory=list)
    box: tuple[float, ...] | None = None
    mask: str | None = None
    image: str | None = None
    object_id: int | None = None
    frame: int | None = None

    def pointed(self) -> Prompt:
        """Return it where it has no mask; ValueError where no picture could have such a place."""
        return Prompt(
            object_id=self.object_id or 1,
            frame_index=self.frame,
            points_xy_px=np.array([p[:2] for p in self.points], np.float32).reshape(-1, 2),
            labels=np.array([p[2] for p in self.points], np.int32),
            box_xyxy_px=None if self.box is None else np.array(self.box, np.float32),
        )


def parse_prompts(
    specs: Iterable[str],
    size_wh: tuple[int, int],
    frame_count: int | None = None,
    files: PromptFiles = _HERE,
    default_frame: int | None = 0,
) -> list[Prompt]:
    """Parse the prompts of the command line.

    Args:
        specs: One `--prompt` each: space-separated `key=value` (quotes keep a space inside a
            file name), or `@FILE.jsonl` with one JSON object of the same keys per line.
        size_wh: Picture size of the source; points must lie inside, boxes are cut at its edges.
        frame_count: Length of the source, None when unknown.
        default_frame: Frame of prompts that name none; None: the next one that is processed.

    Raises:
        ConfigError: All problems at once; each line says which prompt, which value and what was
            expected.
    """
    problems: list[str] = []
    prompts: list[Prompt] = []
    for spec in specs:
        before = len(prompts)
        for draft in _drafts(spec, files, problems):
            if draft.frame is None:
                draft.frame = default_frame
            frame = draft.frame or 0
            if frame_count is not None and frame >= frame_count:
                problems.append(
                    f"{draft.where}: frame={frame}: the source has {frame_count} frames; "
                    f"expected 0..{frame_count - 1}"
                )
            try:
                prompts += _build(draft, size_wh)
            except ValueError as error:
                problems.append(f"{draft.where}: {error}")
            if len(prompts) - before > files.limits.max_prompts:  # a line's mask may have many
                problems.append(f"--prompt {spec}: {_too_many(files)}")
                break
    if problems:
        raise ConfigError(problems)
    return prompts


def check_prompt_texts(specs: Iterable[str]) -> None:
    """Check the form of prompts, without a picture; ConfigError with all problems at once."""
    problems: list[str] = []
    for spec in specs:
        list(_drafts(spec, _NO_PIPES, problems))
    if problems:
        raise ConfigError(problems)


def is_prompt_text(spec: str) -> bool:
    """Whether a text is made of `key=value` with known keys, whatever the values."""
    pairs = _split(spec, "", [])
    return pairs is not None and all(key in KEYS for key, _ in pairs)


def names_file(spec: str) -> bool:
    """Whether a prompt is read from a file, or names one; taken apart as it is when it is read."""
    pairs = _split(spec, "", [])
    return spec.startswith("@") or any(key in _NAME_KEYS for key, _ in pairs or ())


def _drafts(spec: str, files: PromptFiles, problems: list[str]) -> Iterator[_Draft]:
    if spec.startswith("@"):
        yield from _read_jsonl(files.path_of(spec[1:]), files, problems)
        return
    draft = _Draft(f'--prompt "{spec}"', files)
    pairs = _split(spec, draft.where, problems)
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
    pairs: list[tuple[str, Any]] = []
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            named = pairs and pairs[-1][0] in _NAME_KEYS
            hint = _quoting_hint(words[len(pairs) - 1 :]) if named else ", such as point=320,240"
            problems.append(f"{where}: {word}: expected key=value{hint}")
            return None
        pairs.append((key, value))
    return pairs


def _quoting_hint(words: Sequence[str]) -> str:
    """Say how a file name is written that was taken apart; `words` begin with its pair."""
    parts = itertools.takewhile(lambda word: word.partition("=")[0] not in KEYS, words[1:])
    key, _, name = " ".join((words[0], *parts)).partition("=")
    return f"; a name with blanks needs quotes: {key}={shlex.quote(name)}"


def _read_jsonl(path: Path, files: PromptFiles, problems: list[str]) -> Iterator[_Draft]:
    try:
        lines = list(_filled_lines(text_lines(files.read_text(path))))
    except (OSError, ValueError) as error:
        problems.append(f"--prompt @{path}: cannot be read: {reason_of(error)}")
        return
    if len(lines) > files.limits.max_prompts:  # at once, before any of them is taken apart
        problems.append(f"--prompt @{path}: {_too_many(files)}")
        return
    before, empty = len(problems), True
    for number, text in lines:
        where = f"{path}, line {number}"
        try:
            row = parse_json(text)
        except ValueError as error:
            problems.append(f"{where}: {error}")
            continue
        rows = row if isinstance(row, list) else [row]
        if not all(isinstance(item, dict) for item in rows):
            problems.append(f'{where}: expected an object such as {{"point": [320, 240]}}')
            continue
        for item in rows:
            draft = _Draft(where, replace(files, folder=path.parent))
            if _fill(draft, list(_json_pairs(item)), problems):
                empty = False
                yield draft
    if empty and len(problems) == before:
        problems.append(
            f'--prompt @{path}: has no prompt; expected a line such as {{"point": [320, 240]}}'
        )


def _too_many(files: PromptFiles) -> str:
    return f"expected at most {files.limits.max_prompts} prompts in one file, got more"


def _filled_lines(lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Give number and text of the lines that say something."""
    for number, line in enumerate(lines, 1):
        text = line.strip().rstrip(",")  # of a list that was taken apart
        if text not in ("", "[", "]") and not text.startswith(("#", "//")):
            yield number, text


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
    if draft.mask is None and len(problems) == found:
        try:
            draft.pointed()
        except ValueError as error:
            problems.append(f"{draft.where}: {error}")
    return len(problems) == found


def _set(draft: _Draft, key: str, value: Any) -> None:
    """Store one value; ValueError, perhaps with the reason, where it has the wrong form."""
    if key in REPEATABLE:
        x, y = numbers(value, 2)
        draft.points.append((x, y, 1 if key == "point" else 0))
    elif key == "box":
        draft.box = numbers(value, 4)
    elif key == "bbox_txt":
        x, y, width, height = read_bbox(draft.files, _text(value))
        draft.box = (x, y, x + width, y + height)
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


def _build(draft: _Draft, size_wh: tuple[int, int]) -> Iterator[Prompt]:
    """Make the prompts of a draft: one, or one for each id of a mask.

    Raises:
        ValueError: A file cannot be read, or it does not fit the picture.
    """
    if draft.mask is None:
        yield draft.pointed().fitted(size_wh)
        return
    reference, size_of = None, "the source; use image=FILE if the mask belongs to another picture"
    if draft.image is not None:
        reference, size_of = read_reference(draft.files, draft.image), f"image={draft.image}"
        size_wh = (reference.shape[1], reference.shape[0])
    split_ids = draft.object_id is None
    masks = read_masks(draft.files, draft.mask, size_wh, size_of, split_ids)
    for object_id, mask in masks.items():
        prompt = Prompt(
            object_id=draft.object_id or object_id or 1,
            frame_index=draft.frame,
            mask=mask,
            reference_bgr=reference,
        )
        yield prompt.fitted(size_wh)
