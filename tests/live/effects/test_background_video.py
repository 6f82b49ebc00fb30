"""`replace` with a video: the right picture for each media time, over and over."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from run_live import main
from samcam.live.cli.plan import build_effect
from samcam.live.config.effects import EffectSettings, ReplaceSettings
from samcam.live.effects import background_video
from samcam.live.effects.background_video import BackgroundVideo
from samcam.live.effects.effects import Effect
from samcam.live.effects.pictures import ReplaceOptions
from samcam.live.errors import ConfigError
from samcam.live.feed.compositor import Compositor, compose
from samcam.live.sinks.video import VideoOptions, VideoSink
from tests.helpers.results import MS, disc_logits, result_of, textured, tracked
from tests.helpers.synthetic_video import numbered_picture, read_number

FRAMES, STEP_MS = 10, 40


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten numbered pictures at 25 a second."""
    path = tmp_path_factory.mktemp("video") / "beach.mp4"
    sink = VideoSink(path, 25.0, VideoOptions(crf=5))
    for index in range(FRAMES):
        result = result_of(numbered_picture(index), (), index, index * STEP_MS * MS)
        sink.put(compose(result, Effect()))
    sink.close()
    return path


def numbers(video: BackgroundVideo, times_ms: list[int]) -> list[int]:
    return [read_number(video.picture(t * MS, (96, 64))) for t in times_ms]


def test_media_time_chooses_the_picture_over_and_over(clip: Path) -> None:
    video = BackgroundVideo(clip, "beach.mp4")
    assert numbers(video, [0, 39, 40, 79, 200, 360, 399]) == [0, 0, 1, 1, 5, 9, 9]
    assert numbers(video, [400, 440, 799, 800, 1000]) == [0, 1, 9, 0, 5]
    assert numbers(video, [3040, 3080, 3080]) == [6, 7, 7], "many turns at once"
    video.close()


def test_it_begins_with_the_first_picture_asked_for_and_after_a_step_back(clip: Path) -> None:
    video = BackgroundVideo(clip, "beach.mp4")
    assert numbers(video, [10_000, 10_080, 20, 100]) == [0, 2, 0, 2]
    video.close()
    video.close()
    assert numbers(video, [100, 10_000]) == [2, 2], "closed: the last one stays"


def test_it_covers_the_picture(clip: Path) -> None:
    video = BackgroundVideo(clip, "beach.mp4")
    assert video.picture(0, (50, 120)).shape == (120, 50, 3)
    assert video.picture(0, (640, 360)).shape == (360, 640, 3)
    assert video.picture(0, (640, 360)) is video.picture(10 * MS, (640, 360)), "scaled once"
    video.close()


def test_a_video_that_breaks_leaves_its_last_picture(
    clip: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy = tmp_path / "gone.mp4"
    copy.write_bytes(clip.read_bytes())
    video = BackgroundVideo(copy, "gone.mp4")
    copy.unlink()
    with caplog.at_level(logging.WARNING):
        assert numbers(video, [0, 200, 2000, 4000]) == [0, 5, 9, 9]
    assert caplog.text.count("effect.replace.video: source 'gone.mp4'") == 1


def test_the_effect_shows_it_and_the_compositor_closes_it(clip: Path) -> None:
    settings = EffectSettings(replace=ReplaceSettings(video=str(clip)))
    effect = build_effect("replace", settings)
    compositor = Compositor(effect)
    objects = (tracked(1, disc_logits(64, 60, 60, 3)),)
    for index in (0, 3, 12):
        result = result_of(textured((96, 64)), objects, index, index * STEP_MS * MS)
        assert read_number(compositor.compose(result).feed_bgr) == index % FRAMES
    assert isinstance(effect.options, ReplaceOptions)
    assert effect.options.video is not None
    compositor.use(Effect())
    assert effect.options.video._reader is None
    own = build_effect("replace", settings)
    compositor.use_for(2, own)
    compositor.use_common(2)
    assert isinstance(own.options, ReplaceOptions)
    assert own.options.video is not None
    assert own.options.video._reader is None


@pytest.mark.parametrize(
    ("replace", "parts"),
    [
        (ReplaceSettings(video="no/such.mp4"), ["no/such.mp4", "No such file", "expected a video"]),
        (ReplaceSettings(video="pyproject.toml"), ["pyproject.toml", "expected a video"]),
        (ReplaceSettings(picture="a.png", video="b.mp4"), ["a.png", "b.mp4", "one of them"]),
    ],
)
def test_what_is_no_video_is_one_clear_line(
    replace: ReplaceSettings, parts: list[str], monkeypatch: pytest.MonkeyPatch, repo_root: Path
) -> None:
    monkeypatch.chdir(repo_root)
    monkeypatch.setattr(
        "samcam.live.cli.plan._read_background", lambda *_: np.zeros((2, 2, 3), np.uint8)
    )
    with pytest.raises(ConfigError) as caught:
        build_effect("replace", EffectSettings(replace=replace))
    (line,) = caught.value.problems
    assert line.startswith("effect.replace.video: ")
    for part in parts:
        assert part in line


def test_an_output_does_not_overwrite_the_background(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With another effect too: it may be chosen while the program runs."""
    link = tmp_path / "out.mp4"
    link.symlink_to(clip)
    before = clip.read_bytes()
    demo = ("--source", "demo", "--set", "source.demo_frames=2")
    chosen = ("--set", f"effect.replace.video={clip}", "--output", f"video:{link}")
    assert main([*demo, *chosen]) == 2
    error = capsys.readouterr().err
    assert f"--output video:{link}: this is effect.replace.video; expected another place" in error
    assert clip.read_bytes() == before


@pytest.mark.parametrize("suffix", [".webp", ".gif", ".png"])
def test_a_moving_picture_is_a_background_too(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"moving{suffix}"
    pictures = [Image.new("RGB", (64, 48), (80 * i, 80 * i, 80 * i)) for i in range(3)]
    durations = [100, 100, 300]
    pictures[0].save(
        path, save_all=True, append_images=pictures[1:], duration=durations, lossless=True
    )
    background = BackgroundVideo(path, str(path))
    shown = [
        round(background.picture(ms * 1_000_000, (64, 48)).mean() / 80)
        for ms in (0, 50, 100, 199, 200, 499, 500, 620)
    ]
    background.close()
    assert shown == [0, 0, 1, 1, 2, 2, 0, 1], "and again from its start"


def test_a_picture_that_stands_still_is_opened_and_scaled_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ended with each frame, and was decoded again for the next one."""
    path = tmp_path / "still.png"
    Image.new("RGB", (64, 48), (0, 0, 200)).save(path)
    opened: list[Path] = []
    whole = background_video.open_picture
    monkeypatch.setattr(
        background_video, "open_picture", lambda *args: [opened.append(args[0]), whole(*args)][1]
    )
    background = BackgroundVideo(path, str(path))
    shown = {id(background.picture(ms * MS, (96, 64))) for ms in range(0, 4000, 33)}
    background.close()
    assert (opened, len(shown)) == ([path], 1)


@pytest.mark.skipif(sys.platform == "win32", reason="pipes of POSIX")
def test_a_pipe_is_no_background(tmp_path: Path) -> None:
    """It was waited for at the start, and again at the end of each turn, by the render thread."""
    path = tmp_path / "pipe.mp4"
    os.mkfifo(path)
    with pytest.raises(ConfigError, match="a pipe, which can be read once"):
        build_effect("replace", EffectSettings(replace=ReplaceSettings(video=str(path))))
