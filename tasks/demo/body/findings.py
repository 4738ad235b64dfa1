"""Findings, added in attenuation to a body in the pixel grid of the atlas; each leaves an exact
mask."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from tasks.demo.body.anatomy import SIDES, Body, grid, noise
from tasks.demo.body.atlas import PITCH, SIZE
from tasks.demo.body.patient import Finding


def add_finding(body: Body, finding: Finding) -> None:
    """Add one finding (cardiomegaly and lost volume are part of the anatomy and add only their
    mask)."""
    PAINTERS[finding.name](body, finding, np.random.default_rng(finding.seed))


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(values, -30, 30)))


def _outward(side: str) -> int:
    return -1 if side == "right" else 1


def _main_pieces(mask: np.ndarray, share: float) -> np.ndarray:
    """Return the connected pieces that are at least `share` of the largest."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    areas = stats[1:count, cv2.CC_STAT_AREA]
    if not len(areas):
        return mask
    return np.isin(labels, 1 + np.flatnonzero(areas >= share * areas.max()))


_RETREATS = {
    "apical": (8, 30),
    "apicolateral": (32, 48),
    "lateral": (82, 34),
    "basal": (125, 24),
}
"""Direction from the hilum in which the lung retreats, in degrees from the apex, and its width."""


def _bell(distance: np.ndarray, width: float) -> np.ndarray:
    return np.exp(-((distance / width) ** 2))


