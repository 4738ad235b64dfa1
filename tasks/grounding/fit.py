"""Ask an encoder where things are, and say for each image how well its maps answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bench.contracts import REGION_SIDE, Backbone, CellContext, Predictions, Subset
from bench.core.errors import DataError
from bench.encoding.similarity import need_text_side
from bench.metrics import maps as scores
from bench.metrics.weights import ratio
from tasks.grounding import metrics
from tasks.grounding.maps import encoder_maps
from tasks.grounding.pairs import CELLS, Pairs, each_asked, pairs_of, require_pairs
from tasks.grounding.settings import GroundingSettings

ANY = ""
"""The label whose threshold or training map stands for labels that validation or training lack."""
UNCHOSEN = 0.5
"""Threshold where there are no validation images."""
SPREAD = 0.25
"""Deviation of the centre prior, as a share of the side."""
SHOWN_LABEL = "shown:label"
SHOWN_TEXT = "shown:text"
"""Columns: label and words of what a picture shows of an image, the first thing it is asked."""
MapsOf = Callable[[Subset, Pairs, CellContext], np.ndarray]
"""From images and what is asked of them to maps [P, CELLS]."""


@dataclass(frozen=True)
class Grounder:
    """What `predict` needs: who makes the maps, and where they are cut, by label."""

    maps_of: MapsOf
    thresholds: Mapping[str, float] = field(default_factory=dict)


def fit(backbone: Backbone, train: Subset, val: Subset, context: CellContext) -> Grounder:
    """Return the encoder with thresholds chosen on validation; raise NotApplicableError where it
    has no text side or no maps."""
    encoder = need_text_side(backbone, "grounding")

    def maps_of(subset: Subset, pairs: Pairs, cell: CellContext) -> np.ndarray:
        """Return the encoder's maps."""
        return encoder_maps(encoder, subset, pairs, cell)

    return with_thresholds(maps_of, val, context)


def fit_chance(train: Subset, val: Subset, context: CellContext) -> Grounder:
    """Return a map that is the same everywhere: every metric gives what guessing does on
    average."""
    return with_thresholds(_constant({ANY: np.zeros(CELLS)}), val, context)


def fit_centre(train: Subset, val: Subset, context: CellContext) -> Grounder:
    """Return a Gaussian around the middle of the square, for every image and text."""
    along = (np.arange(REGION_SIDE) + 0.5) / REGION_SIDE - 0.5
    bell = np.exp(-((along / SPREAD) ** 2) / 2)
    return with_thresholds(_constant({ANY: np.outer(bell, bell).reshape(-1)}), val, context)


def fit_mean(train: Subset, val: Subset, context: CellContext) -> Grounder:
    """Return, for every label, the mean of the regions of the training images."""
    settings: GroundingSettings = context.settings
    total: dict[str, np.ndarray] = {}
    count: dict[str, int] = {}
    for asked in each_asked(train, settings):
        for label in (asked.label, ANY):
            total[label] = total.get(label, np.zeros(CELLS)) + asked.heat
            count[label] = count.get(label, 0) + 1
    if not total:
        raise DataError(
            f"task '{context.task.name}' has no training image with a region.", "Use more data."
        )
    means = {label: heat / count[label] for label, heat in total.items()}
    return with_thresholds(_constant(means), val, context)


def _constant(map_of: Mapping[str, np.ndarray]) -> MapsOf:
    """Return what gives every pair the map of its label, whatever the image."""

    def maps_of(subset: Subset, pairs: Pairs, context: CellContext) -> np.ndarray:
        """Return the same map for all pairs of a label."""
        maps = [map_of.get(label, map_of[ANY]) for label in pairs.labels]
        return np.array(maps, np.float32).reshape(-1, CELLS)

    return maps_of


def with_thresholds(maps_of: MapsOf, val: Subset, context: CellContext) -> Grounder:
    """Return a grounder whose maps are cut, by label, where Dice is highest on validation."""
    pairs = pairs_of(val, context.settings) if len(val) else None
    if pairs is None or not len(pairs):
        return Grounder(maps_of, {ANY: UNCHOSEN})
    heat = scores.scaled(maps_of(val, pairs, context), pairs.valid)
    thresholds = {}
    members: dict[str, np.ndarray] = {ANY: np.arange(len(pairs))}
    members |= {label: pairs.of_label(label) for label in sorted(set(pairs.labels))}
    for label, rows in members.items():
        thresholds[label] = scores.choose_threshold(
            heat[rows], pairs.inside[rows], pairs.valid[rows]
        )
    return Grounder(maps_of, thresholds)


