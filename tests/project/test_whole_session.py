"""A whole session as a streamer has it, with the real command: everything by mouse, keys and `ctl`.

The run is recorded. What it left is then compared with the scene's truth and with its own replay,
which has no window. `SAMCAM_SCREENSHOTS=FOLDER` keeps what was on screen at each stage.
"""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from run_live import main
from samcam.live.effects.palette import object_colour
from samcam.live.feed.control import PANIC_GUARD_S
from samcam.live.frames import U8
from tests.helpers.demo_user import DemoUser, Scene, demo_user
from tests.helpers.recordings import check_schemas, common_masks, json_rows, object_ids
from tests.helpers.xvfb import Display, wait_until

pytestmark = [pytest.mark.window, pytest.mark.slow]

SIZE_WH = (854, 480)
SMALL_WH = (480, 270)
FPS = 30
GEAR, CARD = 1, 2
STATUS_PX = 40
RED, AMBER = (60, 60, 255), (60, 190, 255)  # of the banners, BGR
IN_FLIGHT = 2  # frames at the end: being tracked, and tracked but not yet shown
TRACES = 15  # steps after which 0.6 of the last mask, the default, are less than a thousandth
OUTPUTS = ("--output", "video:feed.mp4", "--output", "masks:masks")


def test_a_whole_session(
    display: Display,
    control_folder: Path,
    nano_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with demo_user(display, tmp_path, OUTPUTS, SIZE_WH) as user:
        click_two_objects(user)
        choose_another_mask(user)
        point_wrong_and_undo(user)
        correct_on_a_frozen_picture(user)
        change_effects(user)
        hide_and_show(user)
        assert [path.name for path in control_folder.iterdir()] == [f"{user.process.pid}.sock"]
        log = user.quit()
        scene = user.scene
    assert list(control_folder.iterdir()) == []
    assert "summary: quit" in log
    slow = "this machine cannot keep up"  # true on a loaded one, and said there
    lines = [line for line in log.splitlines() if slow not in line]
    for word in ("WARNING", "ERROR", "left behind", "Traceback"):
        assert not [line for line in lines if word in line]
    frames = check_recording(tmp_path)
    check_masks(tmp_path, scene, frames, log)
    monkeypatch.chdir(tmp_path)
    again = ("--output", "masks:again", "--output", "video:again.mp4")
    assert main(["--replay", "rec", "--pace", "recorded", *again]) == 0
    written = sorted(path.name for path in (tmp_path / "masks").glob("*.png"))
    assert common_masks(tmp_path / "masks", tmp_path / "again") == written
    assert len(list((tmp_path / "again").glob("*.png"))) == len(frames)
    check_feed(tmp_path, frames, log)


def test_odd_orders(display: Display, control_folder: Path, nano_dir: Path, tmp_path: Path) -> None:
    """Nothing to undo, panic while frozen, reset while frozen, another size, quit while frozen."""
    with demo_user(display, tmp_path, ("--output", "video:feed.mp4"), SMALL_WH) as user:
        window, log = user.window, tmp_path / "log.txt"
        for key, refusal in (("u", "nothing left to take back"), ("c", "not tracked")):
            window.key(key)
            wait_until(lambda text=refusal: text in log.read_text(), refusal)
        window.key("bracketright")
        window.click(*user.find(GEAR), button=2)
        window.click(*user.find(GEAR), button=3)
        when_seen(user, GEAR, CARD)  # the picture that both are to be clicked on
        window.key("space")
        user.await_command("PinStep")
        window.key("p")
        user.await_command("HideFeed")
        wait_until(lambda: has_banner(window.screenshot(), RED), "the banner of hiding")
        assert has_banner(window.screenshot()[30:], AMBER)
        assert user.status()["hidden"] is True
        user.look("hidden_and_frozen")
        user.click_object(CARD)
        wait_until(lambda: user.states().keys() == {1}, "the object")
        window.key("r")
        user.await_command("RemoveObject")
        wait_until(lambda: user.states() == {}, "no object")
        display.xdotool("windowsize", "--sync", window.id, 500, 600)
        wait_until(lambda: has_banner(window.screenshot(), RED), "the window drawn anew")
        user.await_steps(4)
        user.look("tall")
        user.click_object(GEAR)
        window.key("space")
        user.await_command("PinStep")
        window.key("x")
        user.await_command("RemoveObject")
        window.key("space")
        user.await_command("PinStep")
        text = user.quit()
    assert "summary: quit" in text
    for word in ("ERROR", "left behind", "Traceback"):
        assert word not in text
    given = [row["command"]["type"] for row in json_rows(tmp_path / "rec" / "commands.jsonl")]
    assert given[:2] == ["PinStep", "HideFeed"], "what was refused is not in the recording"
    feed = decode(tmp_path / "feed.mp4")
    assert not is_covered(feed[min(feed)])
    assert is_covered(feed[max(feed)])


# --- what the user does -----------------------------------------------------------------------


def click_two_objects(user: DemoUser) -> None:
    before = user.look("start")
    assert count_colour(before, GEAR) < 20
    when_seen(user, GEAR)
    user.click_object(GEAR)
    wait_until(lambda: count_colour(user.window.screenshot(), GEAR) > 150, "the gear's contour")
    user.look("gear_clicked")
    user.window.key("2")
    user.click_object(CARD)
    wait_until(lambda: count_colour(user.window.screenshot(), CARD) > 150, "the card's contour")
    user.look("card_clicked")
    wait_until(lambda: user.states().keys() == {GEAR, CARD}, "both objects")


def choose_another_mask(user: DemoUser) -> None:
    """After looking at the mask for longer than pictures are kept for prompts."""
    user.await_steps(10)
    user.window.key("bracketright")
    assert user.await_command("CycleCandidate")["object_id"] == CARD
    user.look("other_mask")
    user.window.key("bracketleft")
    user.await_command("CycleCandidate")


def point_wrong_and_undo(user: DemoUser) -> None:
    """A right click for object 2, taken back."""
    user.window.click(*user.find(CARD), button=3)
    assert user.await_command("Prompt")["labels"]["values"] == [0]
    user.look("right_clicked")
    user.window.key("u")
    assert user.await_command("UndoPrompt")["object_id"] == CARD
    user.await_steps(1)
    user.look("undone")
    assert user.states().keys() == {GEAR, CARD}


def correct_on_a_frozen_picture(user: DemoUser) -> None:
    """Freeze, click, take another candidate and the first one again, let go."""
    when_seen(user, GEAR, share=0.95)
    user.window.key("1")
    user.window.key("space")
    user.await_command("PinStep")
    wait_until(lambda: has_banner(user.window.screenshot(), AMBER), "the banner of freezing")
    frozen = user.look("frozen")
    user.await_steps(4)
    away = np.s_[80:-STATUS_PX, :300]  # from notes, and from the pointer with what it shows
    moved = np.abs(user.window.screenshot()[away].astype(int) - frozen[away])
    assert moved.mean() < 0.1, "the stream goes on, the picture stays"
    user.click_object(GEAR)
    user.look("frozen_clicked")
    user.window.key("bracketright")
    user.await_command("CycleCandidate")
    user.look("other_candidate")
    user.window.key("bracketleft")
    user.await_command("CycleCandidate")
    user.window.key("space")
    user.await_command("PinStep")
    wait_until(lambda: not has_banner(user.window.screenshot(), AMBER), "the stream again")
    user.look("let_go")


def change_effects(user: DemoUser) -> None:
    """The next effect by key, an own one for the card by `ctl`."""
    sharp = detail(user.window.screenshot())
    user.window.key("e")
    user.await_command("SetEffect")
    wait_until(lambda: detail(user.window.screenshot()) < sharp / 3, "a blurred background")
    user.look("blur")
    said = user.ctl("effect", "censor", str(CARD))
    assert (said.returncode, said.stdout) == (0, f"ok: object {CARD}: effect censor\n")
    user.await_steps(2)
    user.look("card_censored")
    status = user.status()
    assert status["effect"] == "blur"
    assert [o["effect"] for o in status["objects"]] == [None, "censor"]


def hide_and_show(user: DemoUser) -> None:
    """The help, the panic key with the help open, and back."""
    light = user.window.screenshot().mean()
    user.window.key("h")
    wait_until(lambda: light - user.window.screenshot().mean() > 3, "the help")
    user.look("help")
    user.window.key("p")
    user.await_command("HideFeed")
    wait_until(lambda: has_banner(user.window.screenshot(), RED), "the banner of hiding")
    user.look("hidden_with_help")
    user.window.key("h")
    assert user.status()["hidden"] is True
    user.await_steps(4)
    user.look("hidden")
    time.sleep(PANIC_GUARD_S)  # within it the key does nothing
    user.window.key("p")
    user.await_command("HideFeed")
    wait_until(lambda: not has_banner(user.window.screenshot(), RED), "the feed again")
    assert user.status()["hidden"] is False
    user.await_steps(4)
    user.look("shown_again")


# --- what the user sees -----------------------------------------------------------------------


def count_colour(shot: U8, object_id: int) -> int:
    """Return how many pixels above the status line have an object's contour colour."""
    colour = np.array(object_colour(object_id), np.int16)
    off = np.abs(shot[:-STATUS_PX].astype(np.int16) - colour).max(axis=2)
    return int((off <= 3).sum())


def has_banner(shot: U8, colour: tuple[int, int, int]) -> bool:
    """Whether a bar of this colour stands across the top."""
    bar = np.abs(shot[3:25].astype(np.int16) - np.array(colour)).max(axis=2) <= 3
    return float(bar.mean()) > 0.6


def detail(shot: U8) -> float:
    """Return how much fine structure the left third has, where no object is for long."""
    part = shot[60:-STATUS_PX, : shot.shape[1] // 3]
    return float(np.abs(cv2.Laplacian(part, cv2.CV_32F)).mean())


def when_seen(user: DemoUser, *object_ids: int, share: float = 0.7) -> None:
    """Wait until most of each of these objects is in view."""
    whole = user.scene.truth(0)

    def seen() -> bool:
        ids = user.scene.truth(user.scene.index_of(user.window.screenshot()))
        return all((ids == i).sum() > share * (whole == i).sum() for i in object_ids)

    wait_until(seen, f"objects {object_ids} in view")


# --- what the run left ------------------------------------------------------------------------


def check_recording(folder: Path) -> list[int]:
    """Return the source frame of every step."""
    check_schemas(folder / "rec")
    assert json.loads((folder / "rec" / "recording.json").read_text())["complete"]
    steps = json_rows(folder / "rec" / "steps.jsonl")
    assert [row["step"] for row in steps] == list(range(len(steps)))
    frames = [row["frame"] for row in steps]
    assert frames == sorted(set(frames))
    return frames


def dropped(log: str, what: str) -> int:
    """Return how often the summary says that something was dropped."""
    found = re.search(rf"^  dropped .*\b{what} (\d+)", log, re.MULTILINE)
    assert found, what
    return int(found.group(1))


def check_masks(run: Path, scene: Scene, frames: list[int], log: str) -> None:
    """Every processed frame once, less those that the summary counts as dropped; and right."""
    folder = run / "masks"
    names = [path.name for path in folder.glob("*.png")]
    lost = dropped(log, "results") + dropped(log, "sink-masks")
    assert 0 <= len(frames) - lost - len(names) <= IN_FLIGHT
    assert lost < len(frames) / 2
    assert {int(Path(name).stem) for name in names} <= set(frames)
    rows = json_rows(folder / "tracks.jsonl")
    assert len({(row["frame"], row["object"]) for row in rows}) == len(rows)
    assert {row["frame"] for row in rows} <= {int(Path(name).stem) for name in names}
    missed: dict[int, int] = {}  # clicks that hit nothing were reset before this step
    for row in json_rows(run / "rec" / "commands.jsonl"):
        if row["command"]["type"] == "RemoveObject":
            missed[row["command"]["object_id"]] = row["step"]
    found: dict[int, list[float]] = {GEAR: [], CARD: []}
    for row in rows:
        if row["step"] < missed.get(row["object"], 0):
            continue
        truth = scene.truth(row["frame"]) == row["object"]
        if truth.sum() > 10_000:  # not while little of it looks out behind the pillar
            mask = object_ids(folder / f"{row['frame']:05d}.png") == row["object"]
            found[row["object"]].append(float((mask & truth).sum() / (mask | truth).sum()))
    for object_id, ious in found.items():
        print(f"object {object_id}: {len(ious)} masks, IoU {np.percentile(ious, [0, 5, 50])}")
        assert len(ious) > 15
        assert np.median(ious) > 0.75
        assert np.percentile(ious, 5) > 0.5


def decode(path: Path) -> dict[int, U8]:
    """Return the pictures of a file by the thirtieths of a second since its start."""
    with av.open(str(path)) as container:
        return {
            round(float(frame.pts * frame.time_base) * FPS): frame.to_ndarray(format="bgr24")
            for frame in container.decode(video=0)
            if frame.pts is not None and frame.time_base is not None
        }


def check_feed(folder: Path, frames: list[int], log: str) -> None:
    """Nothing of the window is in the feed, and nothing of the scene while it was hidden."""
    feed, again = decode(folder / "feed.mp4"), decode(folder / "again.mp4")
    lost = dropped(log, "results") + dropped(log, "sink-video")
    assert 0 <= len(frames) - lost - len(feed) <= IN_FLIGHT
    first = next(f for f in frames if {f + away for away in feed} <= set(frames))
    on, off = (
        row["step"]
        for row in json_rows(folder / "rec" / "commands.jsonl")
        if row["command"]["type"] == "HideFeed"
    )
    assert off > on + 4
    covered = {f + first for f, picture in feed.items() if is_covered(picture)}
    assert covered == set(frames[on:off]) & {f + first for f in feed}
    steps = [step for step, frame in enumerate(frames) if frame - first in feed]
    # A result that was dropped leaves its traces in the smoothed masks of the next ones.
    alike = [step for step in steps if {*range(step - TRACES, step)} <= {*steps}]
    assert len(alike) > 20
    worst = max(
        difference(feed[frames[step] - first], again[frames[step] - frames[0]]) for step in alike
    )
    print(f"feed: {len(feed)} pictures, {len(covered)} covered, worst of {len(alike)}: {worst:.1f}")
    assert worst < 20


def is_covered(picture: U8) -> bool:
    """Whether nothing of the scene is left: one grey, up to the codec's rounding."""
    return bool(np.ptp(picture.reshape(-1, 3), axis=0).max() <= 4)


def difference(one: U8, other: U8) -> float:
    """Return by how much two pictures differ where they differ most, over 16 x 16 pixels."""
    off = np.abs(one.astype(np.float32) - other).mean(axis=2)
    return float(cv2.blur(off, (16, 16)).max())
