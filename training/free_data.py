"""Fetches free pictures for training: real cut-outs, backgrounds, labelled photographs.

    python -m training.free_data [--photographs ../shared/train] [--attribution FILE]

Debian packages come by name through apt, checked against the checksums of its signed lists, and are
kept; a call that was stopped goes on. What training reads (scenes/real.py) lies in CACHE/free.
Exit codes: 0 fine, 3 a package or picture cannot be had.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from samcam.system import prepare_streams
from training.free.attribution import write_attribution
from training.free.copyrights import CopyrightError, Terms, parse_copyright, terms_of
from training.free.packages import PACKAGES, Package, pictures_of
from training.scenes.real import FREE_FOLDER, INDEX_NAME

Image = NDArray[np.uint8]

SPRITE_SIDE = 320  # longest side of a kept cut-out, pixels
SMALLEST_SPRITE = 72  # cut-outs whose longest side is shorter are left out
MIN_OPAQUE = 0.6
"""Share of a cut-out's covered pixels that must be opaque: flames and glow are left out."""
BACKGROUND_SIDE = 1024
HELD_OUT_OF = 10
"""One photograph of so many is kept for choosing between models; none of them is trained on."""


class FetchError(RuntimeError):
    """A package or a picture cannot be had; the message says which and why."""


@dataclass(frozen=True)
class Fetched:
    """A downloaded package: its file and what apt's signed lists say about it."""

    package: Package
    file: Path
    uri: str
    sha256: str

    @property
    def version(self) -> str:
        return self.file.name.split("_")[1].replace("%3a", ":")


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _apt(arguments: Sequence[str], folder: Path) -> str:
    try:
        done = subprocess.run(
            ["apt-get", "download", *arguments], cwd=folder, capture_output=True, text=True
        )
    except FileNotFoundError as error:
        raise FetchError("apt-get: not found; expected Debian or one of its children") from error
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        said = next((line for line in lines if line.startswith("E:")), "no reason given")
        raise FetchError(f"apt-get download {' '.join(arguments)}: {said}; try apt-get update")
    return done.stdout


