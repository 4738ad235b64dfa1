"""What is asked of which image, and where the answer is: pairs of a text and a region, on the
cells of the padded square."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.contracts import REGION_SIDE, Region, Subset
from bench.core.errors import DataError
from bench.core.sentences import split_sentences
from bench.data.annotations import Regions
from bench.encoding.features import content_box, to_grey
from tasks.grounding.settings import GroundingSettings
from tasks.grounding.truth import Fixations, Places
from tasks.labelling.wording import TEMPLATES, sentence

CELLS = REGION_SIDE * REGION_SIDE
HALF = 0.5
"""Cells at least so high are inside a region, as a share of its highest: half covered by a box or
mask, or looked at for half as long as the place looked at most."""


@dataclass(frozen=True)
class Asked:
    """One text put to one image: `texts` are its wordings, `label` the group it is averaged in,
    `heat` [CELLS] the region and `fixated` [CELLS] (bool) the places that it stands for."""

    row: int
    label: str
    texts: tuple[str, ...]
    heat: np.ndarray
    fixated: np.ndarray


@dataclass(frozen=True)
class Pairs:
    """Pair p asks `texts[p]` of the image `rows[p]` and belongs to `labels[p]`.

    Over the cells of the padded square: `inside` the region, `fixated` the places behind it (those
    of the eyes, else the same) and `valid` the radiograph, all bool [P, CELLS].
    """

    rows: np.ndarray
    labels: tuple[str, ...]
    texts: tuple[tuple[str, ...], ...]
    inside: np.ndarray
    fixated: np.ndarray
    valid: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def of_label(self, label: str) -> np.ndarray:
        """Return the numbers of the pairs of a label."""
        return np.array([p for p, name in enumerate(self.labels) if name == label], np.int64)


def pairs_of(subset: Subset, settings: GroundingSettings) -> Pairs:
    """Return all pairs of a subset."""
    asked = list(each_asked(subset, settings))
    rows = np.array([each.row for each in asked], np.int64)
    heat = np.array([each.heat for each in asked], np.float32).reshape(-1, CELLS)
    fixated = np.array([each.fixated for each in asked], bool).reshape(-1, CELLS)
    inside = heat >= HALF * heat.max(axis=1, keepdims=True)
    valid = _radiographs(subset, rows) | inside | fixated
    labels = tuple(each.label for each in asked)
    return Pairs(rows, labels, tuple(each.texts for each in asked), inside, fixated, valid)


def each_asked(subset: Subset, settings: GroundingSettings) -> Iterator[Asked]:
    """Yield what is asked of every image, in order: regions of the same text are one."""
    regions = subset.get(Regions)
    gaze = settings.source == "gaze"
    fixations = subset.get(Fixations) if gaze else None
    reports = subset.index["report"].astype(str).tolist() if "report" in subset.index else None
    for row in range(len(subset)):
        sentences = split_sentences(reports[row]) if reports else []
        places: Places = fixations[row] if fixations is not None else {}
        for number, (label, text, heat) in _asked_of(regions[row], sentences, settings).items():
            if not heat.any():
                continue
            inside = heat >= HALF * heat.max()
            fixated = _cells(places.get(number, ())) if gaze else inside
            if fixated.any():
                yield Asked(row, label, text, heat.reshape(-1), fixated.reshape(-1))


def _asked_of(
    regions: Sequence[Region], sentences: Sequence[str], settings: GroundingSettings
) -> Mapping[int, tuple[str, tuple[str, ...], np.ndarray]]:
    """Return label, wordings and map of what is asked of one image, by the number of a sentence or
    simply counted."""
    chosen = [region for region in regions if region.source == settings.source]
    if settings.target == "sentence":
        return {
            region.sentence: ("sentence", (sentences[region.sentence],), region.map)
            for region in chosen
            if region.sentence >= 0
        }
    merged: dict[tuple[str, str], np.ndarray] = {}
    for region in chosen:
        if settings.labels and region.label not in settings.labels:
            continue
        text = region.phrase if settings.target == "phrase" else region.label
        if not text:
            continue
        key = (region.label or settings.target, text)
        merged[key] = np.maximum(merged[key], region.map) if key in merged else region.map
    return {
        number: (label, wordings(text, settings), heat)
        for number, ((label, text), heat) in enumerate(merged.items())
    }


def wordings(text: str, settings: GroundingSettings) -> tuple[str, ...]:
    """Return what is asked: a phrase or sentence as it is, a label in sentences."""
    if settings.target != "label":
        return (text,)
    templates = TEMPLATES[:1] if settings.prompts == "single" else TEMPLATES
    return tuple(sentence(template, text) for template in templates)


def _cells(points: Sequence[tuple[float, float]]) -> np.ndarray:
    """Return the cells of the square [G, G] (bool) that hold a point (x, y as shares of its
    side)."""
    hit = np.zeros((REGION_SIDE, REGION_SIDE), bool)
    for x, y in points:
        column, row = (min(int(share * REGION_SIDE), REGION_SIDE - 1) for share in (x, y))
        hit[row, column] = True
    return hit


def _radiographs(subset: Subset, rows: np.ndarray) -> np.ndarray:
    """Return which cells of the padded square the radiograph of each row fills by half at least,
    bool [P, CELLS]."""
    filled_of: dict[int, np.ndarray] = {}
    for row in np.unique(rows).tolist():
        image = to_grey(subset.images(np.array([row])))[0]
        top, left, height, width = content_box(image, square=False)
        side = image.shape[-1]
        down = _half_filled(top / side, height / side)
        across = _half_filled(left / side, width / side)
        filled_of[row] = np.outer(down, across).reshape(-1)
    masks = [filled_of[row] for row in rows.tolist()]
    return np.array(masks, bool).reshape(-1, CELLS)


def _half_filled(start: float, length: float) -> np.ndarray:
    middles = (np.arange(REGION_SIDE) + 0.5) / REGION_SIDE
    return (middles >= start) & (middles < start + length)


def require_pairs(pairs: Pairs, name: str, task: str, settings: GroundingSettings) -> None:
    """Raise DataError where no image of a subset has a region that answers."""
    if not len(pairs):
        raise DataError(
            f"task '{task}': no {name} image has a region of source '{settings.source}' for a "
            f"{settings.target}.",
            "Use more data, or another source or target.",
        )
