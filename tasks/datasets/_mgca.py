"""What MGCA's classification datasets share: a plain random part of the training rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.core.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

SEED = 42


def sample_fraction(train: pd.DataFrame, fraction: float, seed: int = SEED) -> pd.DataFrame:
    """Return `fraction` of the rows as the reference draws them: not stratified, the same for every
    run, not nested.

    Raise DataError where that is no row at all.
    """
    sample = train if fraction == 1 else train.sample(frac=fraction, random_state=seed)
    if sample.empty:
        raise DataError(
            f"{fraction:g} of {len(train)} training images is none.",
            "Use a larger fraction, or --protocol default.",
        )
    return sample
