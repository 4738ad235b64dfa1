"""Where in an image a label is: its mask, or its boxes filled, whichever a dataset has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bench.contracts import DATASETS, Annotation, Cache, Dataset, Skipped, Source, Stored, TaskSpec
from bench.core.errors import DataError, SettingError
from bench.data.annotations import Boxes, Masks

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


def marking(dataset: Dataset, labels: Sequence[str]) -> Annotation[Any] | None:
    """Return the annotation of a dataset that has classes of the names of more of some labels,
    masks where both have; None where no label is one of their classes."""
    masked = _shared(labels, dataset.mask_classes)
    boxed = _shared(labels, dataset.box_classes)
    if not masked and not boxed:
        return None
    return Masks() if len(masked) >= len(boxed) else Boxes()


def _shared(labels: Sequence[str], classes: Sequence[str]) -> set[str]:
    return {name.casefold() for name in labels} & {name.casefold() for name in classes}


def check_marked(task: TaskSpec, labels: Sequence[str]) -> None:
    """Raise SettingError where the dataset of a task marks none of its labels; reads no file."""
    if marking(DATASETS.get(task.dataset), labels) is None:
        raise SettingError(
            f"saliency_metrics needs masks or boxes of a label of task '{task.name}', and dataset "
            f"'{task.dataset}' has none.",
            "Choose a task whose dataset has them, or leave saliency_metrics out.",
        )


@dataclass(frozen=True)
class AreaRows:
    """What is marked in some rows: `rows` are masks or boxes, on squares of `size` px."""

    rows: Any
    annotation: type[Annotation[Any]]
    size: int

    def __len__(self) -> int:
        return len(self.rows)

    def area(self, row: int, label: str) -> np.ndarray:
        """Return where a label is marked in a row, uint8 0/1 [size, size]; 0 where nowhere."""
        import numpy as np

        from bench.data.boxes import fill_boxes

        names = [name.casefold() for name in self.rows.classes]
        if label.casefold() not in names:
            return np.zeros((self.size, self.size), np.uint8)
        marked = names.index(label.casefold())
        if self.annotation is Boxes:
            return fill_boxes(self.rows[row], self.size, self.size, len(names))[marked]
        mask: np.ndarray = self.rows[np.array([row])][0, marked]
        return mask


class Areas(Annotation[AreaRows]):
    """Masks or boxes of some labels, whichever a dataset has."""

    name = "masks or boxes"
    hint = "Set mask_classes in the dataset and write mask(row, root), or box_classes and boxes."

    def __init__(self, labels: Sequence[str] = ()) -> None:
        self.labels = labels

    def offered(self, dataset: Dataset) -> bool:
        """Say whether the dataset marks one of the labels."""
        return marking(dataset, self.labels) is not None

    def prepare(self, source: Source) -> StoredAreas:
        """Read the masks or boxes of the images."""
        annotation = marking(source.dataset, self.labels)
        if annotation is None:
            raise DataError(
                f"dataset '{source.dataset.name}' has no {self.name} of {', '.join(self.labels)}.",
                "Choose a dataset that has them.",
            )
        return StoredAreas(annotation.prepare(source), type(annotation), source.size)

    @classmethod
    def take(cls, values: AreaRows, rows: np.ndarray) -> AreaRows:
        """Return what is marked in the rows `rows`."""
        return replace(values, rows=values.annotation.take(values.rows, rows))


@dataclass(frozen=True)
class StoredAreas(Stored[AreaRows]):
    """The masks or boxes of a dataset."""

    stored: Stored[Any]
    annotation: type[Annotation[Any]]
    size: int

    @property
    def skipped(self) -> Sequence[Skipped]:
        """Return the images whose mask or boxes are at fault."""
        return self.stored.skipped

    @property
    def caches(self) -> Sequence[Cache]:
        """Return the cache of the masks; boxes have none."""
        return self.stored.caches

    def content(self, index: pd.DataFrame) -> tuple[Any, ...]:
        """Return what stands for them in a key."""
        return self.stored.content(index)

    def of(self, rows: pd.DataFrame) -> AreaRows:
        """Return what is marked in some rows."""
        return AreaRows(self.stored.of(rows), self.annotation, self.size)