def _along_and_across(
    dx: np.ndarray, dy: np.ndarray, cosine: float, sine: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return offsets along a direction and across it."""
    return dx * cosine + dy * sine, -dx * sine + dy * cosine


def _pneumothorax(body: Body, finding: Finding, rng: np.random.Generator) -> None:
    """Shrink the lung towards its hilum: vessels end at the pleural line, beyond it there is only
    air."""
    side = finding.side
    lung = body.lung[side]
    retreat = _retreat(body, finding, rng)
    hx, hy = body.view.points[f"hilum_{side}"]
    x, y = grid()
    qx = (hx + (x - hx) / (1 - retreat)).astype(np.float32)
    qy = (hy + (y - hy) / (1 - retreat)).astype(np.float32)
    collapsed = cv2.remap(lung.astype(np.float32), qx, qy, cv2.INTER_LINEAR)
    space = lung & (collapsed < 0.5) & (body.air[side] > 12)
    square = np.ones((3, 3), np.uint8)
    space = cv2.morphologyEx(space.astype(np.uint8), cv2.MORPH_OPEN, square) > 0
    outside = np.clip((1 - collapsed) * lung, 0, 1)
    vessels = cv2.remap(body.vessels[side], qx, qy, cv2.INTER_LINEAR) * (1 + 0.3 * retreat)
    body.vessels[side] = vessels * (1 - outside)
    hazier = 0.4 * finding.amount * float(retreat.max()) * (1 - outside) * lung
    gain = 1 + (0.05 + 0.25 * finding.contrast) * outside - hazier
    body.air[side] = body.air[side] * gain.astype(np.float32)
    body.extra += _pleural_line(lung, collapsed, 1.0 + 1.6 * finding.contrast)
    space = _main_pieces(space, 0.12)
    body.open[side] = space
    body.lung[side] = lung & ~space
    body.add_mask("pneumothorax", space)


def _retreat(body: Body, finding: Finding, rng: np.random.Generator) -> np.ndarray:
    """Return by how much the lung's edge retreats (share of its distance from the hilum), by
    direction."""
    hx, hy = body.view.points[f"hilum_{finding.side}"]
    x, y = grid()
    angle = np.rad2deg(np.arctan2((x - hx) * _outward(finding.side), hy - y))
    direction, width = _RETREATS[finding.location]
    centre = direction + rng.normal(0, 7)
    spread = width * (0.8 + 0.5 * finding.amount)
    depth = 0.1 + 0.42 * finding.amount**1.2
    phase = angle * rng.uniform(2, 5) + rng.uniform(0, 360)
    waves = 1 + 0.1 * np.sin(np.deg2rad(phase))
    retreat = depth * _bell(angle - centre, spread) * waves
    if rng.random() < 0.25:
        second = centre + rng.choice([-1, 1]) * rng.uniform(70, 95)
        retreat = np.maximum(retreat, 0.8 * depth * _bell(angle - second, 16))
    medial = np.where(angle < -8, _bell(angle + 8, 12), 1.0)
    return np.clip(retreat * medial, 0, 0.6).astype(np.float32)


def _pleural_line(lung: np.ndarray, collapsed: np.ndarray, thickness: float) -> np.ndarray:
    """Return the visceral pleura as mm of tissue along the collapsed lung's edge, where that is not
    the chest wall."""
    inside = (collapsed > 0.5).astype(np.uint8)
    edge = cv2.morphologyEx(inside, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    wall = cv2.erode(lung.astype(np.uint8), np.ones((5, 5), np.uint8))
    line = np.bitwise_and(edge, wall).astype(np.float32)
    return cv2.GaussianBlur(line, (0, 0), 0.8) * np.float32(thickness * 2.2)


def _effusion(body: Body, finding: Finding, rng: np.random.Generator) -> None:
    """Fill the base with fluid: highest at the chest wall, meniscus towards the middle; a faint
    veil above."""
    side = finding.side
    x, y = grid()
    lung = body.air[side] > 4
    columns = np.flatnonzero(lung.any(0))
    wall = float(columns[0 if side == "right" else -1])
    inner = float(columns[-1 if side == "right" else 0])
    t = np.clip((x - wall) / (inner - wall), 0, 1)
    lateral = body.lung[side] & (np.abs(t - 0.1) < 0.1)
    bottom = float(np.flatnonzero(lateral.any(1))[-1])
    height = 16 + 150 * finding.amount**1.2
    sag = rng.uniform(0.8, 1.1) - 0.75 * finding.amount
    meniscus = 1 - sag * (1 - (1 - t) ** 2.2) + 0.1 * finding.amount * t**4
    level = bottom - height * meniscus + 1.5 * noise(rng, 40)
    blur = 3 + 5 * rng.random() + 4 * (1 - finding.contrast)
    share = _sigmoid((y - level) / blur)
    below = np.clip((y - SIZE * 0.3) / (0.3 * SIZE), 0, 1)
    veil = 0.12 * finding.amount * rng.random() * below
    mask = body.lung[side] & (share > 0.5)
    body.fill(side, (0.72 + 0.25 * finding.contrast) * share + veil, pleural=True)
    body.add_mask("effusion", _main_pieces(mask, 0.5))


def _lobe_spot(
    body: Body, lobe: str, rng: np.random.Generator, share: float = 0.45
) -> tuple[float, float]:
    """Return a random point (x, y) where the lobe is deep and the lung is seen."""
    path = body.lobe(lobe)
    side = lobe.split(maxsplit=1)[0]
    deep = body.lung[side] & (path > share * path.max())
    room = cv2.erode(deep.astype(np.uint8), np.ones((9, 9), np.uint8))
    ys, xs = np.nonzero(room if room.any() else (path > 0.8 * path.max()))
    pixel = int(rng.integers(len(xs)))
    return float(xs[pixel]), float(ys[pixel])


def _consolidation(body: Body, finding: Finding, rng: np.random.Generator) -> None:
    """Fill alveoli: a cloudy patch with ill-defined edges inside one lobe."""
    lobe = f"{finding.side} {finding.location}"
    x, y = grid()
    cx, cy = _lobe_spot(body, lobe, rng)
    size = 12 + 34 * finding.amount
    turn = rng.uniform(0, np.pi)
    ratio = rng.uniform(0.6, 1)
    u, v = _along_and_across(x - cx, y - cy, np.cos(turn), np.sin(turn))
    r = np.sqrt(u**2 + (v / ratio) ** 2) / size
    cloud = _sigmoid((1 - r + 0.3 * noise(rng, 22) + 0.1 * noise(rng, 9)) * 5)
    path = cv2.GaussianBlur(body.lobe(lobe), (0, 0), 2)
    inside = np.clip(path / (0.35 * path.max()), 0, 1)
    strength = (0.14 + 0.42 * finding.contrast) * (
        0.9 + 0.1 * noise(rng, 11) + 0.06 * noise(rng, 5)
    )
    share = np.clip(strength, 0.05, 0.9) * cloud * inside
    depth = np.clip(1.2 * path / np.maximum(body.air[finding.side], 20), 0, 1.3)
    body.fill(finding.side, share * depth)
    body.add_mask("consolidation", body.lung[finding.side] & (cloud * inside > 0.45))


def _atelectasis(body: Body, finding: Finding, rng: np.random.Generator) -> None:
    """Draw plate-like bands above the diaphragm, or a patch of lost volume at the base."""
    side = finding.side
    ys, xs = np.nonzero(body.lung[side])
    base = np.percentile(ys, 88)
    if finding.kind == "patchy":
        _basal_patch(body, finding, rng, float(base))
        return
    canvas = np.zeros((SIZE, SIZE), np.uint8)
    for _ in range(1 + int(rng.integers(0, 3))):
        length = 16 + 48 * finding.amount * rng.uniform(0.6, 1)
        cx = np.percentile(xs, rng.uniform(30, 70))
        cy = base - rng.uniform(2, 42)
        slope = rng.normal(0, 0.25)
        bend = rng.normal(0, 0.004)
        t = np.linspace(-length / 2, length / 2, 12)
        line = np.stack([cx + t, cy + slope * t + bend * t * t], 1)
        points = np.round(line * 8).astype(np.int32)
        width = int(rng.integers(1, 4))
        cv2.polylines(canvas, [points], False, (255,), width, cv2.LINE_AA, 3)
    canvas[~body.lung[side]] = 0
    band = cv2.GaussianBlur(canvas.astype(np.float32) / 255, (0, 0), 0.9)
    body.extra += band * np.float32(5 + 13 * finding.contrast)
    thicker = cv2.dilate(canvas, np.ones((3, 3), np.uint8))
    body.add_mask("atelectasis", (thicker > 80) & body.lung[side])


def _basal_patch(body: Body, finding: Finding, rng: np.random.Generator, base: float) -> None:
    side = finding.side
    x, y = grid()
    xs = np.nonzero(body.lung[side])[1]
    cx = np.percentile(xs, rng.uniform(35, 65))
    size = 18 + 26 * finding.amount
    r = np.sqrt(((x - cx) / (1.5 * size)) ** 2 + ((y - base - 4) / (0.7 * size)) ** 2)
    streaks = cv2.GaussianBlur(noise(rng, 7), (0, 0), sigmaX=9, sigmaY=2)
    cloud = _sigmoid((1 - r + 0.15 * noise(rng, 20)) * 5)
    share = cloud * np.clip(0.8 + 0.4 * streaks, 0.3, 1.2)
    body.fill(side, (0.18 + 0.4 * finding.contrast) * share)
    body.add_mask("atelectasis", body.lung[side] & (r < 1))


def _edema(body: Body, finding: Finding, rng: np.random.Generator) -> None:
    """Haze both lungs from the hila outwards, widen the vessels, draw Kerley B lines where it is
    severe."""
    for side in SIDES:
        x, y = grid()
        hx, hy = body.view.points[f"hilum_{side}"]
        reach = 34 + 34 * finding.amount
        r = np.sqrt(((x - hx) / reach) ** 2 + ((y - hy - 14) / (1.6 * reach)) ** 2)
        patches = np.clip(1 + 0.35 * noise(rng, 24) + 0.3 * noise(rng, 9), 0.2, 2)
        haze = np.exp(-(r**2)) * patches
        wide = cv2.GaussianBlur(body.vessels[side], (0, 0), 1.6)
        vessels = body.vessels[side] * 0.75 + wide * (0.5 + 0.6 * finding.amount)
        body.vessels[side] = vessels.astype(np.float32)
        strength = (0.08 + 0.25 * finding.amount) * (0.5 + 0.5 * finding.contrast)
        body.fill(side, strength * haze)
        body.add_mask("edema", body.lung[side] & (r < 1.1))
        if finding.amount > 0.4:
            body.extra += _kerley(body, side, rng)


def _kerley(body: Body, side: str, rng: np.random.Generator) -> np.ndarray:
    canvas = np.zeros((SIZE, SIZE), np.uint8)
    lung = body.lung[side]
    rows = np.flatnonzero(lung.any(1))
    high, low = np.percentile(rows, (66, 90))
    for row in np.linspace(high, low, int(rng.integers(5, 10))):
        columns = np.flatnonzero(lung[int(row)])
        if len(columns) < 25:
            continue
        wall = columns[0] + 1 if side == "right" else columns[-1] - 1
        inner = wall - _outward(side) * rng.uniform(8, 15)
        ends = np.array([[wall, row], [inner, row + rng.normal(0, 1)]]) * 8
        cv2.polylines(canvas, [np.round(ends).astype(np.int32)], False, (255,), 1, cv2.LINE_AA, 3)
    return canvas.astype(np.float32) * np.float32(3.0 / 255)


def _cardiomegaly(body: Body, finding: Finding, rng: np.random.Generator) -> None:
    body.add_mask("cardiomegaly", heart_outline(body))


def heart_outline(body: Body) -> np.ndarray:
    """Return the heart without its appendages and veins, bool."""
    half = (SIZE // 2, SIZE // 2)
    small = cv2.resize(body.layers["heart"], half, interpolation=cv2.INTER_AREA) > 25
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (15, 15))
    opened = cv2.morphologyEx(small.astype(np.uint8), cv2.MORPH_OPEN, disc).astype(np.float32)
    return cv2.resize(opened, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR) > 0.5


def _nodule(body: Body, finding: Finding, rng: np.random.Generator) -> None:
    """Put a lumpy ball of tissue into one lobe (the beam's path through it, in mm)."""
    x, y = grid()
    cx, cy = _lobe_spot(body, f"{finding.side} {finding.location}", rng, 0.3)
    radius = nodule_diameter(finding) / 2 / PITCH
    angle = np.arctan2(y - cy, x - cx)
    lumps = sum(
        rng.normal(0, 0.14 / n) * np.sin(n * angle + rng.uniform(0, 6.3)) for n in range(2, 8)
    )
    r = np.hypot(x - cx, y - cy) / (radius * (1 + lumps))
    thickness = 2 * radius * PITCH * np.sqrt(np.clip(1 - r * r, 0, 1))
    path = thickness * (0.6 + 0.35 * finding.contrast)
    body.extra += cv2.GaussianBlur(path.astype(np.float32), (0, 0), 0.8)
    body.add_mask("nodule", (r < 1) & (body.air[finding.side] > 0))


def nodule_diameter(finding: Finding) -> float:
    """Return a nodule's diameter in mm: 9 to 28 for a nodule, more for a mass."""
    if finding.kind == "nodule":
        return 9 + 30 * finding.amount
    return 31 + 60 * (finding.amount - 0.62)


def _fracture(body: Body, finding: Finding, rng: np.random.Generator) -> None:
    """Break one rib: a dark gap across it, and a step between the ends."""
    line = body.view.ribs[f"{finding.side} {finding.location}"]
    low, high = (0.25, 0.45) if finding.kind == "posterior" else (0.45, 0.7)
    at = round(len(line) * rng.uniform(low, high))
    at = int(np.clip(at, 1, len(line) - 2))
    cx, cy = line[at]
    along = line[at + 1] - line[at - 1]
    along = along / max(float(np.hypot(*along)), 1e-6)
    x, y = grid()
    u, v = _along_and_across(x - cx, y - cy, *along)
    step = (1.6 + 3 * finding.amount) * rng.choice([-1, 1])
    shift = step * _sigmoid(u / 0.5) * _bell(u, 16) * _bell(v, 14)
    gap = 1 - (0.5 + 0.4 * finding.contrast) * _bell(u, 1.3) * (np.abs(v) < 9)
    layer = max(("ribs_front", "ribs_back"), key=lambda name: body.layers[name][int(cy), int(cx)])
    mx = (x + shift * along[1]).astype(np.float32)
    my = (y - shift * along[0]).astype(np.float32)
    broken = cv2.remap(body.layers[layer], mx, my, cv2.INTER_LINEAR) * gap
    body.layers[layer] = broken.astype(np.float32)
    body.add_mask("fracture", (np.abs(u) < 11) & (np.abs(v) < 9))


PAINTERS: dict[str, Callable[[Body, Finding, np.random.Generator], None]] = {
    "pneumothorax": _pneumothorax,
    "effusion": _effusion,
    "consolidation": _consolidation,
    "atelectasis": _atelectasis,
    "edema": _edema,
    "cardiomegaly": _cardiomegaly,
    "nodule": _nodule,
    "fracture": _fracture,
}
