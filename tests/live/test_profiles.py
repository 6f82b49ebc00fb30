"""Profiles: saved by command and at the end of a run, found again at the next start."""

from __future__ import annotations

import json
import shlex
import shutil
import stat
import sys
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import jsonschema
import numpy as np
import pytest

from bench.scores.datasets import read_object_ids
from run_live import main
from samcam.live.commands import SaveProfile, SetEffect
from samcam.live.effects.effects import Effect
from samcam.live.errors import ConfigError
from samcam.live.feed.compositor import Compositor
from samcam.live.frames import Mask
from samcam.live.loop.pipeline import Wiring
from samcam.live.loop.render import RenderLoop, RenderOptions
from samcam.live.metrics.metrics import Metrics
from samcam.live.profiles import (
    ProfileError,
    ProfileSaver,
    describe_profiles,
    load_profile,
    profiles_folder,
    save_profile,
)
from samcam.live.sinks.choose import Outputs
from samcam.live.sources.demo.scene import DemoScene
from tests.conftest import REPO_ROOT, RunCli
from tests.helpers.bounds import WAIT_S
from tests.helpers.results import disc_logits, result_of, textured, tracked

SCHEMA = json.loads((REPO_ROOT / "docs/schemas/profile.schema.json").read_text())
OPTIONS = {"source": "0", "model": "nano", "preset": "default", "effect": "blur"}
SIZE_WH = (64, 48)


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test may touch the profiles of whoever runs it."""
    for name in ("XDG_DATA_HOME", "LOCALAPPDATA", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / "data"))


def a_mask(x: int) -> Mask:
    mask = np.zeros(SIZE_WH[::-1], np.bool_)
    mask[10:20, x : x + 9] = True
    return mask


def save(name: str, **changes: str) -> Path:
    options = {**OPTIONS, **changes}
    return save_profile(name, options, textured(SIZE_WH), {7: a_mask(5), 2: a_mask(30)})


def document(folder: Path) -> dict[str, Any]:
    row: dict[str, Any] = json.loads((folder / "profile.json").read_text())
    jsonschema.validate(row, SCHEMA)
    return row


def test_what_is_saved_comes_back_as_prompts() -> None:
    """Picture and masks pixel by pixel, under a name with a space, for this user only."""
    folder = save("my guitar")
    assert folder == profiles_folder() / "my guitar"
    assert [row["object"] for row in document(folder)["objects"]] == [2, 7]
    if sys.platform != "win32":
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    profile = load_profile("my guitar")
    assert (profile.source, profile.effect) == ("0", "blur")
    first, second = profile.read_prompts("my guitar", 1.0)
    assert (first.object_id, second.object_id) == (2, 7)
    assert (first.frame_index, second.frame_index) == (0, 0)
    assert first.mask is not None
    assert second.mask is not None
    assert second.reference_bgr is not None
    assert np.array_equal(first.mask, a_mask(30))
    assert np.array_equal(second.mask, a_mask(5))
    assert np.array_equal(second.reference_bgr, textured(SIZE_WH))


def test_a_folder_of_any_name_has_prompts(tmp_path: Path) -> None:
    """Its objects were written as the text of prompts, which cannot quote every name."""
    name = f'{tmp_path}/it\'s "mine" #1/cat'
    save(name)
    assert [prompt.object_id for prompt in load_profile(name).read_prompts(name, 1.0)] == [2, 7]


def test_saving_again_replaces_all_of_it_and_leaves_nothing() -> None:
    folder = save("cat")
    (folder / "profile.json-0123abcd.part").write_text("left by a killed run")
    older = set(folder.iterdir())
    save("cat", effect="dim")
    newer = set(folder.iterdir())
    assert len(newer) == 4
    assert older & newer == {folder / "profile.json"}
    assert load_profile("cat").effect == "dim"
    lines = list(describe_profiles())
    assert lines[0].startswith("cat: objects 2, 7; source 0, model nano, effect dim; saved 20")
    assert str(profiles_folder()) in lines[1]
    shutil.rmtree(folder)
    assert list(describe_profiles()) == [
        f"no profile is saved; they are folders in {profiles_folder()}; remove a folder to remove "
        "its profile"
    ]


def test_a_folder_that_is_none_of_ours_is_left_alone(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "letter.txt").write_text("dear")
    with pytest.raises(ProfileError, match="holds something else"):
        save(str(mine))
    assert [p.name for p in mine.iterdir()] == ["letter.txt"]
    with pytest.raises(ProfileError, match="expected a name of at most 63 letters"):
        save("..")
    (tmp_path / "file").write_text("")
    with pytest.raises(ProfileError, match="cannot be written"):
        save(str(tmp_path / "file" / "below"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (None, "not valid JSON"),
        ({"version": 2}, "version: 2: expected 1"),
        ({"effect": ""}, 'effect: "": expected a text'),
        ({"picture": "../../secret.png"}, 'picture: "../../secret.png": expected the name'),
        ({"objects": []}, "objects: []: expected a list of one or more objects"),
        (
            {"objects": [{"object": 255, "mask": "object_1_mask-00000000.png"}]},
            "objects.0.object: 255: expected a whole number 1..254",
        ),
        ({"extra": 1}, "extra: unknown key; expected version, saved"),
        ({"saved": None}, "saved: null: expected a text"),
        ({"objects": [None]}, "objects.0: null: expected a section with the keys object, mask"),
        ({"objects": [{}]}, "objects.0: missing; expected the keys object, mask"),
        (
            {"objects": [{"object": 1, "mask": "object_1_mask-00000000.png"}] * 2},
            "objects.1.object: 1: stands twice; expected it once",
        ),
        ({"version": True}, "version: true: expected 1"),
    ],
)
def test_a_damaged_profile_gives_one_line(change: dict[str, object] | None, message: str) -> None:
    path = save("cat") / "profile.json"
    row = json.loads(path.read_text())
    path.write_text("{" if change is None else json.dumps(row | change))
    with pytest.raises(ConfigError) as caught:
        load_profile("cat")
    assert len(caught.value.problems) == 1
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("key", "word", "code", "said"),
    [
        ("effect", "aurora", 2, "effect aurora: expected highlight | "),
        ("preset", "steady", 2, "preset steady: expected default | "),
        ("preset", "dam2", 2, "preset dam2: expected default | "),
        ("model", "huge", 4, "model: model huge: expected nano"),
        ("source", "gone.mp4", 3, "source: source 'gone.mp4': "),
    ],
)
def test_a_wrong_word_is_the_profiles(
    key: str, word: str, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line blamed an option that nobody had given."""
    path = save("cat", **({"source": "demo"} | {key: word})) / "profile.json"
    assert main(["--profile", "cat", "--output", "none"]) == code
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(f"error: --profile cat: {path}: {said}")
    # what is given wins, and is to blame itself
    assert main(["--profile", "cat", "--output", "none", f"--{key}", "wrong.mp4"]) == code
    assert "profile.json" not in capsys.readouterr().err.splitlines()[-1]