def fetch_package(package: Package, folder: Path) -> Fetched:
    """Download a package into `folder`, or take the one that is there when its checksum fits.

    Raises:
        FetchError: apt does not know it, cannot fetch it, or the checksum differs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as empty:  # apt says nothing of a file that lies beside it
        words = _apt(["--print-uris", package.name], Path(empty)).split()
    if len(words) != 4 or not words[3].startswith("SHA256:"):
        raise FetchError(f"{package.name}: apt printed {words!r}, expected URI FILE SIZE SHA256")
    uri, name, expected = words[0].strip("'"), words[1], words[3].removeprefix("SHA256:")
    path = folder / name
    if not path.exists() or sha256_of(path) != expected:
        path.unlink(missing_ok=True)
        _apt([package.name], folder)
        if not path.exists() or sha256_of(path) != expected:
            raise FetchError(f"{path}: its SHA-256 is not {expected}, which apt's lists have")
    return Fetched(package, path, uri, expected)


def unpack(fetched: Fetched) -> Path:
    """Unpack a package beside its file, once, and return the folder."""
    folder = fetched.file.with_suffix("")
    if folder.exists():
        return folder
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    done = subprocess.run(
        ["dpkg-deb", "--extract", str(fetched.file), str(partial)], capture_output=True, text=True
    )
    if done.returncode:
        raise FetchError(f"{fetched.file}: dpkg-deb: {done.stderr.strip()}")
    partial.rename(folder)
    return folder


def read_terms(folder: Path, package: str) -> tuple[Terms, ...]:
    """The copyright file of an unpacked package."""
    path = folder / "usr/share/doc" / package / "copyright"
    try:
        return parse_copyright(path.read_text(encoding="utf-8", errors="replace"))
    except OSError as error:
        raise FetchError(f"{path}: {error.strerror}; expected the package's licences") from error


def shrunk(picture: Image, side: int) -> Image:
    """The picture with its longest side at most `side` pixels."""
    factor = side / max(picture.shape[:2])
    if factor >= 1:
        return picture
    size = max(1, round(picture.shape[1] * factor)), max(1, round(picture.shape[0] * factor))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def prepare_sprite(picture: Image) -> Image | None:
    """A (H, W, 4) cut-out cropped to what it covers, or None where it is of no use.

    Colours of pixels that one sees through are those of the opaque ones nearby: the ground that
    it was photographed on must not shine through at its edge.
    """
    if picture.ndim != 3 or picture.shape[2] != 4 or picture[..., 3].min() > 250:
        return None
    covered = picture[..., 3] > 127
    rows, columns = np.flatnonzero(covered.any(1)), np.flatnonzero(covered.any(0))
    if not len(rows) or (picture[..., 3][picture[..., 3] > 8] > 250).mean() < MIN_OPAQUE:
        return None
    cut = picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    if max(cut.shape[:2]) < SMALLEST_SPRITE:
        return None
    weight = (cut[..., 3:] > 250).astype(np.float32)
    colour = cut[..., :3].astype(np.float32)
    reach = (0, 0), max(cut.shape[:2]) / 60
    near = cv2.GaussianBlur(colour * weight, *reach) / np.maximum(
        cv2.GaussianBlur(weight, *reach)[..., None], 1e-4
    )
    filled = np.where(weight > 0, colour, near)
    whole = np.dstack([np.clip(filled, 0, 255).astype(np.uint8), cut[..., 3]])
    # by alpha, so that what lies outside does not bleed in when it is made smaller
    return shrunk(np.pad(whole, ((2, 2), (2, 2), (0, 0))), SPRITE_SIDE)


def prepare_package(fetched: Fetched, out: Path) -> list[dict[str, object]]:
    """Write what is used of a package into `out` and return its entries of the index."""
    folder, name = unpack(fetched), fetched.package.name
    terms = read_terms(folder, name)
    kind = fetched.package.kind
    (out / kind).mkdir(parents=True, exist_ok=True)
    entries: list[dict[str, object]] = []
    for family, path in pictures_of(fetched.package, folder):
        # a cut-out with its alpha; a background in three channels, whatever the file has
        how = cv2.IMREAD_UNCHANGED if kind == "sprites" else cv2.IMREAD_COLOR
        picture = cv2.imread(str(path), how)
        if picture is None:
            raise FetchError(f"{path}: expected a picture, OpenCV cannot read it")
        shown = np.asarray(picture, np.uint8)
        if kind == "sprites":
            kept = prepare_sprite(shown)
            if kept is None:
                continue
            file = f"{len(entries):04d}.png"
        else:
            kept, file = shrunk(shown, BACKGROUND_SIDE), f"{name}_{len(entries):03d}.jpg"
        cv2.imwrite(str(out / kind / file), kept)
        within = path.relative_to(folder).as_posix()
        term = terms_of(within, terms)
        entries.append({
            "file": f"{kind}/{file}", "family": family, "package": name, "path": within,
            "licence": term.licence, "copyright": term.copyright,
        })  # fmt: skip
    return entries


def is_held_out(name: str) -> bool:
    """Whether a photograph is kept out of training; by its name, so for good."""
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % HELD_OUT_OF == 0


def prepare_photographs(source: Path, out: Path) -> list[dict[str, object]]:
    """Copy labelled photographs and return their entries of the index; none without `source`."""
    if not (source / "index.jsonl").exists():
        return []
    entries: list[dict[str, object]] = []
    (out / "photographs").mkdir(parents=True, exist_ok=True)
    for line in (source / "index.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        name = str(row["name"])
        for folder, suffix in (("images", ".jpg"), ("masks", ".png")):
            path = source / folder / (name + suffix)
            try:
                (out / "photographs" / (name + suffix)).write_bytes(path.read_bytes())
            except OSError as error:
                raise FetchError(f"{path}: {error.strerror}; index.jsonl names it") from error
        entries.append({
            "name": name, "set": row["source"], "licence": row["licence"],
            "attribution": row["attribution"], "origin": f"{row['repo']}@{row['commit']}",
            "path": row["path"], "held_out": is_held_out(name),
            "unknown": row["ignore_px"] / (row["width"] * row["height"]),
        })  # fmt: skip
    return entries


def prepare(cache: Path, photographs: Path, packages: Sequence[Package]) -> Path:
    """Fetch everything and write CACHE/free anew; returns the path of its index.

    Raises:
        FetchError, CopyrightError: Something cannot be had; an older CACHE/free stays as it was.
    """
    folder, partial = cache / FREE_FOLDER, cache / f"{FREE_FOLDER}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    index: dict[str, list[dict[str, object]]] = {"packages": [], "sprites": [], "backgrounds": []}
    for package in packages:
        fetched = fetch_package(package, cache / "packages")
        entries = prepare_package(fetched, partial)
        index[package.kind] += entries
        about = {"version": fetched.version, "sha256": fetched.sha256, "uri": fetched.uri}
        index["packages"].append({**asdict(package), **about, "used": len(entries)})
        print(f"{package.name} {fetched.version}: {len(entries)} {package.kind}", flush=True)
    index["photographs"] = prepare_photographs(photographs, partial)
    print(f"{photographs}: {len(index['photographs'])} labelled photographs")
    (partial / INDEX_NAME).write_text(json.dumps(index, indent=1), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    return folder / INDEX_NAME


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.free_data", description=(__doc__ or "").splitlines()[0]
    )
    here = Path(__file__).parent
    parser.add_argument("--cache", type=Path, default=here / "cache")
    parser.add_argument(
        "--photographs", type=Path, default=here.parent.parent / "shared/train",
        help="labelled photographs: images/, masks/, index.jsonl; left out where it is missing",
    )  # fmt: skip
    parser.add_argument("--attribution", type=Path, help="also write the list of all sources here")
    options = parser.parse_args(arguments)
    try:
        index = prepare(options.cache, options.photographs, PACKAGES)
        if options.attribution is not None:
            write_attribution(index, options.attribution)
    except (FetchError, CopyrightError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    prepare_streams()
    sys.exit(main())