def predict(grounder: Grounder, test: Subset, context: CellContext) -> Predictions:
    """Return the values of every image that has a region that answers, and what a picture shows of
    it: no words of reports that may not be passed on."""
    settings: GroundingSettings = context.settings
    pairs = pairs_of(test, settings)
    require_pairs(pairs, "test", context.task.name, settings)
    maps = grounder.maps_of(test, pairs, context).astype(np.float64)
    images, shown = np.unique(pairs.rows, return_index=True)
    table = test.index[["image_id", "patient_id"]].iloc[images].reset_index(drop=True)
    labels = _in_order(settings, pairs)
    for name, values in _values(grounder, pairs, maps, images, labels).items():
        table[name] = values
    table[SHOWN_LABEL] = [pairs.labels[pair] for pair in shown]
    free = context.data_kind == "demo" or settings.target == "label"
    table[SHOWN_TEXT] = [pairs.texts[p][0] if free else pairs.labels[p] for p in shown]
    facts: dict[str, Any] = {"pairs": len(pairs), "left_out": len(test) - len(images)}
    facts |= {f"threshold:{label or 'any'}": value for label, value in grounder.thresholds.items()}
    return Predictions(table, _pictures(maps, pairs, shown), facts)


def _pictures(maps: np.ndarray, pairs: Pairs, shown: np.ndarray) -> dict[str, np.ndarray]:
    """Return what a picture needs of the pairs `shown`, one of each image: `maps` uint8 [n, G, G]
    from the lowest to the highest value, and the packed bits of `regions` [n, G, G / 8]."""
    square = (-1, REGION_SIDE, REGION_SIDE)
    heat = scores.scaled(maps[shown], pairs.valid[shown])
    inside = pairs.inside[shown].reshape(square)
    return {
        "maps": (255 * heat).round().astype(np.uint8).reshape(square),
        "regions": np.packbits(inside, axis=-1),
    }


def _in_order(settings: GroundingSettings, pairs: Pairs) -> list[str]:
    """Return the labels that occur, in the order of the settings, else by name."""
    occurring = set(pairs.labels)
    ordered = [label for label in settings.labels if label in occurring]
    return ordered or sorted(occurring)


def _values(
    grounder: Grounder, pairs: Pairs, maps: np.ndarray, images: np.ndarray, labels: list[str]
) -> dict[str, np.ndarray]:
    """Return the columns of the table: values of each image [n] by metric and label."""
    columns: dict[str, np.ndarray] = {}
    of_pairs = pair_values(grounder, pairs, maps)
    for label in labels:
        rows = pairs.of_label(label)
        of_label, image_of = np.unique(pairs.rows[rows], return_inverse=True)
        of_images = {
            name: _mean_per_image(values[rows], image_of) for name, values in of_pairs.items()
        }
        shuffled, as_other = scores.shuffled_auc(maps[rows], pairs.fixated[rows], image_of)
        of_images[metrics.SHUFFLED] = shuffled
        of_images[f"{metrics.CANDIDATE}{metrics.SHUFFLED}"] = as_other
        for name, values in of_images.items():
            column = np.full(len(images), np.nan)
            column[np.searchsorted(images, of_label)] = values
            columns[f"{name}:{label}"] = column
    return columns


def pair_values(grounder: Grounder, pairs: Pairs, maps: np.ndarray) -> dict[str, np.ndarray]:
    """Return the values of every pair [P] by metric, all but `shuffled_auc`."""
    fallback = grounder.thresholds.get(ANY, UNCHOSEN)
    cut = np.array([grounder.thresholds.get(label, fallback) for label in pairs.labels])
    heat = scores.scaled(maps, pairs.valid)
    dice, iou = scores.overlap(heat, pairs.inside, pairs.valid, cut)
    signed = scores.contrast(maps, pairs.inside, pairs.valid)
    return {
        "pointing": scores.pointing(maps, pairs.inside, pairs.valid),
        "dice": dice,
        "iou": iou,
        "nss": scores.nss(maps, pairs.fixated, pairs.valid),
        "auc_judd": scores.auc_judd(maps, pairs.fixated, pairs.valid),
        "cnr": np.abs(signed),
        "cnr_signed": signed,
    }


def _mean_per_image(values: np.ndarray, image_of: np.ndarray) -> np.ndarray:
    """Return the mean of the values of each image that are defined; NaN where none is."""
    defined = np.isfinite(values)
    sums = np.bincount(image_of, np.where(defined, values, 0.0))
    counts = np.bincount(image_of, defined.astype(float))
    return ratio(sums, counts)
