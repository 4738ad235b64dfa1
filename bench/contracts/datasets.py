"""What a dataset declares, and the decoded images that come of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bench.contracts.annotations import Annotation, V
from bench.contracts.common import DataKind, Progress
from bench.contracts.declared import dataset_faults, made
from bench.contracts.regions import Region
from bench.core.declaring import refuse
from bench.core.errors import DataError, PlaceBenchError
from bench.core.registry import Registry

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


@dataclass(frozen=True)
class CheckResult:
    """One line of a validation: `level` is ok, warning or error; `message` names the path or count
    and the next step."""

    level: Literal["ok", "warning", "error"]
    message: str


Finding = CheckResult
"""The name that plug-ins of before import."""


class Dataset(ABC):
    """One dataset in the layout it is downloaded in.

    A subclass sets the class attributes below and implements `index` and `validate`; with masks it
    implements `mask`, and with an embedded demo `make_demo`. Heavy imports (pandas, pydicom, cv2)
    stand inside the methods.
    """

    name: str
    title: str
    licence: str
    citation: str
    how_to_get: str
    folders: tuple[str, ...] = ()
    """Folder names under the data root, tried in this order; the dataset's own name is always tried
    first."""
    marker: str | tuple[str, ...] = ""
    """A file or folder (relative) by which the dataset is recognised in a folder; of several,
    any."""
    mask_classes: tuple[str, ...] = ()
    box_classes: tuple[str, ...] = ()
    label_names: tuple[str, ...] = ()
    official_lists: tuple[str, ...] = ()
    """Files of the download with the names of split lists (`train.txt`): they are the dataset's
    own, not the user's."""
    has_reports: bool = False
    has_regions: bool = False
    """Whether `regions` is written: maps of where in the image a sentence or a label is."""
    has_demo: bool = False
    demo_studies: int = 400
    """How many studies the demo has unless asked otherwise."""
    version: int = 1
    """Raise when `mask` gives other pixels for the same files: cached masks are made again."""
    regions_version: int = 1
    """Raise when `regions` gives other maps for the same files."""

    @abstractmethod
    def index(self, root: Path) -> pd.DataFrame:
        """Return one row per image, read from the files as downloaded.

        Columns always present: `image_id` (str, unique), `patient_id` (str), `path` (str, relative
        to `root`), `split` (str: train/val/test, or "" where the dataset has no official split).
        Where known: `study_id`, `view` (PA, AP, LL), `sex` (M/F/""), `age` (float), `report` (str,
        cleaned impression + findings), `findings`, `impression`, one column `label:<name>`
        (0/1/-1/NaN) per entry of `label_names`; a dataset may keep further private columns its
        `mask` reads, and names the files of an image's masks in `mask_paths` (tuple of str,
        relative to `root`): the cache sees them change. `bench.data.notes.note` may count beside
        the index what is left out by intent and what of tables and files has no counterpart. Raise
        DataError naming the file for a missing file or column, a duplicate or an impossible value;
        a fault of single rows may go to `bench.data.faults.fault` instead, which raises it, or
        lists it and returns where the user skips faults.
        """

    @abstractmethod
    def validate(self, root: Path) -> list[CheckResult]:
        """Compare what is on disk with the published counts; name what is missing and how to get
        it."""

    def counts(self, index: pd.DataFrame, root: Path) -> list[CheckResult]:
        """Compare the counts of an index with the published ones; what disagrees is said in every
        run."""
        return []

    def mask(self, row: pd.Series, root: Path) -> np.ndarray:
        """Return the masks of one image as uint8 0/1 [len(mask_classes), H, W] in the pixel grid of
        the image file."""
        raise NotImplementedError(f"dataset '{self.name}' has no masks")

    def boxes(self, row: pd.Series, root: Path) -> np.ndarray:
        """Return the boxes of one image, float32 [n, 5]: x1, y1, x2, y2 in pixels of the image file
        (exclusive right and lower edge) and the class as an index into `box_classes`; [0, 5] where
        there are none."""
        raise NotImplementedError(f"dataset '{self.name}' has no boxes")

    def regions(self, row: pd.Series, root: Path) -> list[Region]:
        """Return the regions of one image; `bench.data.regions` makes maps of gaze, masks and
        boxes.

        What they depend on are private columns of the row, its report, and files that the index
        names in `region_paths` (tuple of str, relative to `root`): the cache sees these change.
        """
        raise NotImplementedError(f"dataset '{self.name}' has no regions")

    def make_demo(
        self,
        out: Path,
        *,
        studies: int,
        size: int,
        seed: int,
        workers: int = 2,
        progress: Progress | None = None,
    ) -> None:
        """Render `studies` studies at `size` px into `out` in this dataset's native layout."""
        raise NotImplementedError(f"dataset '{self.name}' has no demo")

    def cautions(self, test: pd.DataFrame) -> tuple[str, ...]:
        """Return sentences on these test images that every result and table has to carry."""
        return ()

    def demo_version(self) -> int:
        """Return the version of the renderer behind `make_demo`; another version, another demo."""
        return 1

    def reference_split(
        self, index: pd.DataFrame, protocol: str, seed: int, kind: str = ""
    ) -> pd.DataFrame | None:
        """Return the split a published protocol made of this dataset (its leaks included), or None
        where it has none of its own.

        `kind` is the kind of the task: a protocol may split one dataset differently for
        classification and detection.

        An image may come back in several rows, once per split, with other private columns (e.g. a
        part of its masks).
        """
        return None

    def reference_subset(
        self, train: pd.DataFrame, protocol: str, fraction: float, seed: int, kind: str = ""
    ) -> pd.DataFrame | None:
        """Return the training rows a published protocol uses at one label fraction, or None for the
        usual nested subset."""
        return None


