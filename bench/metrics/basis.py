"""From a metric of one result to how many patients it stands on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bench.contracts import Basis
from bench.metrics.intervals import combined_freedom, patients_behind, standard_error


def patient_freedom(
    basis: Basis, metric: str, resampled: Mapping[str, np.ndarray], patients: np.ndarray
) -> float:
    """Return the degrees of freedom of a metric's standard error under resampling of patients: one
    fewer than the patients behind it.

    A mean over classes has those of its classes combined (Satterthwaite), but no more than all
    patients give: a rare class, which spreads most, decides. `resampled`: the values [R] of the
    metric and, where it has them, of its classes (`metric:class`); `patients` [n]: their numbers
    (`patient_numbers`), in the order of `basis.labels`.
    """
    most = float(patients.max(initial=-1))
    if basis.labels is None:
        return most
    labels = basis.labels if basis.labels.ndim == 2 else basis.labels[:, None]
    freedoms = np.array([patients_behind(column, patients) - 1.0 for column in labels.T])
    of_classes = [f"{metric}:{name}" for name in basis.classes]
    if len(freedoms) == 1 or not all(name in resampled for name in of_classes):
        return float(freedoms.min())
    usable = freedoms > 0
    if not usable.any():
        return float(freedoms.max())
    errors = np.array([standard_error(resampled[name]) for name in of_classes])
    return min(most, combined_freedom(np.square(errors)[usable], freedoms[usable]))
