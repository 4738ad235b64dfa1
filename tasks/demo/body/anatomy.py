"""From the atlas to one patient: layers warped one by one and recombined, in the pixel grid of the
atlas."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import cv2
import numpy as np

from tasks.demo.body.atlas import LOBES, PITCH, SIZE, View
from tasks.demo.body.patient import Patient

SIDES = ("right", "left")
THIN = 15.0
"""Millimetres of heart or vessel that do not displace lung: appendages and veins at the hilum."""
LARGEST = 1.5
"""Largest scale of a heart: beyond it the apex would leave the chest."""
SINK = 8.0
"""Pixels by which the heart is lowered: in the CT, taken in deep inspiration, there is lung between
heart and diaphragm."""


@dataclass
class Body:
    """One patient in one pose while it is put together; images float32 [SIZE, SIZE] in mm of water.

    `air`, `vessels`: per side; `frames`: where each lung's pixels come from; `extra`: what findings
    and devices add; `lung`: the lungs as seen, bool; `open`: pleural space with air in it, bool;
    `masks`: finding -> one bool image per part.
    """

    view: View
    layers: dict[str, np.ndarray]
    air: dict[str, np.ndarray]
    vessels: dict[str, np.ndarray]
    frames: dict[str, tuple[np.ndarray, np.ndarray]]
    extra: np.ndarray
    lung: dict[str, np.ndarray]
    open: dict[str, np.ndarray] = field(default_factory=dict)
    masks: dict[str, list[np.ndarray]] = field(default_factory=dict)

    def add_mask(self, name: str, mask: np.ndarray) -> None:
        """Remember where a finding is."""
        self.masks.setdefault(name, []).append(mask)

    def lobe(self, name: str) -> np.ndarray:
        """Return the path through one lobe ("right upper") in mm."""
        side = name.split(maxsplit=1)[0]
        return _remap(self.view.lobes[LOBES.index(name)], *self.frames[side])

    def lungs(self) -> np.ndarray:
        """Return both chest cavities as seen on the image (what the diaphragm hides left out),
        bool."""
        return np.logical_or.reduce([*self.lung.values(), *self.open.values()])

    def fill(self, side: str, share: np.ndarray, pleural: bool = False) -> None:
        """Replace a share 0..1 of the air of one lung (or of its pleural space) by fluid or tissue;
        vessels in it fade."""
        share = np.clip(share, 0, 0.97)
        if side in self.open and not pleural:
            share = np.where(self.open[side], 0, share)
        self.air[side] = self.air[side] * (1 - share)
        self.vessels[side] = self.vessels[side] * (1 - share)


@lru_cache(maxsize=1)
def grid() -> tuple[np.ndarray, np.ndarray]:
    """Return the pixel coordinates (x, y) of the atlas, float32 [SIZE, SIZE]."""
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
    return x, y


def noise(
    rng: np.random.Generator, cell: float, shape: tuple[int, int] = (SIZE, SIZE)
) -> np.ndarray:
    """Return smooth noise of unit variance whose features are about `cell` pixels wide."""
    cells = (int(shape[0] / cell) + 4, int(shape[1] / cell) + 4)
    coarse = rng.standard_normal(cells).astype(np.float32)
    return cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC) * np.float32(1.3)


def _remap(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def assemble(view: View, patient: Patient, heart: float, lift: tuple[float, float]) -> Body:
    """Warp the structures of one patient in a view.

    `heart` scales the base patient's heart; `lift`: mm by which the right and the left diaphragm
    are lower.
    """
    rng = np.random.default_rng(patient.seed)
    layers = dict(view.layers)
    air, vessels, frames = _breathe(view, patient, lift, rng)
    _scale_heart(layers, air, view, heart, patient, frames["left"])
    _widen_vessels(layers, air, view, patient.aorta)
    seen = {side: _visible(air[side], side if view.name != "lateral" else "") for side in SIDES}
    _lower_heart(layers, air, seen, view)
    _shift_shoulders(layers, rng)
    extra = np.zeros((SIZE, SIZE), np.float32)
    body = Body(view, layers, air, vessels, frames, extra, seen)
    _soft_tissue(body, patient, rng)
    _vary_vessels(body, rng)
    return body


def _breathe(
    view: View, patient: Patient, lift: tuple[float, float], rng: np.random.Generator
) -> tuple:
    """Move the diaphragm: stretch or compress each lung below the carina."""
    x, y = grid()
    top = view.points["carina"][1]
    air = {}
    vessels = {}
    frames = {}
    for side, level, raised in zip(SIDES, patient.lungs, lift, strict=True):
        t = np.clip((y - top) / (0.3 * SIZE), 0, 1.6)
        shift = (level + raised) / PITCH * t * t * (3 - 2 * np.minimum(t, 1)) / np.maximum(t, 1)
        tilt = 1 + 0.15 * rng.standard_normal() * (x - SIZE / 2) / SIZE
        frames[side] = (x, (y + shift * tilt).astype(np.float32))
        air[side] = _remap(view.layers[f"air_{side}"], *frames[side])
        vessels[side] = _remap(view.layers[f"vessels_{side}"], *frames[side])
    return air, vessels, frames


def _scale_heart(
    layers: dict[str, np.ndarray],
    air: dict[str, np.ndarray],
    view: View,
    scale: float,
    patient: Patient,
    frame: tuple[np.ndarray, np.ndarray],
) -> None:
    """Scale the heart about its root; the lungs around it are bent with it, so that their edges go
    on meeting."""
    x, y = grid()
    before = _remap(layers["heart"], *frame)
    cx, cy = view.points["svc_low"]
    wide = min(scale * patient.heart_shape, LARGEST)
    tall = (1 + 0.65 * (scale - 1)) / patient.heart_shape
    dx = (cx - x) * (1 - 1 / wide) - patient.heart_shift / PITCH
    dy = (cy - y) * (1 - 1 / tall)
    core = (_remap(before, x + dx, y + dy) > THIN).astype(np.uint8)
    around = cv2.dilate(core, np.ones((21, 21), np.uint8)).astype(np.float32)
    near = cv2.GaussianBlur(around, (0, 0), 9)
    if view.name != "lateral":
        near *= np.clip((0.84 * SIZE - x) / 25, 0, 1)
    bent = (x + near * dx, y + near * dy)
    layers["heart"] = _remap(before, *bent)
    for side in SIDES:
        covered = np.float32(patient.heart_depth) * np.minimum(layers["heart"] / 60, 1)
        air[side] = _remap(air[side], *bent) * (1 - covered)


def _widen_vessels(
    layers: dict[str, np.ndarray], air: dict[str, np.ndarray], view: View, scale: float
) -> None:
    """Scale the great vessels in width about the midline; they displace lung."""
    x, y = grid()
    before = layers["great_vessels"]
    middle = view.points["carina"][0]
    scaled = _remap(before, middle + (x - middle) / np.float32(scale), y)
    layers["great_vessels"] = scaled
    added = np.maximum(scaled - THIN, 0) - np.maximum(before - THIN, 0)
    for side in SIDES:
        air[side] = _displaced(air[side], np.maximum(added, -THIN), 1.0)


def _lower_heart(
    layers: dict[str, np.ndarray],
    air: dict[str, np.ndarray],
    seen: dict[str, np.ndarray],
    view: View,
) -> None:
    """Lower the heart onto the diaphragm: what it covers of the lung seen is lung no more."""
    if view.name == "lateral":
        return
    x, y = grid()
    before = layers["heart"]
    layers["heart"] = _remap(before, x, y - np.float32(SINK))
    added = np.maximum(layers["heart"] - before, 0)
    for side in SIDES:
        share = cv2.GaussianBlur(seen[side].astype(np.float32), (0, 0), 1.5)
        air[side] = _displaced(air[side], added, share)


def _displaced(air: np.ndarray, tissue: np.ndarray, share: np.ndarray | float) -> np.ndarray:
    """Return the air that is left where `tissue` (mm) takes its place; 2 mm stay, so that a lung
    keeps its outline."""
    taken = cv2.GaussianBlur(tissue, (0, 0), 2) * share
    return np.where(air > 4, np.maximum(air - taken, 2), air)


def _shift_shoulders(layers: dict[str, np.ndarray], rng: np.random.Generator) -> None:
    """Move shoulder blades and clavicles a little, each side its own way."""
    x, y = grid()
    side = np.tanh((x - SIZE / 2) / 25)
    for name, spread in (("shoulders", 9.0), ("clavicles", 4.0)):
        right, left = (0.6 * spread * rng.standard_normal((2, 2))).astype(np.float32)
        dx = 0.4 * spread * side + np.where(x < SIZE / 2, right[0], left[0])
        dy = np.where(x < SIZE / 2, right[1], left[1])
        sources = ((x - dx).astype(np.float32), (y - dy).astype(np.float32))
        layers[name] = _remap(layers[name], *sources)


def _visible(air: np.ndarray, side: str) -> np.ndarray:
    """Return the lung above the diaphragm's dome: per column, down to where most of its depth ends.

    Towards the spine, where a thin recess goes on behind heart and liver, the level of the dome
    beside it holds.
    """
    deep = cv2.GaussianBlur(air, (0, 0), 1)
    reach = deep > np.maximum(0.42 * deep.max(0, keepdims=True), 6)
    last = SIZE - 1 - np.argmax(reach[::-1], axis=0)
    lowest = np.where(reach.any(0), last, -1).astype(np.float32)
    columns = np.flatnonzero((air > 6).any(0))
    if len(columns) and side:
        share = 0.68 if side == "right" else 0.32
        edge = int(columns[0] + share * (columns[-1] - columns[0]))
        inner = slice(edge, None) if side == "right" else slice(None, edge)
        lowest[inner] = np.minimum(lowest[inner], lowest[edge] + 5)
    lowest = cv2.GaussianBlur(lowest[None], (0, 0), 2)[0]
    _, y = grid()
    mask = ((air > 6) & (y <= lowest[None])).astype(np.uint8)
    return cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0


def _soft_tissue(body: Body, patient: Patient, rng: np.random.Generator) -> None:
    """Thicken the body, add fat unevenly, breasts (lower edge sharper) and a little asymmetry."""
    x, y = grid()
    thick = patient.girth * (1 + 0.02 * noise(rng, 90))
    body.layers["body"] = body.layers["body"] * thick
    if patient.breasts <= 0.15 or body.view.name == "lateral":
        return
    size = 32 + 16 * min(patient.breasts, 2)
    low = SIZE * 0.56 + rng.normal(0, 10) + 8 * patient.breasts
    for sign in (-1, 1):
        cx = SIZE / 2 + sign * (62 + rng.normal(0, 4) + 6 * patient.breasts)
        cy = low + rng.normal(0, 3)
        down = y > cy
        height = np.where(down, size * 0.62, size * 1.35)
        r = ((x - cx) / size) ** 2 + ((y - cy) / height) ** 2
        breast = 26 * min(patient.breasts, 1.8) * np.sqrt(np.clip(1 - r, 0, 1))
        body.layers["body"] += breast.astype(np.float32)


def _vary_vessels(body: Body, rng: np.random.Generator) -> None:
    """Give each lung its own vessels: the CT's, bent, mixed with a random tree from the hilum."""
    x, y = grid()
    for side in SIDES:
        dx = 4.5 * noise(rng, 34)
        dy = 4.5 * noise(rng, 34)
        bent = _remap(body.vessels[side], x + dx, y + dy)
        share = rng.uniform(0.45, 0.8)
        tree = _tree(body, side, rng)
        inside = np.clip(body.air[side] / 40, 0, 1)
        texture = 1 + 0.02 * noise(rng, 5)
        mixed = share * bent + (1.1 - share) * tree * inside
        body.vessels[side] = mixed.astype(np.float32)
        body.air[side] = body.air[side] * texture.astype(np.float32)


