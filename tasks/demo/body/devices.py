"""Support devices and foreign objects, drawn as mm of dense material in the pixel grid of the
atlas."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from tasks.demo.body.anatomy import Body
from tasks.demo.body.atlas import PITCH, SIZE
from tasks.demo.body.patient import Finding

FINE = 2
"""Devices are drawn on a grid this many times finer."""
Point = tuple[float, float]


def add_device(body: Body, finding: Finding) -> None:
    """Draw one device; its mask is what was drawn."""
    rng = np.random.default_rng(finding.seed)
    drawn = DRAWERS[finding.kind](body.view.points, finding, rng)
    image = cv2.resize(drawn, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    body.extra += image
    body.add_mask("device", image > 0.4)


def _canvas() -> np.ndarray:
    return np.zeros((SIZE * FINE, SIZE * FINE), np.float32)


def _curve(points: Sequence[Point], rng: np.random.Generator, sway: float = 1.5) -> np.ndarray:
    """Return a smooth curve through slightly displaced points, [n, 2]."""
    control = np.array(points, float)
    control[1:-1] += rng.normal(0, sway, control[1:-1].shape)
    t = np.linspace(0, len(control) - 1, 24 * len(control))
    before = 2 * control[0] - control[1]
    behind = 2 * control[-1] - control[-2]
    padded = np.vstack([before, control, behind])
    k = np.minimum(t.astype(int), len(control) - 2)
    f = (t - k)[:, None]
    a, b, c, d = (padded[k + n] for n in range(4))
    quadratic = 2 * a - 5 * b + 4 * c - d
    cubic = 3 * b - a - 3 * c + d
    return 0.5 * (2 * b + (c - a) * f + quadratic * f**2 + cubic * f**3)


def _stroke(canvas: np.ndarray, line: np.ndarray, width: float, amount: float) -> None:
    """Add a line of `width` mm, `amount` mm of water thick."""
    mask = np.zeros(canvas.shape, np.uint8)
    pixels = max(1, round(width / PITCH * FINE))
    points = np.round((line * FINE + 0.5) * 8).astype(np.int32)
    cv2.polylines(mask, [points], False, (255,), pixels, cv2.LINE_AA, 3)
    canvas += mask.astype(np.float32) * np.float32(amount / 255)


def _disc(canvas: np.ndarray, at: Point, radius: float, amount: float, hole: float = 0) -> None:
    mask = np.zeros(canvas.shape, np.uint8)
    centre = (round(at[0] * FINE), round(at[1] * FINE))
    cv2.circle(mask, centre, max(1, round(radius * FINE)), (255,), -1, cv2.LINE_AA)
    if hole:
        cv2.circle(mask, centre, max(1, round(hole * FINE)), (0,), -1, cv2.LINE_AA)
    canvas += mask.astype(np.float32) * np.float32(amount / 255)


def _et_tube(points: dict[str, Point], finding: Finding, rng: np.random.Generator) -> np.ndarray:
    tx, ty = points["trachea_top"]
    cx, cy = points["carina"]
    tip = tip_above_carina(finding) * 10 / PITCH
    share = max(0.05, 1 - tip / max(cy - ty, 1))
    end = (tx + share * (cx - tx), ty + share * (cy - ty))
    mouth = (tx + rng.normal(0, 4), -10)
    line = _curve([mouth, (tx, ty * 0.5), (tx, ty), end], rng, 1)
    canvas = _canvas()
    _stroke(canvas, line, 8, 1.6)
    _stroke(canvas, line + np.array([2.2, 0]), 1.2, 7)
    return canvas


def tip_above_carina(finding: Finding) -> float:
    """Return the height of the tube's tip above the carina in cm."""
    return round(2 + 4.5 * finding.amount, 1)


def _central_line(
    points: dict[str, Point], finding: Finding, rng: np.random.Generator
) -> np.ndarray:
    sign = -1 if finding.side == "right" else 1
    sx, sy = points["svc_top"]
    lx, ly = points["svc_low"]
    depth = 0.35 + 0.75 * finding.amount
    tip = (sx + depth * (lx - sx), sy + depth * (ly - sy))
    bx, by = points[f"clavicle_{finding.side}"]
    routes: dict[str, list[Point]] = {
        "jugular": [(sx + 18 + sign * 22, -8), (sx + 12 + sign * 20, 30)],
        "subclavian": [(bx + sign * 20, by + 38), (bx, by + 18), (sx + sign * 22, sy - 22)],
        "picc": [
            (bx + sign * 90, by + 120),
            (bx + sign * 52, by + 36),
            (bx, by + 14),
            (sx + sign * 20, sy - 20),
        ],
    }
    entry = routes[finding.location]
    if finding.side == "left":
        entry.append((sx + 22, sy - 8))
    width = 2.0 if finding.location != "picc" else 1.4
    canvas = _canvas()
    _stroke(canvas, _curve([*entry, (sx, sy), tip], rng), width, 4.5)
    return canvas


