"""Bodies that turn in space: things, furniture, vehicles, people and animals.

No gear, no star and no dotted card is built here: those belong to the demo scenes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from training.scenes.geometry import Points, fourier_blob, irregular_polygon, rounded_box
from training.scenes.meshes import (
    Array,
    Mesh,
    ball,
    extrude,
    lathe,
    limb,
    lumpy,
    placed,
    rotation3,
    round_profile,
)

SOLID_KINDS: tuple[str, ...] = (
    "single",
    "lump",
    "compound",
    "furniture",
    "car",
    "figure",
    "animal",
)
_WEIGHTS = np.array([5, 3, 4, 3, 5, 11, 9], np.float64)
UPRIGHT = ("furniture", "car", "figure", "animal")
"""Kinds that stand on the ground and turn about the vertical only."""
_UNTURNED = rotation3(0, 0, 0)
_ORIGIN = np.zeros(3, np.float32)


@dataclass(frozen=True)
class Piece:
    """A rigid piece of a solid.

    Attributes:
        mesh: its surface.
        group: texture group, from 0.
        parent: index of the piece that it hangs on, or -1.
        pivot: (x, y) of the joint about which it swings, an axis along z.
        swing: amplitude in radians.
        phase: of the swing, in cycles.
    """

    mesh: Mesh
    group: int
    parent: int = -1
    pivot: tuple[float, float] = (0.0, 0.0)
    swing: float = 0.0
    phase: float = 0.0


@dataclass(frozen=True)
class Solid:
    """A body: pieces in an order where parents come first, within radius 1 of the origin."""

    kind: str
    pieces: tuple[Piece, ...]

    @property
    def groups(self) -> int:
        return 1 + max(piece.group for piece in self.pieces)


def random_kind(rng: np.random.Generator) -> str:
    return str(rng.choice(SOLID_KINDS, p=_WEIGHTS / _WEIGHTS.sum()))


def build_solid(rng: np.random.Generator, kind: str) -> Solid:
    """Builds a random solid of one of SOLID_KINDS."""
    pieces = _BUILDERS[kind](rng)
    points = np.concatenate([piece.mesh.points for piece in pieces])
    middle = (points.min(0) + points.max(0)) / 2
    factor = float(1 / np.linalg.norm(points - middle, axis=1).max())
    fitted = tuple(
        replace(
            piece,
            mesh=placed(piece.mesh, (factor,) * 3, _UNTURNED, -middle * np.float32(factor)),
            pivot=(
                (piece.pivot[0] - float(middle[0])) * factor,
                (piece.pivot[1] - float(middle[1])) * factor,
            ),
        )
        for piece in pieces
    )
    return Solid(kind, fitted)


def _profile(*rows: tuple[float, float]) -> Points:
    return np.array(rows, np.float32)


def _vessel(rng: np.random.Generator) -> Mesh:
    """Builds a bottle, a vase or a cup, which is hollow."""
    kind = rng.integers(3)
    wide = float(rng.uniform(0.25, 0.6))
    if kind == 0:
        neck, shoulder = float(rng.uniform(0.06, 0.15)), float(rng.uniform(-0.5, 0.0))
        rows = _profile((0, 1), (wide * 0.95, 1), (wide, 0.93), (wide, shoulder + 0.1),
                        (wide * 0.8, shoulder - 0.08), (neck, shoulder - 0.3), (neck, -0.9),
                        (neck * 1.2, -0.92), (neck * 1.2, -1), (0, -1))  # fmt: skip
    elif kind == 1:
        y = np.linspace(1, -1, 12)
        radius = wide * (0.6 + 0.4 * np.sin(y * rng.uniform(1, 3.5) + rng.uniform(0, 6.28)))
        radius[[0, -1]] = 0
        rows = np.stack([radius, y], 1).astype(np.float32)
    else:
        top, height = wide * float(rng.uniform(0.9, 1.6)), float(rng.uniform(0.4, 0.9))
        rows = _profile((0, height), (wide, height), (top, -height), (top * 0.92, -height),
                        (wide * 0.9, height * 0.85), (0, height * 0.85))  # fmt: skip
    return lathe(rows, 16)


def _primitive(rng: np.random.Generator) -> Mesh:
    kind = rng.integers(8)
    thick, r = float(rng.uniform(0.15, 1.0)), float(rng.uniform(0.15, 0.8))
    if kind == 0:
        box = rounded_box(-1, -r, 1, r, 0.0)[[0, 6, 12, 18]]
        return extrude(box, thick)
    if kind == 1:
        top = float(rng.choice([r, 0.0, rng.uniform(0, 1)]))
        return lathe(_profile((0, 1), (r, 1), (r, 0.95), (top, -1), (0, -1)), 18)
    if kind == 2:
        return placed(ball(), (1, float(rng.uniform(0.4, 1)), thick), _UNTURNED, _ORIGIN)
    if kind == 3:
        turn = np.linspace(0, 2 * np.pi, 9)
        tube = float(rng.uniform(0.12, 0.4))
        ring = np.stack([1 - tube + tube * np.cos(turn), tube * np.sin(turn)], 1)
        return lathe(ring.astype(np.float32), 20)
    if kind == 4:
        return lathe(round_profile(r * 0.6, float(rng.uniform(0.1, 0.6)), 1.2), 12)
    if kind == 5:
        return extrude(fourier_blob(rng, 0.15, 4)[::3], thick * 0.6)
    if kind == 6:
        return extrude(irregular_polygon(rng, int(rng.integers(3, 8))), thick)
    return _vessel(rng)


def _single(rng: np.random.Generator) -> list[Piece]:
    if rng.random() < 0.2:  # a lamp
        shade = lathe(_profile((0, 0.1), (0.5, 0.1), (0.3, -0.6), (0, -0.6)), 18)
        stem = limb((0, 0.1, 0), (0, 0.9, 0), 0.05, 0.05)
        foot = lathe(_profile((0, 1), (0.35, 1), (0.3, 0.92), (0, 0.85)), 16)
        return [Piece(shade, 0), Piece(stem, 1), Piece(foot, 1)]
    return [Piece(_primitive(rng), 0)]


def _lump(rng: np.random.Generator) -> list[Piece]:
    return [Piece(lumpy(rng, float(rng.uniform(0.04, 0.22))), 0)]


def _compound(rng: np.random.Generator) -> list[Piece]:
    pieces: list[Piece] = []
    for index in range(int(rng.integers(2, 6))):
        size = 1.0 if index == 0 else float(rng.uniform(0.25, 0.7))
        to = rng.normal(0, 0.45, 3).astype(np.float32) if index else np.zeros(3, np.float32)
        turn = rotation3(*(float(v) for v in rng.uniform(0, 6.28, 3)))
        mesh = placed(_primitive(rng), (size, size, size), turn, to)
        swing = float(rng.uniform(0, 0.4)) if index and rng.random() < 0.4 else 0.0
        pivot = (float(to[0]) * 0.5, float(to[1]) * 0.5)
        parent = 0 if index else -1
        pieces.append(Piece(mesh, index, parent, pivot, swing, float(rng.random())))
    return pieces


def _slab(x: float, y: float, z: float, at: tuple[float, float, float]) -> Mesh:
    """Returns a box of half sides x, y, z about a place."""
    square = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float32)
    return placed(extrude(square, 2.0), (x, y, z), _UNTURNED, np.array(at, np.float32))


def _furniture(rng: np.random.Generator) -> list[Piece]:
    """Builds a table, a bench or a chair."""
    wide, deep, thick = rng.uniform(0.4, 1.0), rng.uniform(0.3, 0.6), rng.uniform(0.03, 0.12)
    pieces = [Piece(_slab(wide, thick, deep, (0, 0, 0)), 0)]
    leg, radius = float(rng.uniform(0.3, 0.9)), float(rng.uniform(0.03, 0.09))
    for x in (-0.85, 0.85):
        for z in (-0.85, 0.85):
            top = (x * wide, 0.0, z * deep)
            pieces.append(Piece(limb(top, (x * wide, leg, z * deep), radius, radius), 1))
    if rng.random() < 0.6:
        height = rng.uniform(0.3, 0.8)
        pieces.append(Piece(_slab(wide, height / 2, thick, (0, -height / 2, deep)), 0))
    return pieces


def _car(rng: np.random.Generator) -> list[Piece]:
    """Builds a car, a van or a lorry: groups 0 body, 1 wheels, 2 glass, 3 lights."""
    width, tall = float(rng.uniform(0.35, 0.5)), float(rng.uniform(0.16, 0.26))
    nose = float(rng.uniform(0.02, 0.12))
    side = np.array([[-1, -tall], [0.4, -tall], [1, -tall + nose], [1.02, 0.1], [0.95, 0.22],
                     [-0.98, 0.22], [-1.03, 0.05]], np.float32)  # fmt: skip
    left, right = float(rng.uniform(-1.0, -0.5)), float(rng.uniform(0.15, 0.85))
    roof, slant = -tall - float(rng.uniform(0.22, 0.6)), float(rng.uniform(0.03, 0.3))
    cabin = np.array([[left, -tall], [left + slant * 0.6, roof], [right - slant, roof],
                      [right, -tall]], np.float32)  # fmt: skip
    middle = cabin.mean(0)
    pane = (cabin - middle) * np.array([0.86, 0.72], np.float32) + middle
    front = _slab(0.01, (-roof - tall) * 0.36, width * 0.85, (0, 0, 0))
    tilt = rotation3(0, 0, -float(np.arctan2(slant, -roof - tall)))
    pieces = [
        Piece(extrude(side, 2 * width), 0),
        Piece(extrude(cabin, 1.84 * width), 0),
        Piece(extrude(pane, 1.88 * width), 2),
        Piece(placed(front, (1, 1, 1), tilt, np.array(
            [right - slant / 2 + 0.01, (roof - tall) / 2, 0], np.float32)), 2),
    ]  # fmt: skip
    radius = float(rng.uniform(0.15, 0.24))
    wheel = lathe(_profile((0, 1), (0.6, 1.02), (1, 0.9), (1, -0.9), (0.6, -1.02), (0, -1)), 14)
    lying = rotation3(0, float(np.pi / 2), 0)
    for x in (float(rng.uniform(-0.72, -0.5)), float(rng.uniform(0.45, 0.68))):
        for z in (-width, width):
            to = np.array([x, 0.22, z * 0.92], np.float32)
            pieces.append(Piece(placed(wheel, (radius, 0.09, radius), lying, to), 1))
    for z in (-0.7, 0.7):
        pieces.append(Piece(_slab(0.02, 0.05, 0.07, (1.01, -0.02, z * width)), 3))
    return pieces


@dataclass(frozen=True)
class _Leg:
    """A limb of two pieces and an end, hanging from (x, y, z) of piece 0.

    Attributes:
        radii: at the joint, the knee and the end.
        lengths: of the upper and the lower piece.
        angles: of both at rest, radians from straight down, forwards.
        groups: of the upper piece, the lower piece and the end.
        gait: swing in radians and phase in cycles.
        end: half length of the foot or hand.
    """

    radii: tuple[float, float, float]
    lengths: tuple[float, float]
    angles: tuple[float, float]
    groups: tuple[int, int, int]
    gait: tuple[float, float]
    end: float


def _leg(base: int, joint: tuple[float, float, float], leg: _Leg) -> list[Piece]:
    x, y, z = joint
    kx = x + leg.lengths[0] * float(np.sin(leg.angles[0]))
    ky = y + leg.lengths[0] * float(np.cos(leg.angles[0]))
    ex = kx + leg.lengths[1] * float(np.sin(leg.angles[1]))
    ey = ky + leg.lengths[1] * float(np.cos(leg.angles[1]))
    swing, phase = leg.gait
    upper = limb(joint, (kx, ky, z), leg.radii[0], leg.radii[1])
    lower = limb((kx, ky, z), (ex, ey, z), leg.radii[1], leg.radii[2])
    foot = limb((ex, ey, z), (ex + leg.end, ey, z), leg.radii[2] * 1.1, leg.radii[2] * 0.9)
    return [
        Piece(upper, leg.groups[0], 0, (x, y), swing, phase),
        Piece(lower, leg.groups[1], base, (kx, ky), swing * 0.7, phase + 0.2),
        Piece(foot, leg.groups[2], base + 1),
    ]


def _figure(rng: np.random.Generator) -> list[Piece]:
    """Builds a person facing +x: groups 0 shirt, 1 trousers, 2 skin, 3 hair, 4 shoes."""
    girth, swing = float(rng.uniform(0.75, 1.35)), float(rng.uniform(0.05, 0.7))
    sit = float(rng.uniform(0.6, 1.6)) if rng.random() < 0.25 else 0.0
    rows = _profile((0, -0.62), (0.1, -0.6), (0.2, -0.52), (0.17, -0.25), (0.16, -0.05),
                    (0.17, 0.06), (0.1, 0.12), (0, 0.13))  # fmt: skip
    torso = placed(lathe(rows, 12), (0.62 * girth, 1, girth), _UNTURNED, _ORIGIN)
    head = placed(ball(7, 10), (0.12, 0.15, 0.11), _UNTURNED, np.array([0.02, -0.8, 0], np.float32))
    long = float(rng.choice([0.0, rng.uniform(0.05, 0.25)]))
    hair = placed(
        ball(7, 10), (0.13, 0.1 + long / 2, 0.12), _UNTURNED,
        np.array([-0.03, -0.87 + long / 2, 0], np.float32),
    )  # fmt: skip
    pieces = [Piece(torso, 0), Piece(limb((0, -0.6, 0), (0.01, -0.72, 0), 0.06, 0.055), 2, 0),
              Piece(head, 2, 0), Piece(hair, 3, 0)]  # fmt: skip
    arms, legs = (2 if rng.random() < 0.45 else 0), (2 if rng.random() < 0.3 else 1)
    for side, phase in ((-1, 0.0), (1, 0.5)):
        lift = float(rng.normal(0, 0.3) + (rng.uniform(0.5, 3) if rng.random() < 0.25 else 0))
        bend = (lift, lift + float(rng.uniform(0, 1.2)))
        arm = _Leg((0.07 * girth, 0.055 * girth, 0.042), (0.29, 0.28), bend, (0, arms, 2),
                   (swing, phase), 0.03)  # fmt: skip
        pieces += _leg(len(pieces), (0, -0.5, side * 0.2 * girth), arm)
        rest = (sit + float(rng.normal(0, 0.1)), float(rng.normal(-0.05, 0.1)))
        leg = _Leg((0.105 * girth, 0.075 * girth, 0.05), (0.43, 0.42), rest, (1, legs, 4),
                   (swing * 0.7, phase + 0.5), 0.12)  # fmt: skip
        pieces += _leg(len(pieces), (0, 0.06, side * 0.1 * girth), leg)
    return pieces


def _animal(rng: np.random.Generator) -> list[Piece]:
    """Builds a four-legged animal facing +x: groups 0 coat, 1 legs, 2 head."""
    girth, leg = float(rng.uniform(0.16, 0.34)), float(rng.uniform(0.2, 0.6))
    chest, waist = girth * float(rng.uniform(0.9, 1.2)), girth * float(rng.uniform(0.65, 1.0))
    rows = _profile((0, -0.62), (waist * 0.6, -0.6), (waist * 0.95, -0.42), (waist, -0.1),
                    (chest, 0.25), (chest * 0.85, 0.48), (chest * 0.45, 0.6),
                    (0, 0.63))  # fmt: skip
    lying = rotation3(0, 0, -float(np.pi / 2))
    body = placed(lathe(rows, 12), (1, 1, float(rng.uniform(0.7, 1))), lying,
                  np.zeros(3, np.float32))  # fmt: skip
    pieces = [Piece(body, 0)]
    reach, rise = float(rng.uniform(0.05, 0.3)), float(rng.uniform(-0.1, 0.6))
    head = (0.5 + reach, -rise - girth * 0.3, 0.0)
    pieces.append(Piece(limb((0.42, -0.05, 0), head, girth * 0.7, girth * 0.4), 0, 0))
    size, nod = girth * float(rng.uniform(0.45, 0.7)), float(rng.uniform(0, 0.2))
    group = int(rng.choice([0, 2]))
    snout = (head[0] + float(rng.uniform(0.12, 0.3)), head[1] + float(rng.uniform(0, 0.18)), 0.0)
    skull = limb(head, snout, size, size * float(rng.uniform(0.4, 0.7)))
    pieces.append(Piece(skull, group, 1, head[:2], nod, 0.4))
    ear = float(rng.uniform(0.06, 0.22))
    for z in (-1, 1):
        root = (head[0] - 0.02, head[1] - size * 0.6, z * size * 0.6)
        tip = (root[0] - 0.05, root[1] - ear, root[2] + z * 0.05)
        pieces.append(Piece(limb(root, tip, 0.05, 0.015), group, 2))
    tip = (-0.65 - float(rng.uniform(0.1, 0.4)), float(rng.uniform(-0.4, 0.35)), 0.0)
    tail = limb((-0.55, -0.05, 0), tip, float(rng.uniform(0.03, 0.07)), 0.02)
    pieces.append(Piece(tail, 0, 0, (-0.55, -0.05), float(rng.uniform(0, 0.4))))
    swing, thick = float(rng.uniform(0.05, 0.6)), girth * float(rng.uniform(0.25, 0.45))
    gait = rng.permutation([0.0, 0.5, 0.1, 0.6]).tolist()
    for index, (x, z) in enumerate(((-0.45, -1), (-0.45, 1), (0.38, -1), (0.38, 1))):
        bent = _Leg((thick, thick * 0.6, thick * 0.42), (leg * 0.55 + girth * 0.4, leg * 0.55),
                    (float(rng.normal(0, 0.15)), float(rng.normal(0, 0.15))), (0, 1, 1),
                    (swing, gait[index]), thick * 0.5)  # fmt: skip
        pieces += _leg(len(pieces), (x, girth * 0.3, z * girth * 0.55), bent)
    return pieces


def posed(solid: Solid, cycle: float) -> tuple[Array, Array]:
    """Returns all points and normals, (V, 3) each, at a moment of the motion cycle."""
    turns: list[Array] = []
    shifts: list[Array] = []
    points, normals = [], []
    for piece in solid.pieces:
        angle = piece.swing * float(np.sin(2 * np.pi * (cycle + piece.phase)))
        turn = rotation3(0, 0, angle)
        pivot = np.array([*piece.pivot, 0], np.float32)
        shift = pivot - turn @ pivot
        if piece.parent >= 0:
            shift = turns[piece.parent] @ shift + shifts[piece.parent]
            turn = turns[piece.parent] @ turn
        turns.append(turn)
        shifts.append(shift)
        points.append(piece.mesh.points @ turn.T + shift)
        normals.append(piece.mesh.normals @ turn.T)
    return np.concatenate(points), np.concatenate(normals)


_BUILDERS: dict[str, Callable[[np.random.Generator], list[Piece]]] = {
    "single": _single,
    "lump": _lump,
    "compound": _compound,
    "furniture": _furniture,
    "car": _car,
    "figure": _figure,
    "animal": _animal,
}
