"""Which projections are kept."""

from __future__ import annotations

import numpy as np

from bench.contracts import Subset
from bench.core.errors import DataError


def keep_views(subset: Subset, views: tuple[str, ...]) -> Subset:
    """Return the images of `views` (all where none is named); raise DataError where the index has
    no views or none is left."""
    if not views:
        return subset
    if "view" not in subset.index:
        raise DataError(
            f"views {', '.join(views)} were asked for and the index has no column 'view'.",
            "Set views= to nothing.",
        )
    rows = np.flatnonzero(subset.index["view"].isin(views))
    if len(subset) and not len(rows):
        views_there = ", ".join(sorted(map(str, subset.index["view"].unique())))
        raise DataError(
            f"no image has one of the views {', '.join(views)}; found: {views_there}.",
            "Change views.",
        )
    return subset.take(rows)
