"""Writes config.yaml and the reference page of the settings.

Run `python -m tools.settings_pages` after adding, removing or changing one; a test compares.
"""

from __future__ import annotations

import textwrap
from pathlib import Path

import yaml

from samcam.live.config import Settings, flat
from samcam.system import Section, describe, leaves

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "configuration.md"
START, END = "<!-- settings: python -m tools.settings_pages -->", "<!-- /settings -->"
_SEE = {"suggest": "pictures.md", "control": "control.md", "hotkeys": "control.md"}
_HEAD = """\
# SamCam's settings, complete: every key with its default; unknown keys are errors. Where this file
# is looked for: docs/configuration.md. --set section.key=value changes one key for a run.
"""


def config_yaml() -> str:
    """Return config.yaml: every key with its default under its meaning and range."""
    defaults, lines, open_sections = flat(Settings()), [_HEAD.rstrip()], [""]
    for key, schema in leaves(Settings):
        *sections, name = key.split(".")
        for depth, section in enumerate(sections):
            if open_sections[depth : depth + 1] != [section]:
                open_sections[depth:] = [section]
                if depth == 0:
                    lines += ["", *_comment(_meaning(section), 0)]
                lines.append(f"{'  ' * depth}{section}:")
        for text in (schema["description"], f"Allowed: {describe(schema)}"):
            lines += _comment(text, len(sections))
        value, margin = defaults[key], "  " * len(sections)
        if isinstance(value, dict):
            lines += [f"{margin}{name}:", textwrap.indent(_yaml(value, flow=False), f"{margin}  ")]
        else:
            lines.append(f"{margin}{name}: {_yaml(value)}")
    return "\n".join(lines) + "\n"


def tables() -> str:
    """Return the reference: a table for each section."""
    defaults, lines, last = flat(Settings()), [], ""
    for key, schema in leaves(Settings):
        section = key.partition(".")[0]
        if section != last:
            see = f" See [{_SEE[section]}]({_SEE[section]})." if section in _SEE else ""
            lines += ["", f"## {section}", "", f"{_meaning(section)}{see}", ""]
            lines += ["| key | default | allowed | meaning |", "|---|---|---|---|"]
            last = section
        allowed = describe(schema).replace("|", "\\|")
        shown = _yaml(defaults[key])
        lines.append(f"| `{key}` | `{shown}` | {allowed} | {schema['description']} |")
    return "\n".join(lines).strip("\n")


def pages() -> dict[Path, str]:
    """Return the text of each file."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
    after = rest.partition(END)[2]
    return {
        ROOT / "config.yaml": config_yaml(),
        PAGE: f"{before}{START}\n{tables()}\n{END}{after}",
    }


def _meaning(section: str) -> str:
    """Return what a section is for: the docstring of its class."""
    found: Section = getattr(Settings(), section)
    return " ".join((found.__doc__ or "").split("\n\n")[0].split())


def _comment(text: str, depth: int) -> list[str]:
    start = f"{'  ' * depth}# "
    return textwrap.wrap(text, 100, initial_indent=start, subsequent_indent=start)


def _yaml(value: object, flow: bool = True) -> str:
    text = yaml.safe_dump(value, default_flow_style=flow, sort_keys=False, width=10_000)
    return text.removesuffix("...\n").strip("\n")


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
