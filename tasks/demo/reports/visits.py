"""The studies of a demo in which some patients come twice."""

from __future__ import annotations

import numpy as np

from tasks.demo.body.patient import Study, sample_study


def study_of(
    seed: int, number: int, stream: int, rates: dict[str, float], every: int = 20
) -> Study:
    """Return study `number` of a demo; one in `every` is a second visit of the patient before it.

    `stream` keeps the patients of one dataset's demo apart from those of another; `rates` are those
    of the findings.
    """
    rng = np.random.default_rng((seed, number, stream))
    if number % every == every - 1:
        return sample_study(
            rng, number, rates, previous=study_of(seed, number - 1, stream, rates, every)
        )
    return sample_study(rng, number, rates)
