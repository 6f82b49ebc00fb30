"""Prompts as people write them: on the command line, in files of text, as masks."""

from samcam.live.prompts.files import AT_START, WHILE_RUNNING, PromptFiles, TextLimits
from samcam.live.prompts.masks import read_masks, read_reference
from samcam.live.prompts.text import (
    KEYS,
    check_prompt_texts,
    is_prompt_text,
    names_file,
    parse_prompts,
)

__all__ = [
    "AT_START",
    "KEYS",
    "WHILE_RUNNING",
    "PromptFiles",
    "TextLimits",
    "check_prompt_texts",
    "is_prompt_text",
    "names_file",
    "parse_prompts",
    "read_masks",
    "read_reference",
]
