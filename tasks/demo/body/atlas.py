"""The projection atlas: water-equivalent path length of each structure along the beam, for a few
poses."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from bench.core.errors import DataError

PATH = Path(__file__).with_name("atlas.npz")
SIZE = 352
PITCH = 1.06
"""Pixels per side and mm per pixel (in the middle plane of the patient)."""
STRUCTURES = (
    "body", "air_right", "air_left", "vessels_right", "vessels_left", "airway", "gas", "ribs_back",
    "ribs_front",
    "spine", "sternum", "clavicles", "shoulders", "heart", "great_vessels",
)  # fmt: skip
LOBES = ("right upper", "right middle", "right lower", "left upper", "left lower")
SMOOTH = ("body", "heart", "great_vessels", "sternum")
STEP = {"body": 0.25, "heart": 0.25, "great_vessels": 0.25}
SHA256 = "4753a9a4ac0aa5cb0904cbb9ebb7b213fe58c61c082cc573d42927bea844b3d0"


@dataclass(frozen=True)
class View:
    """One pose. `layers`: structure -> float32 [SIZE, SIZE], mm of water (air: mm of missing
    water); `lobes`: path in mm [5, SIZE, SIZE]; `points`: landmark -> (x, y) in pixels; `ribs`:
    name -> [n, 2] centre line, from the back to the front."""

    name: str
    layers: dict[str, np.ndarray]
    lobes: np.ndarray
    points: dict[str, tuple[float, float]]
    ribs: dict[str, np.ndarray]


def pack(image: np.ndarray, step: float) -> np.ndarray:
    """Quantise to `step` and store differences along rows as two byte planes: uint8 [2, H, W],
    which compresses well."""
    values = np.round(image / step).clip(0, 65535).astype(np.uint16)
    difference = np.diff(values, axis=1, prepend=np.uint16(0))
    signed = difference.astype(np.int16).astype(np.int32)
    folded = np.where(signed >= 0, 2 * signed, -2 * signed - 1).astype(np.uint16)
    return np.stack([folded & 255, folded >> 8]).astype(np.uint8)


def unpack(planes: np.ndarray, step: float) -> np.ndarray:
    """Undo `pack`: float32 [H, W]."""
    folded = planes[0].astype(np.int32) | planes[1].astype(np.int32) << 8
    signed = np.where(folded & 1, -(folded + 1) // 2, folded // 2)
    return np.cumsum(signed, axis=1).astype(np.float32) * np.float32(step)


@lru_cache(maxsize=1)
def load() -> dict[str, View]:
    """Return the shipped views by name; raise DataError where the file is missing or is not the
    pinned one."""
    if not PATH.is_file():
        raise DataError(f"the projection atlas {PATH} is missing.", "Install the package again.")
    digest = hashlib.sha256(PATH.read_bytes()).hexdigest()
    if digest != SHA256:
        raise DataError(
            f"the projection atlas {PATH} has SHA-256 {digest[:12]}..., expected {SHA256[:12]}...",
            "Install again.",
        )
    with np.load(PATH, allow_pickle=False) as archive:
        about = json.loads(bytes(archive["about"]).decode())
        return {name: _view(name, archive, about[name]) for name in about}


def _view(name: str, archive: np.lib.npyio.NpzFile, about: dict) -> View:
    layers = {
        key: _full(unpack(archive[f"{name}/{key}"], about["steps"][key])) for key in STRUCTURES
    }
    lobes = np.stack(
        [_full(unpack(archive[f"{name}/{key}"], about["steps"][key])) for key in LOBES]
    )
    points = {key: (x, y) for key, (x, y) in about["points"].items()}
    return View(
        name,
        layers,
        lobes,
        points,
        {key: np.array(line, np.float32) for key, line in about["ribs"].items()},
    )


def _full(image: np.ndarray) -> np.ndarray:
    """Bring a layer stored at half resolution to full size."""
    import cv2

    if image.shape[0] == SIZE:
        return image
    return cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
