"""Data sets, prompts and the scores of masks and boxes."""
