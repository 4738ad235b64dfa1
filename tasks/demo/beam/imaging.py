"""From line integrals to a radiograph: framing, beam, scatter, noise, exposure control, display
curve, markers."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from tasks.demo.body.anatomy import noise
from tasks.demo.body.atlas import SIZE
from tasks.demo.body.patient import Study

MU_WATER = 0.0185
"""Attenuation of water per mm at an effective energy of about 75 keV."""


@dataclass(frozen=True)
class Exposure:
    """How one image is taken and shown, drawn independently of every finding."""

    zoom: float
    angle: float
    shift: tuple[float, float]
    scatter: float
    photons: float
    blur: float
    window: tuple[float, float]
    slope: float
    detail: float
    collimation: tuple[float, float, float, float]
    marker: str
    seed: int


def sample_exposure(rng: np.random.Generator, view: str) -> Exposure:
    """Draw framing and technique of one image."""
    portable = view == "AP"
    return Exposure(
        zoom=float(rng.uniform(0.76, 1.02)),
        angle=float(rng.normal(0, 3.5 if portable else 2.2)),
        shift=(float(rng.normal(0, 16)), float(rng.normal(2, 13))),
        scatter=float(rng.uniform(0.25, 0.9 if portable else 0.6)),
        photons=float(np.exp(rng.uniform(np.log(2e4), np.log(2e5)))),
        blur=float(rng.uniform(0.2, 0.6)),
        window=(float(rng.normal(0, 0.05)), float(rng.normal(0, 0.05))),
        slope=float(rng.uniform(1.6, 3.6)),
        detail=float(rng.uniform(0.35, 1.1)),
        collimation=_sides(rng.uniform(0, 0.06, 4) * (rng.random(4) < 0.14)),
        marker=str(rng.choice(["L", "R", "", "L", "R"])),
        seed=int(rng.integers(2**31)),
    )


def _sides(shares: np.ndarray) -> tuple[float, float, float, float]:
    """Return four numbers as what they are to the type checker: one for each side."""
    first, second, third, fourth = (float(share) for share in shares)
    return first, second, third, fourth


def frame(study: Study, exposure: Exposure, size: int, view: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the atlas coordinates (x, y) of every image pixel: framing, build, and a smooth bend
    of the whole anatomy."""
    rng = np.random.default_rng((study.patient.seed, 7 if view == "LL" else 5))
    v, u = (np.mgrid[0:size, 0:size].astype(np.float32) + 0.5) / size - 0.5
    a = np.deg2rad(exposure.angle)
    span = SIZE * exposure.zoom
    cosine = np.cos(a)
    sine = np.sin(a)
    x = (u * cosine - v * sine) * span / study.patient.width
    y = (u * sine + v * cosine) * span / study.patient.height
    bend_x, bend_y = (
        cv2.resize(noise(rng, 32, (64, 64)), (size, size), interpolation=cv2.INTER_CUBIC)
        for _ in range(2)
    )
    x = x + SIZE * 0.51 + exposure.shift[0] + (2 + 8 * np.abs(u)) * bend_x
    y = y + SIZE * 0.5 + exposure.shift[1] + 5 * bend_y
    return x.astype(np.float32), y.astype(np.float32)


def expose(path: np.ndarray, exposure: Exposure) -> np.ndarray:
    """Turn path lengths (mm of water) [N, N] into display values 0..1: Beer-Lambert, scatter,
    detector, curve.

    The exposure control looks at the image's own percentiles, so that disease does not show as
    brightness.
    """
    rng = np.random.default_rng(exposure.seed)
    path = np.clip(path, 0, None)
    primary = np.exp(-MU_WATER * (path - 0.00035 * path**2))
    glow = _blurred(primary, 64, 8)
    signal = primary + exposure.scatter * np.minimum(glow, 0.12)
    blur = max(exposure.blur * len(path) / 256, 0.2)
    signal = cv2.GaussianBlur(signal, (0, 0), blur)
    grain = rng.standard_normal(path.shape, dtype=np.float32) / np.sqrt(exposure.photons)
    signal = signal * (1 + grain / np.sqrt(np.maximum(signal, 1e-3)))
    return _display(-np.log(np.maximum(signal, 1e-4)), exposure)


def _blurred(image: np.ndarray, grid: int, sigma: float) -> np.ndarray:
    """Blur by `sigma` pixels of a coarse grid of `grid` pixels, at the image's own size."""
    coarse = cv2.resize(image, (grid, grid), interpolation=cv2.INTER_AREA)
    coarse = cv2.GaussianBlur(coarse, (0, 0), sigma)
    return cv2.resize(coarse, image.shape[::-1], interpolation=cv2.INTER_CUBIC)


def _display(density: np.ndarray, exposure: Exposure) -> np.ndarray:
    size = len(density)
    smooth = _blurred(density, 64, 64 / 11)
    fine = _blurred(density, 128, 128 / 40)
    edges = 0.2 * np.tanh((density - fine) / 0.2)
    detail = 0.6 * np.tanh(density - smooth) + 1.8 * edges
    enhanced = density + exposure.detail * detail
    middle = slice(size // 8, -size // 8, 2)
    centre = enhanced[middle, middle]
    low, high = np.percentile(centre, (3, 97))
    span = max(float(high - low), 0.3)
    value = (enhanced - low) / span * (1 + exposure.window[0]) + exposure.window[1]
    curve = _film(value, exposure.slope)
    black, white = _film(np.array([-0.12, 1.12]), exposure.slope)
    return np.clip((curve - black) / (white - black), 0, 1).astype(np.float32)


def _film(value: np.ndarray, slope: float) -> np.ndarray:
    """Return the answer of a film, a sigmoid."""
    return 1 / (1 + np.exp(-slope * (value - 0.52)))


def finish(image: np.ndarray, exposure: Exposure, view: str) -> np.ndarray:
    """Add side marker, view text and collimated borders to display values 0..1 [N, N]."""
    rng = np.random.default_rng(exposure.seed + 1)
    size = len(image)
    if exposure.marker and view != "LL":
        _write(image, exposure.marker, rng)
    for edge, share in enumerate(exposure.collimation):
        width = round(share * size)
        if width:
            border = np.rot90(image, edge)
            border[:width] = 0.02
    return image


def _write(image: np.ndarray, marker: str, rng: np.random.Generator) -> None:
    """Stamp the lead letter on the patient's side (the patient's left is on the image's right)."""
    size = len(image)
    x = rng.uniform(0.88, 0.93) if marker == "L" else rng.uniform(0.04, 0.08)
    at = (int(x * size), int(rng.uniform(0.08, 0.2) * size))
    stamp = np.zeros(image.shape, np.uint8)
    scale = size / 256
    cv2.putText(
        stamp,
        marker,
        at,
        cv2.FONT_HERSHEY_SIMPLEX,
        0.65 * scale,
        (255,),
        max(1, round(1.6 * scale)),
        cv2.LINE_AA,
    )
    np.maximum(image, stamp.astype(np.float32) / 255 * 0.96, out=image)
