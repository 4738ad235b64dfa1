"""Foreign objects on clothes (buttons, coins, chains, pins), laid over a rendered image as metal:
bright, with exact masks."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

FINE = 8
"""Sub-pixel steps of cv2's drawing (`shift` 3)."""
UNIT = 256
"""Lengths below are in pixels of an image of this side."""


def add_objects(
    image: np.ndarray, lungs: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the image with one to four objects over its lungs, and the mask of each, uint8 0/1 [H,
    W].

    Metal absorbs a share of what light is left: the display value v becomes 1 - (1 - v)
    exp(-depth).
    """
    values = 1 - image.astype(np.float32) / 255
    masks: list[np.ndarray] = []
    for _ in range(int(rng.integers(1, 5))):
        kind = str(rng.choice(list(DRAWERS), p=[0.45, 0.2, 0.15, 0.2]))
        cover = DRAWERS[kind](_canvas(image), _place(lungs, rng), image.shape[0] / UNIT, rng)
        mask = (cover > 0.5).astype(np.uint8)
        near = cv2.dilate(mask, np.ones((3, 3), np.uint8)) > 0
        if mask.any() and not any(other[near].any() for other in masks):
            values *= np.exp(-rng.uniform(0.9, 2.2) * cover)
            masks.append(mask)
    return np.round(255 * (1 - values)).astype(np.uint8), masks


def _canvas(image: np.ndarray) -> np.ndarray:
    return np.zeros(image.shape, np.uint8)


def _place(lungs: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """Return a point (x, y) in the lungs."""
    ys, xs = np.nonzero(lungs)
    n = int(rng.integers(len(xs)))
    return float(xs[n]), float(ys[n])


def _disc(canvas: np.ndarray, at: tuple[float, float], radius: float, grey: int) -> None:
    centre = (round(at[0] * FINE), round(at[1] * FINE))
    cv2.circle(canvas, centre, round(radius * FINE), (grey,), -1, cv2.LINE_AA, 3)


def _line(canvas: np.ndarray, points: np.ndarray, width: float) -> None:
    drawn = np.round(points * FINE).astype(np.int32)
    cv2.polylines(canvas, [drawn], False, (255,), max(1, round(width)), cv2.LINE_AA, 3)


def _button(
    canvas: np.ndarray, at: tuple[float, float], scale: float, rng: np.random.Generator
) -> np.ndarray:
    """Draw a disc with a raised rim."""
    radius = rng.uniform(4, 7) * scale
    _disc(canvas, at, radius, 255)
    _disc(canvas, at, 0.65 * radius, 170)
    return canvas.astype(np.float32) / 255


def _coin(
    canvas: np.ndarray, at: tuple[float, float], scale: float, rng: np.random.Generator
) -> np.ndarray:
    _disc(canvas, at, rng.uniform(8, 12) * scale, 255)
    return canvas.astype(np.float32) / 255


def _pin(
    canvas: np.ndarray, at: tuple[float, float], scale: float, rng: np.random.Generator
) -> np.ndarray:
    """Draw a straight pin with a head."""
    turn = rng.uniform(0, np.pi)
    length = rng.uniform(16, 30) * scale
    along = 0.5 * length * np.array([np.cos(turn), np.sin(turn)])
    _line(canvas, np.stack([at - along, at + along]), 3 * scale)
    _disc(canvas, tuple(at + along), 3 * scale, 255)
    return canvas.astype(np.float32) / 255


def _chain(
    canvas: np.ndarray, at: tuple[float, float], scale: float, rng: np.random.Generator
) -> np.ndarray:
    """Draw a hanging chain: an arc open to the top."""
    half = rng.uniform(18, 34) * scale
    depth = rng.uniform(14, 36) * scale
    t = np.linspace(-1, 1, 40)
    _line(canvas, np.stack([at[0] + half * t, at[1] - depth * t**2], 1), 3 * scale)
    return canvas.astype(np.float32) / 255


DRAWERS: dict[
    str, Callable[[np.ndarray, tuple[float, float], float, np.random.Generator], np.ndarray]
] = {
    "button": _button,
    "coin": _coin,
    "chain": _chain,
    "pin": _pin,
}
