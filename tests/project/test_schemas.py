"""The schemas that are made from models: what docs/schemas/ holds is what the models say."""

from __future__ import annotations

import json

import jsonschema
import pytest

from tools.schemas import FOLDER, MODELS, schema_text


@pytest.mark.parametrize("name", list(MODELS))
def test_a_schema_is_what_its_model_says(name: str) -> None:
    """`python -m tools.schemas` writes them."""
    text = (FOLDER / f"{name}.schema.json").read_text(encoding="utf-8")
    assert text == schema_text(name), "run: python -m tools.schemas"
    jsonschema.Draft202012Validator.check_schema(json.loads(text))
