"""What a preset refuses of the settings: all of it at once, with its origin and what to do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from samcam.live.cli.command_line import parse
from samcam.live.cli.plan import plan_request
from samcam.live.config.schema import Settings, flat
from samcam.live.errors import ConfigError
from samcam.live.recording.header import read_header, write_header
from samcam.live.recording.replay import Recording
from tests.helpers.recordings import one_step


def problems_of(tmp_path: Path, text: str, *words: str) -> tuple[str, ...]:
    """Return what is wrong with a command line and a configuration file, which is `c` there."""
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        plan_request(parse(words), path)
    return tuple(line.replace(str(path), "c") for line in caught.value.problems)


LIKENESSES = "tracker:\n  recovery:\n    shown: 0.58\n    sure: {sure}\n"


def test_each_pair_out_of_order_is_told_with_its_origin(tmp_path: Path) -> None:
    key = "tracker.recovery."
    remembered = f"{key}remembered, 0.55 (the preset default)"
    assert problems_of(tmp_path, LIKENESSES.format(sure=0.7)) == (
        f"c, line 3: {key}shown: 0.58: expected at most {remembered}",
    )
    assert problems_of(tmp_path, LIKENESSES.format(sure=0.5)) == (
        f"c, line 3: {key}shown: 0.58: expected at most {remembered}",
        f"c, line 4: {key}sure: 0.5: expected at least {remembered}",
    )
    assert problems_of(tmp_path, LIKENESSES.format(sure=0.7), "--set", f"{key}remembered=0.5") == (
        f"c, line 3: {key}shown: 0.58: expected at most {key}remembered, 0.5 (--set)",
    )


ANCHORS = "tracker:\n  memory:\n    enable_long_term: {on}\n    top_k: null\n    {rest}\n"


def test_a_line_that_leaves_a_value_to_the_preset_is_not_to_blame(tmp_path: Path) -> None:
    long = ("--preset", "long")
    wrong = ANCHORS.format(on="true", rest="max_long_term_elements: 2")
    assert problems_of(tmp_path, wrong, *long) == (
        "c, line 5: tracker.memory.max_long_term_elements: 2: expected at least "
        "tracker.memory.top_k, 3 (the preset long)",
    )
    assert problems_of(tmp_path, wrong, *long, "--set", "tracker.memory.top_k=3") == (
        "--set: tracker.memory.top_k: 3: expected at most tracker.memory.max_long_term_elements, "
        "2 (c, line 5)",
    )
    off = ANCHORS.format(on="false", rest="max_long_term_elements: 2")
    (tmp_path / "c.yaml").write_text(off)
    plan_request(parse(long), tmp_path / "c.yaml")
    kept = ANCHORS.format(on="false", rest="max_mid_term_frames: 4")
    assert problems_of(tmp_path, kept, *long) == (
        "c, line 5: tracker.memory.max_mid_term_frames: 4: expected at least "
        "tracker.memory.min_mid_term_frames, 5 (the preset long)",
    )


def test_everything_that_a_preset_lacks_is_told_at_once(tmp_path: Path) -> None:
    text = (
        "tracker:\n  camera_motion: true\n  memory:\n    top_k: 2\n    mem_every: 3\n"
        "  gate:\n    weight: 0.3\n  crop:\n    enabled: 'true'\n"
    )
    lines = problems_of(tmp_path, text, "--preset", "sam2", "--set", "tracker.rivals=true")
    assert lines == (
        "c, line 2: tracker.camera_motion: true: the preset sam2 has no motion gate to use it; "
        "expected false, or another preset",
        "c, line 4: tracker.memory.top_k: 2: the preset sam2 has no rules tracker.memory; "
        "expected null (--set tracker.memory.top_k=null), or --preset long",
        "c, line 5: tracker.memory.mem_every: 3: the preset sam2 has no rules tracker.memory; "
        "expected null (--set tracker.memory.mem_every=null), or --preset long",
        "c, line 7: tracker.gate.weight: 0.3: the preset sam2 has no rules tracker.gate; expected "
        "null (--set tracker.gate.weight=null), or --preset default | samurai | samurai-paper | "
        "dam | long",
        "c, line 9: tracker.crop.enabled: true: the preset sam2 has no motion gate to steer a "
        "crop; expected false, or another preset",
        "--set: tracker.rivals: true: the preset sam2 has no motion gate to say where an object is "
        "expected; expected false, or another preset",
    )
    assert problems_of(tmp_path, text, "--preset", "bets") == (
        "--preset bets: expected default | sam2 | samurai | samurai-paper | dam | long",
    )


def test_a_replay_with_another_preset_names_what_was_recorded(tmp_path: Path) -> None:
    folder = tmp_path / "rec"
    one_step(folder)
    recorded = flat(Settings()) | {"tracker.recovery.sure": 0.7}
    write_header(folder, replace(read_header(folder), settings=recorded))
    words = ("--replay", str(folder), "--preset", "dam")
    with pytest.raises(ConfigError) as caught:
        plan_request(Recording.open(folder).request(parse(words)), None)
    assert caught.value.problems == (
        f"--replay {folder}, recorded: tracker.recovery.sure: 0.7: the preset dam has no rules "
        "tracker.recovery; expected null (--set tracker.recovery.sure=null), or --preset default | "
        "long",
    )
    cured = (*words, "--set", "tracker.recovery.sure=null")
    plan = plan_request(Recording.open(folder).request(parse(cured)), None)
    assert plan.tracker.recovery is None


def test_a_guide_is_named_as_it_was_chosen(tmp_path: Path) -> None:
    assert problems_of(tmp_path, "", "--guide", "nano") == (
        "--guide: tracker.guide: nano: expected one of none | nanotrack | boxes",
    )
    twice = ("--guide", "boxes", "--set", "tracker.guide=nanotrack")
    assert problems_of(tmp_path, "", *twice) == (
        "--guide boxes: with --set tracker.guide=nanotrack; expected one of the two",
    )
    (line,) = problems_of(tmp_path, "", "--guide", "boxes", "--preset", "sam2")
    assert line.startswith("--guide: tracker.guide: boxes: the preset sam2 has no motion gate")
    (tmp_path / "c.yaml").write_text("tracker:\n  guide: nanotrack\n")
    same = ("--guide", "boxes", "--set", "tracker.guide=boxes")
    for words in (same, same[:2]):
        assert plan_request(parse(words), tmp_path / "c.yaml").tracker.guide == "boxes"
