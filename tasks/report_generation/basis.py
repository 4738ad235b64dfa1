"""What the metrics of generated reports stand on: the reports that name an observation, or all."""

from __future__ import annotations

import numpy as np

from bench.contracts import Basis, Predictions
from bench.text.observations import OBSERVATIONS
from tasks.report_generation.metrics.clinical import ABNORMAL, FIVE, FOURTEEN


def basis(predictions: Predictions, metric: str) -> Basis:
    """Return the basis of one metric: clinical efficacy over observations stands on the reference
    reports that name one of them, everything else is a mean over reports."""
    name, _, observation = metric.partition(":")
    if not name.startswith("ce_") or name.endswith("_example"):
        return Basis()
    named = predictions.arrays["reference_named"].astype(bool)
    if observation:
        return Basis("share", named[:, OBSERVATIONS.index(observation)].astype(float))
    chosen = FOURTEEN
    if name.endswith("_abnormal"):
        chosen = ABNORMAL
    elif name.endswith("_5"):
        chosen = FIVE
    names_one = named[:, list(chosen)].any(axis=1)
    return Basis("share", np.where(names_one, 1.0, np.nan))
