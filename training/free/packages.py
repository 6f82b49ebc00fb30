"""The Debian packages whose pictures train `nano`, and which of their pictures are photographs."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Package:
    """A package by name.

    Attributes:
        name: as apt knows it.
        kind: what its pictures are used as: "sprites" or "backgrounds".
        folder: where they lie in the package.
        chosen: patterns of paths below that folder; () for all.
        refused: patterns of those that are left out.
    """

    name: str
    kind: str
    folder: str
    chosen: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


# Looked through by eye, picture by picture: what is drawn, rendered or mirrored is left out.
_DRAWN_STAMPS = (
    "symbols/*", "*cartoon*", "*_mirror*", "*_mirr.png", "clothes/hats/*", "clothes/t_*",
    "clothes/button*", "*/bee.png", "*/echidna.png", "*/hedgehog.png", "*/whale.png",
    "food/pizza.png", "*/walnut_shelled*", "medical/tooth.png", "people/body_parts/*",
    "naturalforces/*", "military/*/*shell*", "seasonal/easter/[!w]*", "seasonal/halloween/[!g]*",
    "seasonal/halloween/ghost*", "seasonal/hanukkah/*", "seasonal/newyears/*",
    "seasonal/christmas/[!CGMRx]*", "seasonal/christmas/xmas_*", "space/planets/0_sun*",
    "sports/rugby*", "town/flags/*", "town/monuments/*outline*", "town/roadsigns/arrow*",
    "town/roadsigns/crossroads*", "town/roadsigns/give_way*", "town/roadsigns/hospital*",
    "town/roadsigns/roundabout*", "town/roadsigns/stop*", "town/roadsigns/t-junction*",
    "town/roadsigns/toilets*", "town/roadsigns/xing_school*", "town/roadsigns/yield*",
    "town/roadsigns/*stoplight*", "vehicles/emergency/sedan_police*",
)  # fmt: skip

_PLASMA_PHOTOGRAPHS = (
    "Autumn", "BytheWater", "ColdRipple", "ColorfulCups", "DarkestHour", "EveningGlow",
    "FallenLeaf", "Grey", "Kite", "OneStandsOut", "Path", "summer_1am",
)  # fmt: skip

PACKAGES = (
    Package(
        "tuxpaint-stamps-default", "sprites", "usr/share/tuxpaint/stamps", ("*.png",), _DRAWN_STAMPS
    ),
    Package(
        "lomiri-wallpapers-16.04", "backgrounds", "usr/share/backgrounds", ("*.jpg",),
        ("umang*", "greentock*"),
    ),
    Package(
        "lomiri-wallpapers-20.04", "backgrounds", "usr/share/backgrounds", ("*.jpg",),
        ("Fossa*", "Painting*"),
    ),
    Package("mate-backgrounds", "backgrounds", "usr/share/backgrounds/mate/nature", ("*.jpg",)),
    Package(
        "plasma-workspace-wallpapers", "backgrounds", "usr/share/wallpapers",
        tuple(f"{name}/contents/images/2560x1600.jpg" for name in _PLASMA_PHOTOGRAPHS),
    ),
)  # fmt: skip


def pictures_of(package: Package, folder: Path) -> Iterator[tuple[str, Path]]:
    """The chosen pictures of an unpacked package, by path: their family and where they are.

    The family of a picture is its folder: things in it are of one kind.
    """
    root = folder / package.folder
    for path in sorted(root.rglob("*")):
        within = path.relative_to(root).as_posix()
        fits = any(fnmatch.fnmatchcase(within, pattern) for pattern in package.chosen)
        refused = any(fnmatch.fnmatchcase(within, pattern) for pattern in package.refused)
        if path.is_file() and (fits or not package.chosen) and not refused:
            yield path.parent.relative_to(root).as_posix(), path