def test_a_missing_mask_is_the_profiles(capsys: pytest.CaptureFixture[str]) -> None:
    folder = save("cat", source="demo")
    (gone,) = folder.glob("object_7_mask-*.png")
    gone.unlink()
    given = ["--profile", "cat", "--output", "none", "--prompt", "point=9999,5"]
    assert main(given) == 2
    first, second = capsys.readouterr().err.splitlines()[-2:]
    assert first.startswith(f"error: --profile cat: {folder / 'profile.json'}: object 7: mask=")
    assert second.startswith('error: --prompt "point=9999,5"')
    (picture,) = folder.glob("picture-*.png")
    picture.write_bytes(b"")
    assert main(given[:-2]) == 2
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error: ")]
    assert line.startswith(f"error: --profile cat: {folder / 'profile.json'}: picture: image=")
    assert main([*given[:-2], "--suggest", "s.json"]) == 2
    assert "error: --profile cat: not with --suggest" in capsys.readouterr().err


def test_an_unknown_profile_names_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    save("cat")
    assert main(["--profile", "dog", "--output", "none"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: --profile dog: ")
    assert line.endswith("saved profiles: cat")


def test_the_saver_takes_what_is_visible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On command the newest picture; at the end the newest that shows the most objects."""
    disc = disc_logits(64, 20, 30, 8)
    both = result_of(textured(SIZE_WH, 1), (tracked(1, disc), tracked(3, disc)))
    one = result_of(textured(SIZE_WH, 2), (tracked(1, None), tracked(3, disc)))
    saver = ProfileSaver("demo", "nano", "default", "at end")
    with pytest.raises(ProfileError, match="no object is visible"):
        saver.save("x")
    saver.see(both, "blur")
    monkeypatch.chdir(tmp_path)
    assert saver.save("./pp") == "profile ./pp saved: objects 1, 3"
    saver.see(one, "dim")
    assert saver.save("now").endswith("objects 3; not visible and left out: 1")
    assert saver.finish() is not None
    now, at_end = load_profile("now"), load_profile("at end")
    assert (now.object_ids, now.effect) == ([3], "dim")
    assert (at_end.object_ids, at_end.effect) == ([1, 3], "blur")
    picture = cv2.imread(str(profiles_folder() / "at end" / at_end.picture))
    assert np.array_equal(picture, textured(SIZE_WH, 1))


def test_a_file_is_remembered_with_its_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A word such as nano stays one, also beside a folder of that name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clip.mp4").write_bytes(b"")
    (tmp_path / "nano").mkdir()
    saver = ProfileSaver("clip.mp4", "nano", "default")
    saver.see(result_of(textured(SIZE_WH), (tracked(1, disc_logits(64, 20, 30, 8)),)), "blur")
    saver.save("clip")
    profile = load_profile("clip")
    assert (profile.source, profile.model) == (str(tmp_path / "clip.mp4"), "nano")


def test_the_command_saves_while_running() -> None:
    """Through the real render loop; what cannot be saved is said."""
    wiring = Wiring.build("live", command_queue=4)
    noted: list[object] = []
    wiring.controls.watch(lambda command, step: noted.append(command))
    options = RenderOptions(profiles=ProfileSaver("demo", "nano", "default"))
    loop = RenderLoop(wiring, Compositor(Effect("dim")), Outputs(()), options, Metrics())
    thread = threading.Thread(target=loop.run)
    thread.start()
    try:
        wiring.controls.send(SaveProfile("cat"))
        await_notice(wiring, "refused: profile cat: no object is visible")
        shown = tracked(5, disc_logits(64, 20, 30, 8))
        wiring.results.put(result_of(textured(SIZE_WH), (shown,)))
        wiring.results.put(result_of(textured(SIZE_WH), (shown,), index=1))
        deadline = time.monotonic() + WAIT_S
        while not (profiles_folder() / "cat").exists() and time.monotonic() < deadline:
            wiring.controls.send(SaveProfile("cat"))
            wiring.stop.wait(0.02)
        await_notice(wiring, "profile cat saved in")
        wiring.controls.send(SetEffect("blur"))
        wiring.controls.send(SaveProfile("dog"))  # before another picture comes
        await_notice(wiring, "profile dog saved in")
    finally:
        wiring.stop.set()
        thread.join(WAIT_S)
        loop.close(False, time.monotonic() + WAIT_S)
    assert load_profile("cat").effect == "dim"
    assert load_profile("dog").effect == "blur"
    assert noted[-2:] == [SetEffect("blur"), SaveProfile("dog")]  # `ctl` waits for that


def await_notice(wiring: Wiring, start: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        notice = wiring.controls.notice
        if notice is not None and notice.text.startswith(start):
            return
        time.sleep(0.01)
    pytest.fail(f"not said: {start}")


def iou(folder: Path, index: int, ids: np.ndarray[Any, np.dtype[np.uint8]], value: int) -> float:
    found, truth = read_object_ids(folder / f"{index:05d}.png") == value, ids == value
    return float((found & truth).sum() / (found | truth).sum())


@pytest.mark.slow
def test_the_next_start_finds_the_objects_again(run_cli: RunCli, nano_dir: Path) -> None:
    """As a user: one run saves at its end, the next has no prompt, and another effect."""
    short = ("--set", "source.demo_frames=12", "--set", "source.demo_size=[427, 240]")
    clicks = ("--prompt", "point=73,162", "--prompt", "object=2 point=334,62")
    saved = run_cli("--source", "demo", *clicks, *short, "--output", "none", "--save-profile", "g")
    assert saved.returncode == 0, saved.stderr
    assert "objects 1, 2" in saved.stderr
    named = ("--set", "window.object_names=[gear]")
    found = run_cli("--profile", "g", "--effect", "dim", *short, *named, "--output", "masks:m")
    assert found.returncode == 0, found.stderr
    assert "profile g: looking for gear, object 2" in found.stderr
    scene = DemoScene((427, 240))
    for index in (0, 5, 11):
        ids = scene.render(index)[1]
        assert iou(found.cwd / "m", index, ids, 1) > 0.8
        assert iou(found.cwd / "m", index, ids, 2) > 0.8


@pytest.mark.slow
def test_an_object_of_another_picture_is_found(
    run_cli: RunCli, tmp_path: Path, nano_dir: Path
) -> None:
    """`mask=FILE image=FILE`: the gear as it looks a second later, in other bricks and leaves."""
    image, ids = DemoScene((640, 360), 9_000_005).render(30)
    cv2.imwrite(str(tmp_path / "other.png"), image)
    cv2.imwrite(str(tmp_path / "gear.png"), (ids == 1).astype(np.uint8) * 255)
    names = [shlex.quote(str(tmp_path / name)) for name in ("gear.png", "other.png")]
    small = ("--set", "source.demo_frames=6", "--set", "source.demo_size=[427, 240]")
    prompt = f"mask={names[0]} image={names[1]} object=1"
    result = run_cli("--source", "demo", "--prompt", prompt, *small, "--output", "masks:m")
    assert result.returncode == 0, result.stderr
    assert iou(result.cwd / "m", 0, DemoScene((427, 240)).render(0)[1], 1) > 0.7
    assert iou(result.cwd / "m", 5, DemoScene((427, 240)).render(5)[1], 1) > 0.7


def test_save_profile_without_an_object_fails(run_cli: RunCli, nano_dir: Path) -> None:
    args = ("--set", "source.demo_frames=2", "--output", "none", "--save-profile")
    result = run_cli("--source", "demo", *args, "cat")
    assert result.returncode == 5
    (line,) = [x for x in result.stderr.splitlines() if x.startswith("error: ")]
    assert "--save-profile: profile cat: no object is visible" in line
    assert main(["--source", "demo", *args, ".."]) == 2
