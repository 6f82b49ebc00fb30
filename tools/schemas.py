"""Writes the JSON Schemas of the files that models describe: `python -m tools.schemas`.

Run it after changing such a model; a test compares.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from samcam.engines import Manifest
from samcam.live.config import Settings
from samcam.live.profiles import Profile
from samcam.live.recording import Header, PictureRow, StepRow
from samcam.system import schema_of

FOLDER: Final = Path(__file__).resolve().parent.parent / "docs" / "schemas"
MODELS: Final[dict[str, tuple[type, str]]] = {
    "config": (Settings, "SamCam's configuration, config.yaml"),
    "manifest": (Manifest, "manifest.json of a SamCam model folder"),
    "profile": (Profile, "profile.json of a SamCam profile"),
    "recording": (Header, "recording.json of a SamCam recording"),
    "recording_pictures": (PictureRow, "pictures.jsonl row of a SamCam recording"),
    "recording_steps": (StepRow, "steps.jsonl row of a SamCam recording"),
}


def schema_text(name: str) -> str:
    """Return the text of a schema's file."""
    model, title = MODELS[name]
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title}
    schema = _without_titles(schema_of(model))
    if model is Settings:  # a section of which every line is a comment
        for section in (schema, *schema["$defs"].values()):
            for key, part in section["properties"].items():
                if "$ref" in part:
                    section["properties"][key] = {
                        "anyOf": [{"$ref": part["$ref"]}, {"type": "null"}]
                    }
    return json.dumps(head | schema, indent=1) + "\n"


def _without_titles(schema: Any) -> Any:
    """Leave out titles that pydantic makes from field names."""
    if isinstance(schema, list):
        return [_without_titles(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _without_titles(part)
        for key, part in schema.items()
        if key != "title" or not isinstance(part, str)
    }


def main() -> None:
    """Write them all."""
    for name in MODELS:
        (FOLDER / f"{name}.schema.json").write_text(schema_text(name), encoding="utf-8")


if __name__ == "__main__":
    main()
