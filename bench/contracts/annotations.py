"""What stands beside the images of a dataset: masks, boxes, or anything else that a task reads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar, cast

from bench.contracts.common import OnError, Progress, Skipped
from bench.core.registry import Registry

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from bench.contracts.datasets import Dataset

V = TypeVar("V")
A = TypeVar("A", bound="type[Annotation[Any]]")


@dataclass(frozen=True)
class Source:
    """The images that an annotation is read for: the rows of `index`, which `dataset` read from
    `root`, decoded into squares of `size` px.

    With `on_error="skip"` an image whose annotation is at fault is listed in `Stored.skipped`;
    else the first fault raises DataError naming the image. Without `make` nothing slow is done:
    NotMadeError is raised where something is not decoded yet.
    """

    dataset: Dataset
    index: pd.DataFrame
    root: Path
    size: int
    workers: int = 2
    on_error: OnError = "stop"
    make: bool = True
    progress: Progress | None = None


class Cache(Protocol):
    """Decoded arrays on disk, as `bench.data.cache.Store`: the hash of what each item is made
    of."""

    @property
    def ids(self) -> tuple[str, ...]:
        """Return the ids of the items."""
        ...

    @property
    def digests(self) -> tuple[str, ...]:
        """Return the hash of the content of each."""
        ...


class Stored(ABC, Generic[V]):
    """An annotation of the images of a dataset, read and checked."""

    @property
    def skipped(self) -> Sequence[Skipped]:
        """Return the images that are left out of the data because of it."""
        return ()

    @property
    def caches(self) -> Sequence[Cache]:
        """Return its caches beside that of the images; their contents are hashed with it."""
        return ()

    @abstractmethod
    def content(self, index: pd.DataFrame) -> tuple[Any, ...]:
        """Return JSON-like values that are others as soon as what is read for the images of
        `index` is another, and the same whatever the order of the rows; () where `caches` say it
        all. They decide the key of a cell."""

    @abstractmethod
    def of(self, rows: pd.DataFrame) -> V:
        """Return what belongs to some rows of the index, in their order; a row may stand twice."""


class Annotation(ABC, Generic[V]):
    """One kind of annotation. A task kind names those it `needs`; `Subset.get` of the class gives
    a head what belongs to its images, a V: an array [n, ...], or what the class says."""

    name: ClassVar[str]
    """In the plural, as a sentence has it: "dataset 'x' has no masks"."""
    keys_features: ClassVar[bool] = False
    """Whether the kept features of frozen encoders are named after it too. They depend on the
    images alone; it is so where caches on disk have it that way."""

    in_index: ClassVar[bool] = False
    """Whether it is columns of the index: `check` says whether they are there."""
    hint: ClassVar[str] = ""
    """How a dataset gets it, a sentence for whoever writes one."""

    @abstractmethod
    def prepare(self, source: Source) -> Stored[V]:
        """Read the annotation of the images of `source`."""

    def check(self, dataset: Dataset, index: pd.DataFrame) -> None:
        """Raise DataError where an index, just read, lacks what this annotation is made of: no
        image is decoded then."""

    def offered(self, dataset: Dataset) -> bool:
        """Say whether a dataset declares that it has this annotation; reads no file."""
        return True

    @classmethod
    def take(cls, values: V, rows: np.ndarray) -> V:
        """Return the values of the rows `rows` (integers) of a subset; V is an array unless this
        is overridden."""
        return cast(V, cast(Any, values)[rows])


ANNOTATIONS: Registry[Annotation[Any]] = Registry("annotation")


def annotation(cls: A) -> A:
    """Decorate an Annotation subclass: it is listed, and `load_dataset` reads it where a dataset
    offers it."""
    ANNOTATIONS.add(cls.name, cls())
    return cls