def _tree(body: Body, side: str, rng: np.random.Generator) -> np.ndarray:
    """Return a lung's tree; the lateral view keeps the CT's vessels alone."""
    if body.view.name == "lateral":
        return np.zeros((SIZE, SIZE), np.float32)
    return vessel_tree(rng, body.view.points[f"hilum_{side}"], -1 if side == "right" else 1)


def vessel_tree(rng: np.random.Generator, hilum: tuple[float, float], outward: int) -> np.ndarray:
    """Draw a random branching tree (arteries and veins of one lung) as thickness in mm, float32
    [SIZE, SIZE]."""
    roots = 9
    at = np.array(hilum) + rng.normal(0, (3, 6), (roots, 2))
    angle = np.linspace(-1.35, 1.45, roots) + rng.normal(0, 0.12, roots)
    width = rng.uniform(3, 5, roots)
    length = rng.uniform(16, 26, roots)
    lines = []
    widths = []
    while len(width):
        line, angle = _branches(rng, at, angle, length, outward)
        lines.append(line)
        widths.append(width)
        going = np.repeat(np.flatnonzero(width > 0.85), 2)
        minor = np.tile([False, True], len(going) // 2)
        bend = np.where(minor, 1, -0.5) * rng.uniform(0.25, 0.55, len(going))
        turn = bend * np.repeat(rng.choice([-1, 1], len(going) // 2), 2)
        at = line[going, -1]
        angle = angle[going] + turn
        thin = rng.uniform(0.45, 0.75, len(going))
        thick = rng.uniform(0.72, 0.88, len(going))
        width = width[going] * np.where(minor, thin, thick)
        length = length[going] * rng.uniform(0.72, 0.98, len(going))
    return _draw_tree(np.concatenate(lines), np.concatenate(widths))


def _branches(
    rng: np.random.Generator, at: np.ndarray, angle: np.ndarray, length: np.ndarray, outward: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the bent branches [n, 4, 2] that start `at` and the angles they end with."""
    bends = rng.normal(0, 0.16, len(angle))
    angles = angle[:, None] + bends[:, None] * np.arange(1, 4) / 3
    directions = np.stack([outward * np.cos(angles), np.sin(angles)], 2)
    steps = directions * length[:, None, None] / 3
    start = at[:, None]
    return np.concatenate([start, start + np.cumsum(steps, 1)], 1), angles[:, -1]


def _draw_tree(lines: np.ndarray, widths: np.ndarray) -> np.ndarray:
    result = np.zeros((SIZE, SIZE), np.float32)
    steps = np.searchsorted([1.5, 2.5, 3.5, 5, 7], widths * 2)
    level = np.array([1, 2, 3, 4, 6, 8])[steps]
    pixels = np.round(lines * 8).astype(np.int32)
    for width in np.unique(level):
        canvas = np.zeros((SIZE, SIZE), np.uint8)
        branches = list(pixels[level == width])
        cv2.polylines(canvas, branches, False, (255,), max(1, round(width / 2)), cv2.LINE_AA, 3)
        result += canvas * np.float32(width / 2 / 255 * 0.75)
    return cv2.GaussianBlur(result, (0, 0), 0.7)
