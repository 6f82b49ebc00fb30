"""Small stand-ins of what `training.free_data` fetches, and of the apt that has it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from training.free_data import prepare_photographs
from training.scenes.real import FREE_FOLDER, INDEX_NAME

U8 = NDArray[np.uint8]

COPYRIGHT = """Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: {name}

Files: *
Copyright: 2001 Everyone Else <else@example.org>
License: GPL-2+

Files: 16.04/Bridge_by_Ann.jpg
       nature/Dune.jpg
Copyright: 2018, Ann Example
           2019, Bob Example
License: CC-BY-SA-4.0
Comment: both of them

Files: debian/*
Copyright: 2020, The Packager
License: GPL-3

License: GPL-2+
 This package is free software.
 .
 Files: look like this in a text, too.
"""

PICTURES = {
    "tuxpaint-stamps-default": (
        "usr/share/tuxpaint/stamps/animals/birds/duck.png",
        "usr/share/tuxpaint/stamps/animals/birds/hen.png",
        "usr/share/tuxpaint/stamps/animals/birds/hen_mirror.png",
        "usr/share/tuxpaint/stamps/symbols/math/pi.png",
        "usr/share/tuxpaint/stamps/town/cartoon/house.png",
        "usr/share/tuxpaint/stamps/vehicles/truck.png",
    ),
    "lomiri-wallpapers-16.04": ("usr/share/backgrounds/Bridge_by_Ann.jpg",),
    "lomiri-wallpapers-20.04": ("usr/share/backgrounds/Kleiber_by_Bob.jpg",),
    "mate-backgrounds": (
        "usr/share/backgrounds/mate/nature/Dune.jpg",
        "usr/share/backgrounds/mate/abstract/Flow.jpg",
    ),
    "plasma-workspace-wallpapers": (
        "usr/share/wallpapers/Path/contents/images/2560x1600.jpg",
        "usr/share/wallpapers/Grey/contents/images/2560x1600.jpg",
        "usr/share/wallpapers/Path/contents/screenshot.jpg",
        "usr/share/wallpapers/Kay/contents/images/2560x1600.jpg",
    ),
}
"""Files of the stand-in packages; what is drawn, mirrored or a screenshot is not to be used."""


def disc(side: int = 100, colour: tuple[int, int, int] = (40, 60, 230)) -> U8:
    """A disc with alpha, (side, side, 4), on a ground of green that one must never see."""
    picture = np.zeros((side, side, 4), np.uint8)
    picture[..., :3] = 0, 255, 0
    cv2.circle(picture, (side // 2, side // 2), int(side * 0.4), (*colour, 255), -1)
    picture[..., 3] = cv2.GaussianBlur(picture[..., 3], (0, 0), 1.0)
    return picture


def wall(seed: int, width: int = 200, height: int = 120) -> U8:
    """A grey picture (H, W, 3) with a grain."""
    return np.random.default_rng(seed).integers(90, 120, (height, width, 3), dtype=np.uint8)


def write_packages(folder: Path) -> Path:
    """Build a .deb of every stand-in package and an `apt-get` that has them; returns its folder.

    Each download adds the package's name to the file `fetched` there.
    """
    debs, tree = folder / "debs", folder / "tree"
    debs.mkdir(parents=True)
    for name, files in PICTURES.items():
        root = tree / name
        for number, file in enumerate(files):
            path = root / file
            path.parent.mkdir(parents=True, exist_ok=True)
            picture = disc() if path.suffix == ".png" else wall(number)
            cv2.imwrite(str(path), picture[..., 0] if "/Grey/" in file else picture)
        (root / "usr/share/doc" / name).mkdir(parents=True)
        (root / "usr/share/doc" / name / "copyright").write_text(COPYRIGHT.format(name=name))
        (root / "DEBIAN").mkdir()
        (root / "DEBIAN/control").write_text(
            f"Package: {name}\nVersion: 4:1.2-3\nArchitecture: all\n"
            "Maintainer: A <a@example.org>\nDescription: stand-in\n"
        )
        file = f"{name}_4%3a1.2-3_all.deb"
        subprocess.run(
            ["dpkg-deb", "-Znone", "--build", str(root), str(debs / file)],
            check=True,
            capture_output=True,
        )
    programs = folder / "bin"
    programs.mkdir()
    apt = programs / "apt-get"
    apt.write_text(
        "#!/bin/sh\n"
        f'debs="{debs}"\n'
        "for name; do :; done\n"
        'file=$(basename "$debs/${name}_"*.deb)\n'
        'if [ ! -e "$debs/$file" ]; then\n'
        '  echo "E: Unable to locate package $name" >&2; exit 100\n'
        "fi\n"
        '[ -e "$file" ] && exit 0\n'  # as apt does: what is there is not spoken of
        'if [ "$2" = --print-uris ]; then\n'
        "  echo \"'http://deb.example.org/$file' $file 1 "
        'SHA256:$(sha256sum "$debs/$file" | cut -d" " -f1)"\n'
        "else\n"
        f'  cp "$debs/$file" . && echo "$name" >> "{programs}/fetched"\n'
        "fi\n"
    )
    apt.chmod(0o755)
    return programs


def write_photographs(folder: Path, count: int = 12) -> Path:
    """Write labelled photographs, two discs on each, laid out as ../shared/train is."""
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    rows = []
    for number in range(count):
        picture, ids = wall(number), np.zeros((120, 200), np.uint8)
        for label, x in ((1, 60), (2, 140)):
            cv2.circle(picture, (x, 60), 30, (200, 90 * label, 20), -1)
            cv2.circle(ids, (x, 60), 30, label, -1)
        ids[0, 0] = 255
        name = f"set_{number:04d}"
        cv2.imwrite(str(folder / f"images/{name}.jpg"), picture)
        cv2.imwrite(str(folder / f"masks/{name}.png"), ids)
        terms = {"licence": "CC BY 4.0", "attribution": f"photo by P{min(number, 8)}"}
        rows.append({
            **terms, "name": name, "source": "set", "repo": "someone/something",
            "commit": "c0ffee",
            "path": f"train/{name}.jpg", "ignore_px": 1, "width": 200, "height": 120,
        })  # fmt: skip
    (folder / "index.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def write_free(cache: Path) -> Path:
    """Write what training reads, CACHE/free, without packages or apt; returns the cache."""
    folder = cache / FREE_FOLDER
    (folder / "sprites").mkdir(parents=True)
    (folder / "backgrounds").mkdir()
    for number in range(3):
        cv2.imwrite(str(folder / f"sprites/{number}.png"), disc())
    cv2.imwrite(str(folder / "backgrounds/wall.jpg"), wall(1))
    source = write_photographs(cache / "source")
    photographs = prepare_photographs(source, folder)
    shutil.rmtree(source)
    sprites = [{"file": f"sprites/{n}.png", "family": "balls" if n else "toys"} for n in range(3)]
    index = {
        "packages": [], "sprites": sprites, "photographs": photographs,
        "backgrounds": [{"file": "backgrounds/wall.jpg"}],
    }  # fmt: skip
    (folder / INDEX_NAME).write_text(json.dumps(index))
    return cache