def _pacemaker(points: dict[str, Point], finding: Finding, rng: np.random.Generator) -> np.ndarray:
    sign = -1 if finding.side == "right" else 1
    bx, by = points[f"clavicle_{finding.side}"]
    cx = bx + sign * rng.uniform(12, 28)
    cy = by + rng.uniform(40, 58)
    canvas = _canvas()
    shape = np.zeros((SIZE * FINE, SIZE * FINE), np.uint8)
    centre = (cx * FINE, cy * FINE)
    angle = float(rng.uniform(-25, 25))
    box = cv2.boxPoints((centre, (36 * FINE, 30 * FINE), angle))
    cv2.fillPoly(shape, [np.round(box).astype(np.int32)], (255,), cv2.LINE_AA)
    case = (cv2.GaussianBlur(shape, (0, 0), 7) > 127).astype(np.float32)
    inside = cv2.erode(shape, np.ones((13, 13))) > 127
    canvas += case * 22 + inside * np.float32(14)
    sx, sy = points["svc_top"]
    ax, ay = points["atrium"]
    px, py = points["apex"]
    start = (cx, cy - 15)
    route = [
        start,
        (bx - sign * 4, by + 12),
        (sx + sign * 18, sy - 20),
        (sx, sy),
        (sx + 2, sy + 34),
    ]
    leads = [
        [*route, (ax + 6, ay + 16), (0.5 * (ax + px), py + 12), (px - 14, py + 6)],
        [*route, (ax + 10, ay + 18), (ax + 16, ay)],
    ]
    for lead in leads[: 1 + int(rng.random() < 0.7)]:
        line = _curve(lead, rng)
        _stroke(canvas, line, 1.6, 6)
        _stroke(canvas, line[-14:], 2.8, 8)
    return canvas


_ELECTRODES = ((0.26, 0.25), (0.74, 0.25), (0.25, 0.72), (0.76, 0.7), (0.6, 0.6))
"""Where electrodes are stuck on, as shares of the image."""


def _ecg_leads(points: dict[str, Point], finding: Finding, rng: np.random.Generator) -> np.ndarray:
    canvas = _canvas()
    count = int(rng.integers(3, 6))
    for fx, fy in _ELECTRODES[:count]:
        x = fx * SIZE + rng.normal(0, 12)
        y = fy * SIZE + rng.normal(0, 12)
        _disc(canvas, (x, y), 4.5, 3, 2.2)
        _disc(canvas, (x, y), 1.8, 9)
        if fy > 0.5 or rng.random() < 0.5:
            end: tuple[float, float] = (x + rng.normal(0, 60), SIZE + 20)
        else:
            end = (x + np.sign(fx - 0.5) * 120, y - 90)
        middle = (0.5 * (x + end[0]), 0.5 * (y + end[1]))
        _stroke(canvas, _curve([(x, y), middle, end], rng, 14), 1.0, 3)
    return canvas


def _feeding_tube(
    points: dict[str, Point], finding: Finding, rng: np.random.Generator
) -> np.ndarray:
    tx, ty = points["trachea_top"]
    cx, cy = points["carina"]
    sx, sy = points["stomach"]
    canvas = _canvas()
    path = [
        (tx + 3, -10),
        (tx + 5, ty),
        (cx + 9, cy),
        (cx + 12, cy + 60),
        (sx - 22, sy - 62),
        (sx + 10, sy - 20),
        (sx - 10, sy + 8),
    ]
    _stroke(canvas, _curve(path, rng), 2.2, 3.5)
    return canvas


def _chest_tube(points: dict[str, Point], finding: Finding, rng: np.random.Generator) -> np.ndarray:
    sign = -1 if finding.side == "right" else 1
    x, y = points[f"lung_top_{finding.side}"]
    start = (SIZE / 2 + sign * 165, SIZE * rng.uniform(0.6, 0.72))
    wall = (SIZE / 2 + sign * 112, start[1] - rng.uniform(4, 20))
    tip = (x + sign * rng.uniform(0, 20), y + rng.uniform(20, 55))
    turn = (SIZE / 2 + sign * 92, 0.5 * (wall[1] + tip[1]))
    line = _curve([start, wall, turn, tip], rng, 4)
    canvas = _canvas()
    _stroke(canvas, line, 8, 2)
    _stroke(canvas, line + np.array([2.4, 0]), 1.3, 7)
    return canvas


def _sternal_wires(
    points: dict[str, Point], finding: Finding, rng: np.random.Generator
) -> np.ndarray:
    canvas = _canvas()
    x = points["carina"][0] + 8
    for n in range(int(rng.integers(4, 7))):
        y = points["carina"][1] - 42 + 21 * n + rng.normal(0, 2)
        t = np.linspace(0, 2 * np.pi, 30)
        across = x + rng.normal(0, 1) + 6.5 * np.sin(t)
        down = y + 3.2 * np.cos(t) + 1.2 * np.sin(2 * t)
        _stroke(canvas, np.stack([across, down], 1), 1.0, 8)
    return canvas


def _buttons(points: dict[str, Point], finding: Finding, rng: np.random.Generator) -> np.ndarray:
    canvas = _canvas()
    x = SIZE * rng.uniform(0.4, 0.62)
    radius = rng.uniform(3.5, 6)
    hole = rng.random() < 0.5
    for n in range(int(rng.integers(1, 5))):
        centre = (x + rng.normal(0, 4), SIZE * 0.22 + 52 * n + rng.normal(0, 4))
        _disc(canvas, centre, radius, rng.uniform(5, 16), 0.5 * radius * hole)
    return canvas


DRAWERS: dict[str, Callable[[dict[str, Point], Finding, np.random.Generator], np.ndarray]] = {
    "et_tube": _et_tube,
    "central_line": _central_line,
    "pacemaker": _pacemaker,
    "ecg_leads": _ecg_leads,
    "feeding_tube": _feeding_tube,
    "chest_tube": _chest_tube,
    "sternal_wires": _sternal_wires,
    "buttons": _buttons,
}
