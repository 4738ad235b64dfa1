"""Grey values of 8 bits from values of any depth and from colour, and how large a picture may
be."""

from __future__ import annotations

import math
import os

import numpy as np

from bench.core.errors import DataError, SettingError

LUMA = np.array([0.299, 0.587, 0.114])
"""Weights of red, green and blue in grey (ITU-R 601)."""
LARGEST_MEGAPIXELS = 150.0
"""A picture of more pixels is refused before it is decoded; `PLACE_BENCH_MAX_MEGAPIXELS` overrides
it. The largest radiographs have some 25 megapixels."""
_VARIABLE = "PLACE_BENCH_MAX_MEGAPIXELS"


def to_uint8(values: np.ndarray, keep: np.ndarray | None = None) -> np.ndarray:
    """Map `values` linearly from their minimum..maximum (over `keep`) to 0..255; uint8 passes
    unchanged, a constant gives 0."""
    if values.dtype == np.uint8:
        return values
    counted = values if keep is None else values[keep]
    low = counted.min()
    high = counted.max()
    if high == low:
        return np.zeros(values.shape, np.uint8)
    clipped = values if keep is None else np.clip(values, low, high)
    if values.dtype.kind in "iu" and int(high) - int(low) < 1 << 16:
        steps = np.arange(int(high) - int(low) + 1)
        greys = np.rint(steps * (255.0 / steps[-1])).astype(np.uint8)
        return greys[clipped.astype(np.int64) - int(low)]
    scale = 255.0 / (float(high) - float(low))
    return np.rint((clipped.astype(np.float64) - float(low)) * scale).astype(np.uint8)


def luma(colour: np.ndarray) -> np.ndarray:
    """Return the grey values [H, W] of red, green and blue [H, W, 3], in the same integers."""
    return np.rint(colour @ LUMA).astype(colour.dtype)


def check_pixels(height: int, width: int) -> None:
    """Raise DataError for a picture that is empty or too large to be a radiograph."""
    if height < 1 or width < 1:
        raise DataError(f"it has {width} x {height} px.", "Download it again.")
    if height * width > _limit() * 1e6:
        raise DataError(
            f"it has {width} x {height} px, {height * width / 1e6:,.0f} megapixels; "
            f"{_limit():g} is "
            "the limit.",
            f"If it is a radiograph, set {_VARIABLE} to more; or leave it out with --on-error "
            "skip.",
        )


def bound_pillow() -> None:
    """Give Pillow the limit of `check_pixels`: it warns above its own, and it alone sees how large
    a compressed frame is that a DICOM header calls small."""
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = int(_limit() * 1e6)


def _limit() -> float:
    text = os.environ.get(_VARIABLE) or str(LARGEST_MEGAPIXELS)
    try:
        limit = float(text)
    except ValueError:
        limit = math.nan
    if not limit > 0:
        raise SettingError(f"environment variable {_VARIABLE} is '{text}'.", "Write e.g. 200.")
    return limit
