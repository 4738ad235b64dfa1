"""The run-length code of the SIIM-ACR masks: offsets relative to the end of the previous run,
pixels column by column."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.core.errors import DataError

if TYPE_CHECKING:
    import numpy as np

LONGEST = 10
"""Digits of one number of a run-length code."""


def decode_rle(text: str, height: int, width: int, where: str = "run lengths") -> np.ndarray:
    """Decode "offset length offset length ..." into a 0/1 mask uint8 [height, width].

    Raise DataError starting with `where` for a word that is not a whole number >= 0, an odd count,
    or runs beyond the image.
    """
    import numpy as np

    words = text.split()
    if not words or len(words) % 2:
        raise DataError(
            f"{where}: {len(words)} numbers; pairs of offset and length were expected.",
            "Download the table again.",
        )
    bad = next((word for word in words if not word.isdecimal() or len(word) > LONGEST), None)
    if bad is not None:
        raise DataError(
            f"{where}: '{bad[:20]}' is not a whole number of 0 to {LONGEST} digits.",
            "Download the table again.",
        )
    runs = [int(word) for word in words]
    if sum(runs) > height * width:
        message = (
            f"{where}: the runs end at pixel {sum(runs)}, the image has {height} x {width} = "
            f"{height * width}."
        )
        raise DataError(message, "The table belongs to another image size, or is damaged.")
    flat = np.zeros(height * width, np.uint8)
    flat[: sum(runs)] = np.repeat(np.tile(np.array([0, 1], np.uint8), len(runs) // 2), runs)
    return np.ascontiguousarray(flat.reshape(width, height).T)


def encode_rle(mask: np.ndarray) -> str:
    """Encode a 0/1 mask [H, W] as `decode_rle` reads it; "-1" where it is empty."""
    import numpy as np

    flat = np.concatenate([[0], (np.asarray(mask) > 0).T.ravel().astype(np.int8), [0]])
    edges = np.flatnonzero(np.diff(flat))
    if not len(edges):
        return "-1"
    return " ".join(map(str, np.diff(edges, prepend=0).tolist()))
