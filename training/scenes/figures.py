"""Articulated figures and vehicles, put together from jointed parts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from training.scenes.geometry import (
    Points,
    capsule,
    ellipse,
    fourier_blob,
    move,
    ribbon,
    rounded_box,
)


@dataclass(frozen=True)
class Part:
    """A rigid piece of a shape, in the shape's unit coordinates.

    Attributes:
        contours: outlines, each (N, 2); holes by the even-odd rule.
        group: texture group, from 0; parts of one group look alike.
        parent: index of the part that it hangs on, or -1.
        pivot: joint, in unit coordinates.
        rest: rotation at rest, radians.
        swing: amplitude of the periodic rotation, radians.
        phase: its phase in cycles.
        depth: parts are drawn in increasing depth.
        thing: it belongs to the thing that the figure rides.
    """

    contours: tuple[Points, ...]
    group: int
    parent: int = -1
    pivot: tuple[float, float] = (0.0, 0.0)
    rest: float = 0.0
    swing: float = 0.0
    phase: float = 0.0
    depth: float = 0.0
    thing: bool = False


@dataclass(frozen=True)
class _Limb:
    """Form and motion of a two-piece limb with a foot or hand.

    Attributes:
        lengths: of the upper and the lower piece.
        radii: at the joint, the knee and the end.
        groups: texture groups of the upper piece, the lower piece and the foot.
        angles: rotations at rest of both pieces, radians.
        gait: swing amplitude in radians and phase in cycles.
    """

    lengths: tuple[float, float]
    radii: tuple[float, float, float]
    groups: tuple[int, int, int]
    angles: tuple[float, float]
    gait: tuple[float, float]


def _limb(base: int, joint: tuple[float, float], limb: _Limb, depth: float) -> list[Part]:
    """Builds a limb that hangs down from a joint of the first part, the torso; `base` is the index
    that its first part will have."""
    x, y = joint
    lengths, radii, groups, angles = limb.lengths, limb.radii, limb.groups, limb.angles
    knee, end = (x, y + lengths[0]), (x, y + lengths[0] + lengths[1])
    swing, phase = limb.gait
    foot = ellipse(end[0] + radii[2] * 0.6, end[1], radii[2] * 1.7, radii[2] * 1.1)
    upper = capsule(joint, knee, radii[0], radii[1])
    lower = capsule(knee, end, radii[1], radii[2])
    return [
        Part((upper,), groups[0], 0, joint, angles[0], swing, phase, depth),
        Part((lower,), groups[1], base, knee, angles[1], swing * 0.7, phase + 0.2, depth + 0.01),
        Part((foot,), groups[2], base + 1, end, 0.0, 0.0, 0.0, depth + 0.02),
    ]


def person(rng: np.random.Generator) -> list[Part]:
    """Builds a person: groups 0 shirt, 1 trousers, 2 skin, 3 hair or hat, 4 shoes."""
    girth, front = rng.uniform(0.75, 1.35), rng.uniform(0.0, 1.0)
    crouch = rng.uniform(0, 1.2) if rng.random() < 0.35 else 0.0
    swing = rng.uniform(0.1, 0.8)
    shoulder, hip = 0.02 + 0.17 * front * girth, 0.03 + 0.08 * front
    torso = ribbon(
        np.array([[0, -0.6], [0, -0.5], [0, -0.2], [0, 0.02], [0, 0.1]], np.float32),
        np.array([0.1, 0.13 + 0.07 * front, 0.15, 0.14, 0.1], np.float32) * np.float32(girth),
    )
    parts = [Part((torso,), 0, swing=rng.uniform(0, 0.08), depth=1.0)]
    neck = capsule((0, -0.62), (0, -0.7), 0.06, 0.06)
    head = ellipse(0, -0.8, rng.uniform(0.1, 0.14), rng.uniform(0.13, 0.16))
    parts.append(Part((neck,), 2, 0, depth=0.9))
    nod = rng.uniform(-0.3, 0.3)
    parts.append(Part((head,), 2, 0, (0, -0.68), nod, rng.uniform(0, 0.15), 0, 1.1))
    hair = ellipse(rng.uniform(-0.05, 0.05), -0.87, 0.135, rng.uniform(0.06, 0.11))
    parts.append(Part((hair,), 3, 2, (0, -0.68), 0.0, depth=1.2))
    bare_arms, bare_legs = rng.random() < 0.45, rng.random() < 0.3
    for side, phase in ((-1, 0.0), (1, 0.5)):
        depth = 1.5 if side > 0 or front > 0.5 else 0.2
        lift = -side * rng.uniform(0, 0.3 + 0.4 * front) + rng.normal(0, 0.5 * (crouch + 0.3))
        if rng.random() < 0.12:
            lift += rng.uniform(1.5, 3.0) * -side
        parts += _limb(
            len(parts), (side * shoulder, -0.52), _Limb(
                (0.3, 0.3), (0.075 * girth, 0.06 * girth, 0.045), (0, 2 if bare_arms else 0, 2),
                (lift, -rng.uniform(0, 1.0)), (swing, phase),
            ), depth,
        )  # fmt: skip
        lift = -crouch - rng.uniform(0, 0.3) * (crouch > 0) - side * 0.1 * front
        parts += _limb(
            len(parts), (side * hip, 0.06), _Limb(
                (0.44, 0.42), (0.105 * girth, 0.08 * girth, 0.055), (1, 2 if bare_legs else 1, 4),
                (lift, 1.2 * crouch + rng.uniform(0, 0.3)), (swing * 0.8, phase + 0.5),
            ), 0.3 if side < 0 else 0.6,
        )  # fmt: skip
    if rng.random() < 0.25:  # a skirt or a coat over the hips
        hem = rng.uniform(0.2, 0.6)
        coat = np.array([[-0.13, 0], [0.13, 0], [0.25, hem], [-0.25, hem]], np.float32)
        coat = coat * np.array([girth, 1.0], np.float32)
        parts.append(Part((coat,), 0 if crouch else 1, 0, depth=1.05))
    return parts


def _bicycle(rng: np.random.Generator, group: int) -> list[Part]:
    """Builds a two-wheeled thing, wheels around y = 0.6."""
    radius, gap = rng.uniform(0.25, 0.4), rng.uniform(0.4, 0.6)
    hollow = rng.random() < 0.6
    parts: list[Part] = []
    for x in (-gap, gap):
        rim = ellipse(x, 0.6, radius, radius)
        hole = ellipse(x, 0.6, radius * 0.82, radius * 0.82)
        parts.append(Part((rim, hole) if hollow else (rim,), group, depth=0.4))
    width = rng.uniform(0.02, 0.05) if hollow else rng.uniform(0.08, 0.18)
    for start, end in (((-gap, 0.6), (-0.1, 0.2)), ((-0.1, 0.2), (gap * 0.7, 0.15)),
                       ((gap, 0.6), (gap * 0.65, 0.05)), ((0, 0.6), (-0.12, 0.12)),
                       ((0, 0.6), (gap * 0.7, 0.2)), ((-gap, 0.6), (0, 0.6))):  # fmt: skip
        parts.append(Part((capsule(start, end, width, width),), group + 1, depth=0.5))
    return parts


def _board(rng: np.random.Generator, group: int) -> list[Part]:
    thick, half = rng.uniform(0.02, 0.12), rng.uniform(0.4, 0.9)
    x = np.linspace(-half, half, 12, dtype=np.float32)
    spine = np.stack([x, 0.93 - 0.15 * np.abs(x / half) ** 3], 1).astype(np.float32)
    parts = [Part((ribbon(spine, np.full(12, thick, np.float32)),), group, depth=0.5)]
    if rng.random() < 0.5:
        for side in (-0.6, 0.6):
            wheel = ellipse(side * half, 0.97, 0.05, 0.05)
            parts.append(Part((wheel,), group + 1, depth=0.4))
    return parts


def rider(rng: np.random.Generator) -> list[Part]:
    """Builds a person on a bicycle, a board or an animal; the mount is a "thing"."""
    kind = rng.integers(3)
    body = person(rng)
    if kind == 2:
        mount = quadruped(rng)
        scale, y = rng.uniform(0.45, 0.65), -0.45
    else:
        mount = _bicycle(rng, 0) if kind == 0 else _board(rng, 0)
        scale, y = (rng.uniform(0.75, 0.95), -0.3) if kind == 0 else (1.0, 0.0)
    placed = [
        replace(
            part,
            contours=tuple(move(c, scale, 0.0, y) for c in part.contours),
            pivot=(part.pivot[0] * scale, part.pivot[1] * scale + y),
            swing=part.swing * (0.3 if kind else 0.6),
            rest=part.rest + (0.35 if kind == 0 and part.parent < 0 else 0.0),
        )
        for part in body
    ]
    groups = 1 + max(part.group for part in body)
    things = [
        replace(
            part,
            group=part.group + groups,
            parent=part.parent + len(body) if part.parent >= 0 else -1,
            contours=tuple(move(c, 1.0, 0, 0.25 if kind == 2 else 0) for c in part.contours),
            pivot=(part.pivot[0], part.pivot[1] + (0.25 if kind == 2 else 0)),
            thing=True,
        )
        for part in mount
    ]
    return placed + things


def quadruped(rng: np.random.Generator) -> list[Part]:
    """Builds a four-legged animal seen from the side: groups 0 coat, 1 legs, 2 head."""
    girth, leg = rng.uniform(0.15, 0.36), rng.uniform(0.2, 0.6)
    back = np.linspace(-0.6, 0.5, 8, dtype=np.float32)
    sag = rng.normal(0, 0.06) * np.cos(back * 3) - rng.choice([0, 0.12]) * np.exp(-30 * back**2)
    spine = np.stack([back, sag], 1).astype(np.float32)
    bulge = girth * (0.75 + 0.25 * np.sin(np.linspace(0.2, 3, 8) + rng.normal(0, 0.5)))
    bulge[[0, -1]] *= 0.7
    parts = [Part((ribbon(spine, bulge.astype(np.float32)),), 0, swing=0.04, depth=1.0)]
    for x, radius in ((-0.55, 0.75), (0.45, 0.75)):
        parts.append(Part((ellipse(x, 0, girth * radius, girth * radius),), 0, 0, depth=1.0))
    reach, rise = rng.uniform(0.1, 0.3), rng.uniform(-0.15, 0.6)
    neck_end = (0.5 + reach, -rise)
    neck = capsule((0.42, -0.05), neck_end, girth * 0.75, girth * rng.uniform(0.3, 0.5))
    nod = rng.uniform(0, 0.25)
    parts.append(Part((neck,), 0, 0, (0.42, -0.05), 0, nod, 0.1, 1.1))
    size = girth * rng.uniform(0.4, 0.65)
    snout = (neck_end[0] + rng.uniform(0.1, 0.28), neck_end[1] + rng.uniform(0, 0.2))
    skull = capsule(neck_end, snout, size, size * rng.uniform(0.4, 0.8))
    head_group = int(rng.choice([0, 2]))
    parts.append(Part((skull,), head_group, 3, neck_end, 0, nod, 0.4, 1.2))
    for lean in (-0.06, 0.03):
        tip = (neck_end[0] + lean - 0.05, neck_end[1] - size - rng.uniform(0.03, 0.2))
        ear = capsule((neck_end[0] + lean, neck_end[1] - size * 0.5), tip, 0.05, 0.015)
        parts.append(Part((ear,), head_group, 4, neck_end, 0, 0.1, 0.0, 1.15))
    tail_end = (-0.65 - rng.uniform(0.1, 0.35), rng.uniform(-0.4, 0.35))
    tail = capsule((-0.65, -0.05), tail_end, rng.uniform(0.03, 0.07), rng.uniform(0.015, 0.06))
    parts.append(Part((tail,), 0, 0, (-0.65, -0.05), 0, rng.uniform(0, 0.5), 0.0, 0.9))
    swing, thick = rng.uniform(0.1, 0.6), girth * rng.uniform(0.25, 0.5)
    gait = rng.permutation([0.0, 0.5, 0.1, 0.6])
    for index, (x, depth) in enumerate(((-0.5, 0.1), (0.38, 0.1), (-0.55, 1.3), (0.45, 1.3))):
        group = 1 if depth < 1 or rng.random() < 0.2 else 0
        parts += _limb(
            len(parts), (x, girth * 0.3), _Limb(
                (leg * 0.55 + girth * 0.4, leg * 0.55), (thick, thick * 0.6, thick * 0.42),
                (group, group, 1), (rng.normal(0, 0.15), rng.normal(0, 0.2)),
                (swing, float(gait[index])),
            ), depth,
        )  # fmt: skip
    return parts


def bird(rng: np.random.Generator) -> list[Part]:
    """Builds a bird or an insect: body, head, beak, tail and beating wings."""
    girth = rng.uniform(0.12, 0.3)
    parts = [Part((ellipse(0, 0, 0.5, girth),), 0, depth=1.0)]
    parts.append(Part((ellipse(0.5, -girth * 0.6, girth * 0.6, girth * 0.6),), 2, 0, depth=1.1))
    beak = capsule((0.5 + girth * 0.5, -girth * 0.6), (0.6 + girth, -girth * 0.4), 0.04, 0.01)
    parts.append(Part((beak,), 1, 0, depth=1.05))
    tail = np.array([[-0.4, -0.05], [-0.95, -0.15], [-0.9, 0.12], [-0.4, 0.08]], np.float32)
    parts.append(Part((tail,), 0, 0, (-0.4, 0), rng.normal(0, 0.2), 0.1, 0, 0.9))
    beat, span = rng.uniform(0.1, 1.0), rng.uniform(0.5, 1.0)
    for depth, phase in ((0.5, 0.05), (1.5, 0.0)):
        wing = move(fourier_blob(rng, 0.1, 3), 0.5, 0, -0.5)
        wing = wing * np.array([0.55, span], np.float32)
        parts.append(Part((wing,), 3, 0, (0, 0), rng.normal(-0.3, 0.4), beat, phase, depth))
    return parts


def fish(rng: np.random.Generator) -> list[Part]:
    girth = rng.uniform(0.2, 0.55)
    x = np.linspace(-0.7, 1, 20, dtype=np.float32)
    width = girth * np.sqrt(np.clip(1 - ((x - 0.25) / 0.98) ** 2, 0.01, 1))
    body = ribbon(np.stack([x, 0 * x], 1).astype(np.float32), width.astype(np.float32))
    tail = np.array([[-0.6, 0], [-1, -0.4], [-0.85, 0], [-1, 0.4]], np.float32)
    fin = np.array([[-0.1, -girth * 0.8], [0.4, -girth * 0.8], [-0.2, -girth * 1.5]], np.float32)
    return [
        Part((body,), 0, depth=1.0, swing=0.05),
        Part((tail,), 1, 0, (-0.6, 0), 0, rng.uniform(0.1, 0.5), 0, 0.9),
        Part((fin,), 1, 0, depth=0.8),
    ]


def vehicle(rng: np.random.Generator) -> list[Part]:
    """Builds a car, a bus or a lorry: groups 0 body, 1 wheels, 2 windows, 3 lights."""
    tall, floor = rng.uniform(0.15, 0.3), 0.25
    body = rounded_box(-1, -tall, 1, floor, rng.uniform(0.05, 0.18))
    parts = [Part((body,), 0, depth=1.0)]
    left, right = rng.uniform(-0.95, -0.5), rng.uniform(0.2, 0.9)
    roof = -tall - rng.uniform(0.2, 0.55)
    slant = rng.uniform(0.0, 0.3)
    cabin = np.array([[left, -tall + 0.1], [left + slant * 0.7, roof], [right - slant, roof],
                      [right, -tall + 0.1]], np.float32)  # fmt: skip
    parts.append(Part((cabin,), 0, 0, depth=1.1))
    panes = int(rng.integers(1, 5))
    middle = cabin.mean(0)
    edges = np.linspace(0.08, 0.92, panes + 1)
    for a, b in pairwise(edges.tolist()):
        low = [cabin[0] + (cabin[3] - cabin[0]) * f for f in (a + 0.02, b - 0.02)]
        high = [cabin[1] + (cabin[2] - cabin[1]) * f for f in (b - 0.02, a + 0.02)]
        pane = np.array([*low, *high], np.float32)
        pane[:, 1] = middle[1] + (pane[:, 1] - middle[1]) * 0.65
        parts.append(Part((pane,), 2, 0, depth=1.2))
    radius = rng.uniform(0.13, 0.24)
    for x in (rng.uniform(-0.7, -0.5), rng.uniform(0.45, 0.7)):
        parts.append(Part((ellipse(x, floor, radius, radius),), 1, 0, depth=1.3))
        hub = ellipse(x, floor, radius * 0.5, radius * 0.5)
        parts.append(Part((hub,), 3, 0, depth=1.4))
    parts.append(Part((ellipse(0.92, 0, 0.05, 0.07),), 3, 0, depth=1.2))
    return parts
