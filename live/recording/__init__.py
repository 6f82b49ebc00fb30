"""Recordings of a run and their replay; docs/recording.md says what each file holds.

`header.py`, `rows.py` and `values.py` are the format; `recorder.py` writes it on a thread of its
own; `replay.py` reads it; `sources.py` and `script.py` give frames and commands back.
"""
