"""The JSON of a `manifest.json`: which keys, which types; every problem in words."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

from samcam.engines.graph_table import NETWORKS
from samcam.engines.host_rules import TokenRule
from samcam.system.files import Form, is_whole, shown_value, value_problems

_TEXT_KEYS = ("name", "family", "origin", "licence", "form", "memory_dtype")
_SIZE_KEYS = ("image_size", "mask_size", "grid", "width", "memory_channels", "candidates")
LIMIT_KEYS = ("max_cond", "num_recent", "max_recent_ptrs")
_FILE_KEYS = ("file", "sha256", "bytes", "precision")

_TEXT: Final = Form("a text", lambda value: isinstance(value, str))
_WHOLE: Final = Form("a whole number", is_whole)
_OBJECT: Final = Form("an object", lambda value: isinstance(value, dict))
_MANIFEST: Final[Mapping[str, Form]] = {
    **dict.fromkeys(_TEXT_KEYS, _TEXT),
    **dict.fromkeys(_SIZE_KEYS + LIMIT_KEYS, _WHOLE),
    **dict.fromkeys(("token_rule", "files", "measured", "half"), _OBJECT),
    "no_obj_ptr": Form("a list of numbers", lambda value: isinstance(value, list)),
}
_FILE: Final[Mapping[str, Form]] = {
    **dict.fromkeys(("file", "sha256", "precision"), _TEXT),
    "bytes": _WHOLE,
}


def key_problems(data: Mapping[str, Any], known: tuple[str, ...], prefix: str) -> list[str]:
    """Name unknown keys, each with the nearest known one, and missing ones."""
    problems = []
    for key in data:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            problems.append(
                f"{prefix}{key}: unknown key" + (f" (did you mean {near[0]}?)" if near else "")
            )
    return problems + [f"{prefix}{key}: missing" for key in known if key not in data]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def type_problems(data: Mapping[str, Any]) -> list[str]:
    """Check the JSON types of a manifest; a missing key is another check's problem."""
    problems = list(value_problems(data, _MANIFEST))
    pointer = data.get("no_obj_ptr")
    if isinstance(pointer, list) and not all(map(_is_number, pointer)):
        problems.append("no_obj_ptr: expected a list of numbers")
    rule = data.get("token_rule")
    if isinstance(rule, dict):
        problems += key_problems(rule, tuple(f.name for f in fields(TokenRule)), "token_rule.")
        problems += [
            f"token_rule.{key}: expected {'a whole number' if whole else 'a number'}, "
            f"got {shown_value(value)}"
            for key, value in rule.items()
            for whole in (key in ("single_mask_token", "multimask_max_points"),)
            if not _is_number(value) or (whole and not isinstance(value, int))
        ]
    entries = data.get("files")
    if isinstance(entries, dict):
        for network, entry in entries.items():
            problems += _file_problems(network, entry)
    problems += _half_problems(data.get("half"))
    if data.get("weights") is not None:
        problems += _entry_problems("weights", data["weights"])
    return problems + _measured_problems(data.get("measured"))


def _measured_problems(measured: object) -> list[str]:
    """Check the figures, where they are an object at all."""
    if not isinstance(measured, dict):
        return []
    return [
        f"measured.{network}: expected numbers by name, got {shown_value(figures)}"
        for network, figures in measured.items()
        if not isinstance(figures, dict) or not all(map(_is_number, figures.values()))
    ]


def _half_problems(half: object) -> list[str]:
    """Check the graphs in half precision, where they are an object at all."""
    problems = []
    for network, graphs in half.items() if isinstance(half, dict) else ():
        prefix = f"half.{network}"
        if network not in NETWORKS or not isinstance(graphs, dict):
            problems.append(
                f"{prefix}: expected files by precision of a network, got {shown_value(graphs)}"
            )
            continue
        for precision, entry in graphs.items():
            problems += _entry_problems(f"{prefix}.{precision}", entry)
    return problems


def _file_problems(network: str, entry: object) -> list[str]:
    prefix = f"files.{network}"
    if network not in NETWORKS:
        return [f"{prefix}: unknown network, expected one of {', '.join(NETWORKS)}"]
    return _entry_problems(prefix, entry)


def _entry_problems(prefix: str, entry: object) -> list[str]:
    """Check the JSON types of a `GraphFile`."""
    if not isinstance(entry, dict):
        return [f"{prefix}: expected an object, got {shown_value(entry)}"]
    problems = key_problems(entry, _FILE_KEYS, f"{prefix}.")
    return [*problems, *value_problems(entry, _FILE, f"{prefix}.")]