def dataset(cls: type[Dataset]) -> type[Dataset]:
    """Decorate a Dataset subclass: registers one instance under `cls.name`; raise PlaceBenchError
    naming what it lacks."""
    try:
        instance = made(cls, "dataset")
    except PlaceBenchError as fault:
        refuse(fault)
        return cls
    DATASETS.add(instance.name, instance)
    return cls


@dataclass(frozen=True)
class Subset:
    """Some images of one dataset, decoded once.

    `index` holds the rows in order; row r's pixels stand at `positions[r]` of `image_store`, uint8
    [M, S, S] (a memory map, never written). `annotations` are what the task's kind asked for, in
    the order of the rows: `get` returns one by its class.
    """

    index: pd.DataFrame
    positions: np.ndarray
    image_store: np.ndarray
    annotations: Mapping[type[Annotation[Any]], Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.index)

    def images(self, rows: Any) -> np.ndarray:
        """Return a copy of the images of `rows` (an integer array or slice), uint8 [n, S, S]."""
        return self.image_store[self.positions[rows]]

    def has(self, annotation: type[Annotation[Any]]) -> bool:
        """Say whether these images come with an annotation."""
        return annotation in self.annotations

    def get(self, annotation: type[Annotation[V]]) -> V:
        """Return an annotation of these images, e.g. `subset.get(Masks)`; raise DataError where
        they come without it."""
        if annotation not in self.annotations:
            raise _without(annotation.name)
        values: V = self.annotations[annotation]
        return values

    def masks(self, rows: Any) -> np.ndarray:
        """Return the masks of `rows`: `get(Masks)[rows]`, as it was called before."""
        masks: np.ndarray = self._named("masks")[rows]
        return masks

    def boxes(self, row: int) -> np.ndarray:
        """Return the boxes of one row: `get(Boxes)[row]`, as it was called before."""
        boxes: np.ndarray = self._named("boxes")[row]
        return boxes

    def _named(self, name: str) -> Any:
        for annotation, values in self.annotations.items():
            if annotation.name == name:
                return values
        raise _without(name)

    def take(self, rows: np.ndarray) -> Subset:
        """Return the rows `rows` (integers) with their annotations; the pixels stay where they
        are."""
        return replace(
            self,
            index=self.index.iloc[rows].reset_index(drop=True),
            positions=self.positions[rows],
            annotations={
                annotation: annotation.take(values, rows)
                for annotation, values in self.annotations.items()
            },
        )


def _without(name: str) -> DataError:
    return DataError(f"these images have no {name}.", f"Choose a task whose dataset has {name}.")


@dataclass(frozen=True)
class PairData:
    """Radiographs with their reports, split by patient: the subsets' index has a column `report`,
    their images are cached at the encoder's `resize`. `data_hash` identifies images, reports and
    split; `digests` are the contents of the images by id, as the image cache has them."""

    name: str
    kind: DataKind
    train: Subset
    val: Subset
    data_hash: str
    digests: Mapping[str, str] = field(default_factory=dict)


DATASETS: Registry[Dataset] = Registry("dataset", check=dataset_faults)
