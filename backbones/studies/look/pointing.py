"""The pointing game: is the peak of a map inside the lesion? (Zhang et al., ECCV 2016; here without
a margin.)"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from backbones.studies.look.lesions import Lesions
from bench.metrics.bootstrap import Estimate, Statistic, cluster_weights, mean_estimate
from bench.metrics.intervals import combined_freedom, standard_error
from bench.metrics.maps import hits, peaks
from bench.metrics.paired import compare
from bench.metrics.weights import mean_of_defined, weighted_mean
from bench.report.markdown import escape

CHANCE = "chance"
PRIOR = "centre prior"
MEAN = "mean of the findings"
NO_MAP = "no local map"
Game = Mapping[str, Mapping[str, Estimate]]
"""Finding (last, where there are several: `MEAN`) -> method (first: `CHANCE` and `PRIOR`) ->
accuracy."""


def play(lesions: Lesions, maps: Mapping[str, np.ndarray | None]) -> Game:
    """Return the accuracy of every method's maps [P, h, w] per finding and on average, with 95%
    intervals over patients.

    Beside them what needs no image: `CHANCE`, a point anywhere, hits with the share of the image
    that the lesion covers; `PRIOR` always points where the finding was most often in the training
    split.
    """
    size = lesions.masks.shape[-1]
    hits_of: dict[str, np.ndarray] = {
        CHANCE: lesions.masks.mean(axis=(1, 2)),
        PRIOR: hits(lesions.masks, peaks(lesions.prior, size)[lesions.classes]),
    }
    for name, heat in maps.items():
        if heat is not None:
            hits_of[name] = hits(lesions.masks, peaks(heat, size))
    weights = cluster_weights(lesions.patients)
    members = {lesions.names[kind]: [lesions.classes == kind] for kind in lesions.frequent()}
    if len(members) > 1:
        members[MEAN] = [group for groups in members.values() for group in groups]
    game: dict[str, dict[str, Estimate]] = {}
    for finding, groups in members.items():
        game[finding] = {
            name: _estimate(values, groups, lesions, weights) for name, values in hits_of.items()
        }
    return game


def _estimate(
    values: np.ndarray, groups: Sequence[np.ndarray], lesions: Lesions, weights: np.ndarray
) -> Estimate:
    """Return the mean over findings of the mean over a finding's outlines, with its interval."""
    patients = np.asarray(lesions.patients)
    freedoms = np.array([len(np.unique(patients[group])) - 1.0 for group in groups])
    of_groups = [standard_error(_within(values, group, weights)) for group in groups]
    freedom = combined_freedom(np.square(of_groups), freedoms)
    accuracy = _accuracy(values, groups)
    return mean_estimate([accuracy], weights, freedom=freedom, scale="share")


def _accuracy(values: np.ndarray, groups: Sequence[np.ndarray]) -> Statistic:
    """Return the statistic: mean over groups (bool [P] each) of the mean value; a group that a
    resample lacks is left out."""
    return partial(mean_of_defined, [partial(_within, values, group) for group in groups])


def _within(values: np.ndarray, group: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return weighted_mean(values[group], weights[:, group])


# ------------------------------------------------------------------------------------------- tables
def table(lesions: Lesions, game: Game, methods: Sequence[str]) -> str:
    """Return the Markdown table, and in words which methods are better than the prior; bold: the
    paired interval says so."""
    heads = ["finding", "images", CHANCE, PRIOR, *map(escape, methods)]
    lines = ["| " + " | ".join(heads) + " |", "|---|" + "---:|" * (len(heads) - 1)]
    for finding, estimates in game.items():
        cells = [
            escape(finding),
            str(_count(lesions, finding)),
            f"{estimates[CHANCE].value:.3f}",
            estimates[PRIOR].text,
        ]
        lines.append(
            "| " + " | ".join([*cells, *(_cell(estimates, name) for name in methods)]) + " |"
        )
    return "\n".join([*lines, "", *(f"- {verdict(game, name)}" for name in methods)])


def _count(lesions: Lesions, finding: str) -> int:
    """Return in how many images a finding is outlined; for the mean, how many images have any."""
    lesion_rows = (
        lesions.rows
        if finding == MEAN
        else lesions.rows[lesions.classes == lesions.names.index(finding)]
    )
    return len(np.unique(lesion_rows))


def _cell(found: Mapping[str, Estimate], name: str) -> str:
    if name not in found:
        return NO_MAP
    return f"**{found[name].text}**" if against(found, name) > 0 else found[name].text


def against(estimates: Mapping[str, Estimate], name: str, other: str = PRIOR) -> int:
    """Return 1 where a method is better than another, -1 where it is worse, 0 where the paired
    interval contains 0."""
    low, high, _, _ = compare(estimates[name], estimates[other])
    if low > 0:
        return 1
    return -1 if high < 0 else 0


def verdict(game: Game, name: str) -> str:
    """Say in one sentence whether a method points better than the centre prior, and than chance."""
    last, overall = list(game.items())[-1]
    if name not in overall:
        return f"`{name}`: {NO_MAP}."
    signs = {
        finding: against(estimates, name) for finding, estimates in game.items() if finding != MEAN
    }
    better, worse = (
        _listed([finding for finding, sign in signs.items() if sign == way]) for way in (1, -1)
    )
    return (
        f"`{name}`, {last}: {_compared(overall, name, PRIOR)} and "
        f"{_compared(overall, name, CHANCE)}. Against the {PRIOR} "
        f"better in {better}, worse in {worse} of {len(signs)} finding{'s' * (len(signs) > 1)}."
    )


def _compared(estimates: Mapping[str, Estimate], name: str, other: str) -> str:
    words = {1: "better than", 0: "not better than", -1: "worse than"}
    sign = against(estimates, name, other)
    article = "the " if other == PRIOR else ""
    margin = estimates[name].value - estimates[other].value
    low, high, _, _ = compare(estimates[name], estimates[other])
    return f"{words[sign]} {article}{other} ({margin:+.3f} [{low:+.3f}, {high:+.3f}])"


def _listed(findings: Sequence[str]) -> str:
    return f"{len(findings)}" + (f" ({', '.join(findings)})" if findings else "")


def rows(lesions: Lesions, game: Game, facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one flat row per finding and method for the CSV, `facts` in each."""
    return [
        {
            **facts,
            "finding": finding,
            "images": _count(lesions, finding),
            "method": name,
            **{bound: f"{getattr(estimate, bound):.6f}" for bound in ("value", "low", "high")},
            "against_prior": against(estimates, name),
        }
        for finding, estimates in game.items()
        for name, estimate in estimates.items()
    ]
