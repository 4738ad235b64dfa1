"""Distances between the outlines of two masks, by SciPy's exact Euclidean distance transform."""

from __future__ import annotations

import numpy as np

TOLERANCE = 0.01
"""Of the image's side: how far two outlines may be apart for `surface_dice`."""


def outline(mask: np.ndarray) -> np.ndarray:
    """Return the pixels of a mask [H, W] (bool) that touch, by an edge, one outside it or the
    image's border."""
    from scipy.ndimage import binary_erosion

    return mask & ~binary_erosion(mask)


def distances(mask: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return, in pixels, how far each outline pixel of `mask` is from the outline of `other`, and
    the reverse.

    Both masks bool [H, W] and not empty.
    """
    from scipy.ndimage import distance_transform_edt

    box = _common_box(mask | other)
    ours = outline(mask)[box]
    theirs = outline(other)[box]
    return distance_transform_edt(~theirs)[ours], distance_transform_edt(~ours)[theirs]


def _common_box(mask: np.ndarray) -> tuple[slice, slice]:
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def boundary_scores(masks: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return (Hausdorff distance 95, surface Dice) [n, C, 2] of masks bool [n, C, S, S]; NaN where
    the true mask is empty.

    The distance is the larger of the two 95th percentiles, as a share of the image's side; an empty
    prediction is a diagonal away (sqrt 2) and has surface Dice 0. Surface Dice is the share of both
    outlines within `TOLERANCE` of the other (Nikolov et al. 2018), counted in outline pixels, not
    in length of outline. Units are relative because a radiograph's pixel spacing is seldom known.
    """
    side = masks.shape[-1]
    scores = np.full((*masks.shape[:2], 2), np.nan)
    for position in np.ndindex(*masks.shape[:2]):
        ours = masks[position].astype(bool)
        theirs = truth[position].astype(bool)
        if theirs.any():
            scores[position] = _scores(ours, theirs, side) if ours.any() else (np.sqrt(2), 0.0)
    return scores


def _scores(ours: np.ndarray, theirs: np.ndarray, side: int) -> tuple[float, float]:
    there, back = distances(ours, theirs)
    near = (there <= TOLERANCE * side).sum() + (back <= TOLERANCE * side).sum()
    return max(np.percentile(there, 95), np.percentile(back, 95)) / side, near / (
        len(there) + len(back)
    )
