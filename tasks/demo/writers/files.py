"""Image files of the demos, complete or absent, left alone where they are there."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from tasks.demo.writers import manifest

JPEG_QUALITY = 95


def write_jpeg(path: Path, image: np.ndarray) -> None:
    """Write grey uint8 [H, W] as JPEG."""
    _write(path, image, ".jpg", [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])


def write_png(path: Path, image: np.ndarray) -> None:
    """Write grey uint8 [H, W] as PNG."""
    _write(path, image, ".png", [])


def _write(path: Path, image: np.ndarray, suffix: str, options: list[int]) -> None:
    if not path.is_file():
        _, data = cv2.imencode(suffix, image, options)
        manifest.write_bytes(path, data.tobytes())
