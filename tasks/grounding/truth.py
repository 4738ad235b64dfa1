"""Where the eyes rested: the fixations behind maps of gaze. Light to import."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from bench.contracts import Annotation, Dataset, Source, Stored
from bench.core.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

Places = Mapping[int, Sequence[tuple[float, float]]]
"""Number of a sentence (-1: the whole study) -> x and y of each fixation, as shares of the padded
square's side."""


@runtime_checkable
class GivesFixations(Protocol):
    """A dataset whose readers' eyes were tracked."""

    def fixations(self, row: pd.Series) -> Places:
        """Return the fixations of one row of the index."""
        ...


class Fixations(Annotation["np.ndarray"]):
    """The fixations of every image during each sentence: objects [n], `Places` each."""

    name = "fixations"
    hint = "Write fixations(row) in the dataset."

    def offered(self, dataset: Dataset) -> bool:
        """Say whether the dataset knows where eyes rested."""
        return isinstance(dataset, GivesFixations)

    def prepare(self, source: Source) -> StoredFixations:
        """Take the fixations from the index."""
        dataset: Any = source.dataset
        if not isinstance(dataset, GivesFixations):
            raise DataError(
                f"dataset '{dataset.name}' has no fixations.",
                "Choose a dataset of eye gaze, such as egd_cxr, or another source of regions.",
            )
        places = {
            str(row["image_id"]): dataset.fixations(row) for _, row in source.index.iterrows()
        }
        return StoredFixations(places)


@dataclass(frozen=True)
class StoredFixations(Stored["np.ndarray"]):
    """The fixations of images by their id."""

    places: Mapping[str, Places]

    def content(self, index: pd.DataFrame) -> tuple[Any, ...]:
        """Return a hash of the fixations of every image of the index."""
        from bench.core.hashing import digest

        images = sorted(set(index["image_id"].astype(str)))
        listed = [[image, sorted(self.places.get(image, {}).items())] for image in images]
        return (digest(listed),)

    def of(self, rows: pd.DataFrame) -> np.ndarray:
        """Return the fixations of some rows."""
        import numpy as np

        values = np.full(len(rows), None, object)
        for row, image in enumerate(rows["image_id"].astype(str)):
            values[row] = self.places.get(image, {})
        return values
