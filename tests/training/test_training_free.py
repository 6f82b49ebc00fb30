"""Free pictures: fetched, chosen, listed with their makers, and drawn into clips."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from bench.scores.layouts import read_dataset
from tests.helpers.bounds import LONG_RUN_TIMEOUT_S
from tests.helpers.free_pictures import (
    COPYRIGHT,
    disc,
    wall,
    write_free,
    write_packages,
    write_photographs,
)
from training.batches import BatchSpec, batches
from training.evaluate import evaluate
from training.free.copyrights import CopyrightError, parse_copyright, terms_of
from training.free_data import is_held_out, prepare_sprite
from training.network.model import Nano
from training.scenes.casting import CUTOUT, Stage, make_actor, make_crowd
from training.scenes.cutouts import (
    CutoutSprite,
    draw_cutout,
    prepare_cutout,
    relabelled,
    soften_seam,
)
from training.scenes.generator import generate_clip
from training.scenes.ingredients import FREE, NOTHING_EXTRA
from training.scenes.photographs import draw_photograph
from training.scenes.real import Photograph, RealPictures, cut_instance, open_real
from training.scenes.render import composite

SMALL = 96


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> RealPictures:
    found = open_real(write_free(tmp_path_factory.mktemp("cache")))
    assert found is not None
    return found


def fetch(
    repo_root: Path, programs: Path, *arguments: str | Path
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    command = [sys.executable, "-m", "training.free_data", *map(str, arguments)]
    return subprocess.run(
        command,
        cwd=repo_root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LONG_RUN_TIMEOUT_S,
    )


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="builds Debian packages")
def test_packages_are_fetched_once_and_listed(tmp_path: Path, repo_root: Path) -> None:
    programs = write_packages(tmp_path)
    photographs = write_photographs(tmp_path / "photographs")
    cache, page = tmp_path / "cache", tmp_path / "ATTRIBUTION.md"
    arguments = ("--cache", cache, "--photographs", photographs, "--attribution", page)
    done = fetch(repo_root, programs, *arguments)
    assert done.returncode == 0, done.stderr
    index = json.loads((cache / "free/index.json").read_text())
    paths = sorted(Path(row["path"]).name for row in index["sprites"])
    assert paths == ["duck.png", "hen.png", "truck.png"]
    assert Counter(row["family"] for row in index["sprites"]) == {"animals/birds": 2, "vehicles": 1}
    assert len(index["backgrounds"]) == 5
    for row in index["backgrounds"]:  # a grey one, too
        kept = cv2.imread(str(cache / "free" / row["file"]))
        assert kept is not None
        assert kept.shape == (120, 200, 3)
    assert {package["version"] for package in index["packages"]} == {"4:1.2-3"}
    text = page.read_text()
    for part in (
        "**CC-BY-SA-4.0**, 2018, Ann Example 2019, Bob Example: `Bridge_by_Ann.jpg`",
        "**CC-BY-SA-4.0**, 2018, Ann Example 2019, Bob Example: `Dune.jpg`",
        "**GPL-2+**, 2001 Everyone Else <else@example.org>: `animals/birds/duck.png`",
        "https://github.com/someone/something, commit `c0ffee`",
        "**CC BY 4.0**, photo by P7: `train/set_0007.jpg`",
    ):
        assert part in text
    assert "hen_mirror" not in text
    # a second call fetches nothing; a file that was cut off is fetched again
    fetched = programs / "fetched"
    assert len(fetched.read_text().split()) == 5
    next((cache / "packages").glob("mate*.deb")).write_bytes(b"cut")
    again = fetch(repo_root, programs, *arguments)
    assert again.returncode == 0, again.stderr
    assert fetched.read_text().split()[5:] == ["mate-backgrounds"]
    assert page.read_text() == text


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="builds Debian packages")
def test_a_package_that_cannot_be_had_is_named(tmp_path: Path, repo_root: Path) -> None:
    programs = write_packages(tmp_path)
    next((tmp_path / "debs").glob("mate*.deb")).unlink()
    cache = write_free(tmp_path / "cache")
    kept = (cache / "free/index.json").read_text()
    done = fetch(repo_root, programs, "--cache", cache, "--photographs", tmp_path)
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1] == (
        "error: apt-get download --print-uris mate-backgrounds: E: Unable to locate package "
        "mate-backgrounds; try apt-get update"
    )
    assert "Traceback" not in done.stderr
    assert (cache / "free/index.json").read_text() == kept


def test_a_system_without_apt_is_told_so(tmp_path: Path, repo_root: Path) -> None:
    command = [sys.executable, "-m", "training.free_data", "--cache", str(tmp_path / "cache")]
    done = subprocess.run(
        command, cwd=repo_root, env={**os.environ, "PATH": str(tmp_path)}, capture_output=True,
        text=True, timeout=LONG_RUN_TIMEOUT_S,
    )  # fmt: skip
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1] == (
        "error: apt-get: not found; expected Debian or one of its children"
    )


def test_terms_are_those_of_the_last_paragraph_that_fits() -> None:
    terms = parse_copyright(COPYRIGHT)
    assert [entry.licence for entry in terms] == ["GPL-2+", "CC-BY-SA-4.0", "GPL-3"]
    assert terms_of("usr/share/backgrounds/Bridge_by_Ann.jpg", terms) is terms[1]
    assert terms_of("usr/share/backgrounds/mate/nature/Dune.jpg", terms) is terms[1]
    assert terms_of("usr/share/backgrounds/other.jpg", terms) is terms[0]
    with pytest.raises(CopyrightError, match=r"x\.jpg: the package's copyright file"):
        terms_of("x.jpg", terms[1:])


def test_a_cutout_shows_nothing_of_its_old_ground() -> None:
    sprite = prepare_sprite(disc(200))
    assert sprite is not None
    seen = sprite[..., 3] > 20
    assert int(sprite[..., 1][seen].max()) < 100  # the ground was green
    assert prepare_sprite(disc(40)) is None  # too small
    glow = disc(200)
    glow[..., 3] //= 2
    assert prepare_sprite(glow) is None
    assert prepare_sprite(np.full((90, 90, 4), 255, np.uint8)) is None  # no alpha


def test_a_cutout_is_labelled_where_it_is_seen() -> None:
    plain = np.full((SMALL, SMALL, 3), 110, np.uint8)
    matrix = np.array([[30.0, 0, 48], [0, 30, 48], [0, 0, 1]])
    for seed in range(6):
        rng = np.random.default_rng(seed)
        sprite = prepare_cutout(rng, disc(), "balls", 60, SMALL)
        sprite = relabelled(replace(sprite, elastic=0.0), 7)
        layer = draw_cutout(sprite, matrix, 0.3, SMALL, (0.0, 0.0))
        assert layer is not None
        frame, ids, parts = plain.copy(), *np.zeros((2, SMALL, SMALL), np.uint8)
        composite(layer, frame, (ids, parts), sprite.labels)
        truth = np.zeros_like(ids)
        cv2.circle(truth, (48, 48), 24, 1, -1)
        assert np.count_nonzero((ids == 7) != (truth == 1)) < 0.15 * np.count_nonzero(truth)
        before = frame.copy()
        soften_seam(layer, frame, 1.0)
        far = cv2.dilate(truth, np.ones((13, 13), np.uint8)) == 0
        assert np.array_equal(frame[far], before[far])
        assert (frame != before).any()
    thin = disc(120)
    thin[:, :58] = thin[:, 60:] = 0
    for seed in range(6):  # too thin to be eroded, or to be seen, at this size
        hair = prepare_cutout(np.random.default_rng(seed), thin, "hairs", 10, SMALL)
        assert hair.area() > 0
    away = np.array([[30.0, 0, 900], [0, 30, 48], [0, 0, 1]])
    assert draw_cutout(sprite, away, 0.0, SMALL, (0.0, 0.0)) is None


def test_an_instance_is_cut_out_inside_its_border() -> None:
    picture, ids = wall(0), np.zeros((120, 200), np.uint8)
    cv2.circle(ids, (60, 60), 30, 1, -1)
    ids[:, 150:] = 2  # goes on beyond the picture
    ids[10:14, 10:14] = 3  # too small
    cut = cut_instance(np.random.default_rng(0), Photograph(picture, ids))
    assert cut is not None
    assert 60 <= max(cut.shape[:2]) <= 70
    assert 0 < np.count_nonzero(cut[..., 3] > 127) < np.count_nonzero(ids == 1)
    assert cut_instance(np.random.default_rng(0), Photograph(picture, ids * (ids == 2))) is None


def test_held_out_photographs_are_not_drawn(real: RealPictures) -> None:
    names = [f"set_{number:04d}" for number in range(12)]
    held = [name for name in names if is_held_out(name)]
    rng = np.random.default_rng(0)
    other = RealPictures(real.folder, held_out=True)
    drawn = {name: real.read_photograph(name).picture.tobytes() for name in names}
    seen = {real.photograph(rng).picture.tobytes() for _ in range(200)}
    assert seen == {drawn[name] for name in names if name not in held}
    assert held
    assert other.photograph(rng).picture.tobytes() in {drawn[name] for name in held}


def test_held_out_photographs_are_written_for_measuring(
    real: RealPictures, tmp_path: Path, repo_root: Path
) -> None:
    command = [sys.executable, "-m", "training.held_out", str(tmp_path), "--clips", "1"]
    command += ["--frames", "1", "--size", "64", "--cache", str(real.folder.parent)]
    subprocess.run(command, cwd=repo_root, check=True, timeout=LONG_RUN_TIMEOUT_S)
    data = read_dataset(tmp_path)
    (stills,) = data.still_sets
    assert [picture.stem for picture, _ in stills.pairs] == RealPictures(real.folder, True).names
    assert all(is_held_out(picture.stem) for picture, _ in stills.pairs)
    assert len(data.mask_clips) == 1


def test_photographs_of_one_maker_are_drawn_less_often_each(real: RealPictures) -> None:
    """Of the stand-ins P8 made four, the others one each."""
    rng, drawn = np.random.default_rng(0), Counter[bytes]()
    for _ in range(2000):
        drawn[real.photograph(rng).picture.tobytes()] += 1
    mean = {
        alike: np.mean([
            drawn[real.read_photograph(name).picture.tobytes()]
            for name in real.names if (int(name[-4:]) >= 8) == alike
        ]) for alike in (True, False)
    }  # fmt: skip
    assert 0.5 < mean[True] / mean[False] < 0.9


@pytest.mark.parametrize("frames", [1, 4])
def test_a_photograph_keeps_its_labels_on_its_objects(real: RealPictures, frames: int) -> None:
    for seed in range(5):
        pictures, planes = draw_photograph(np.random.default_rng(seed), (frames, SMALL), real)
        assert len(pictures) == len(planes) == frames
        for picture, ids in zip(pictures, planes, strict=True):
            inner = cv2.erode((ids > 0).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
            outer = cv2.dilate((ids > 0).astype(np.uint8), np.ones((5, 5), np.uint8)) == 0
            assert inner.any()
            assert (picture[inner, 0] > 150).all()
            assert (picture[outer, 0] < 150).all()
            assert set(np.unique(ids)) <= {0, 1, 2}


def test_a_clip_of_a_photograph_has_one_thing_that_moves_on_its_own(real: RealPictures) -> None:
    new = 0
    shares = replace(NOTHING_EXTRA, photographs=1.0, real_sprites=1.0)
    for seed in range(8):
        clip = generate_clip(np.random.default_rng(seed), 3, SMALL, None, shares, real)
        assert set(np.unique(clip.ids)) <= {0, 1, 2, 3, 4}
        new += int((clip.ids > 2).any())
    assert new >= 6
    still = generate_clip(np.random.default_rng(1), 1, SMALL, None, shares, real)
    assert still.ids.any()


def test_a_crowd_of_real_things_is_of_one_family(real: RealPictures) -> None:
    shares = replace(NOTHING_EXTRA, real_sprites=1.0)
    stage = Stage(2, SMALL, 1.0, None, wall(0), shares, real)
    families = 0
    for seed in range(12):
        actors = make_crowd(np.random.default_rng(seed), stage)
        kinds = {a.sprite.family for a in actors if isinstance(a.sprite, CutoutSprite)}
        assert len(actors) >= 5
        families += kinds == {"balls"}
    assert families > 2
    actor = make_actor(np.random.default_rng(0), stage, 5, 0.1, None, f"{CUTOUT}:toys")
    assert isinstance(actor.sprite, CutoutSprite)
    assert (actor.sprite.family, int(actor.sprite.labels[1])) == ("toys", 5)


def test_free_pictures_may_be_there_and_left_out(tmp_path: Path) -> None:
    """Without them, or with each ingredient that wants them left out, batches are the same."""
    cache = write_free(tmp_path / "cache")
    for frames in (1, 2):
        spec = BatchSpec(3, frames, 64, 2)
        bare = next(batches(spec, 3, None, tmp_path / "empty", 0))
        left_out = next(batches(replace(spec, without=FREE), 3, None, cache, 0))
        assert torch.equal(bare.images, left_out.images)
        assert torch.equal(bare.targets, left_out.targets)
        assert torch.equal(bare.points, left_out.points)
        shown = next(batches(spec, 3, None, cache, 0))
        assert not torch.equal(bare.images, shown.images)


def test_free_pictures_change_no_figure_of_held_out_clips(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, spec = Nano().eval(), BatchSpec(1, 2, 64, 1)
    cache = write_free(tmp_path / "cache")
    bare = evaluate(model, spec, 2, None, tmp_path / "empty")
    assert evaluate(model, spec, 2, None, cache) == bare
