"""What a task and its kind declare, and what crosses between a kind and the engine."""

from __future__ import annotations

import importlib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from bench.contracts.annotations import ANNOTATIONS, Annotation
from bench.contracts.backbones import Backbone
from bench.contracts.baselines import FitBaseline
from bench.contracts.common import DataKind, Profile, Progress, Scaling
from bench.contracts.datasets import DATASETS, Dataset, Subset
from bench.contracts.declared import (
    kind_faults,
    kind_faults_together,
    task_faults,
    task_faults_together,
)
from bench.contracts.submissions import SubmissionForm
from bench.core.errors import NotApplicableError, PlaceBenchError
from bench.core.registry import Registry
from bench.core.settings import override, preset_of

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


_PLACE = re.compile(r"\w+(\.\w+)*:\w+")


@dataclass(frozen=True)
class TaskSpec:
    """Declaration of one task: a kind of head on one dataset.

    `groups` are names that run many tasks at once. `presets` gives, per protocol, setting values of
    this dataset that differ from the kind's preset (e.g. {"mgca": {"batch_size": "8"}}).
    `published_metrics`: protocol -> the metric that its published tables of this task rank by,
    where that is not `main_metric`.
    """

    name: str
    kind: str
    dataset: str
    title: str
    main_metric: str
    groups: tuple[str, ...] = ()
    fractions: tuple[float, ...] = (0.1, 1.0)
    options: Mapping[str, Any] = field(default_factory=dict)
    presets: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    published_metrics: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class CellContext:
    """What a task kind gets beside data and backbone: its resolved settings, a folder to resume
    from, device, seed, progress."""

    task: TaskSpec
    settings: Any
    work_dir: Path
    device: str
    seed: int
    profile: Profile
    progress: Progress
    data_kind: DataKind = "real"
    """Texts of real reports are licensed: a kind shows them only where it was asked to."""
    encoder_key: str = ""
    """Names the encoder (backbone, architecture, checkpoint, settings, seed); part of the key of
    kept features."""
    data_key: str = ""
    """Hash of the images read; without it features are not kept on disk."""
    test_maps: MutableMapping[str, Any] = field(default_factory=dict)
    """What the cells of one encoder pass on within a run: its maps of the test images
    (`bench.mm.maps.with_test_maps`)."""

    @property
    def dataset(self) -> Dataset:
        """Return the declaration of the task's dataset."""
        return DATASETS.get(self.task.dataset)

    @property
    def mask_classes(self) -> tuple[str, ...]:
        """Return the dataset's `mask_classes`; a head asks `subset.get(Masks).classes`."""
        return self.dataset.mask_classes

    @property
    def box_classes(self) -> tuple[str, ...]:
        """Return the dataset's `box_classes`; a head asks `subset.get(Boxes).classes`."""
        return self.dataset.box_classes

    @property
    def label_names(self) -> tuple[str, ...]:
        """Return the dataset's `label_names`."""
        return self.dataset.label_names


@dataclass(frozen=True)
class Predictions:
    """Kept per cell. `table`: one row per test image (`image_id`, `patient_id`, then what `score`
    needs); `arrays`: optional numpy arrays aligned with the table (e.g. packed masks for figures);
    `extra`: scalars of the fit (epochs, best step)."""

    table: pd.DataFrame
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Score:
    """One metric of one cell with its 95% interval (bootstrap clustered by patient), the `n` images
    it was computed on, and the share of resamples in which it is undefined."""

    metric: str
    value: float
    low: float
    high: float
    n: int
    undefined: float = 0.0


Scale = Literal["mean", "share"]
"""How a metric is spread. "share": a ratio between 0 and 1 that is lopsided near them (AUROC,
average precision, F1, Dice over all pixels). "mean": a mean over images, and everything else."""


@dataclass(frozen=True)
class Basis:
    """What a metric stands on, for its interval.

    `labels` [n], or [n, K] for a mean over the K `classes`: 1 for an image with what is looked for,
    0 for one without, NaN for one that does not count; None where every image counts alike.
    """

    scale: Scale = "mean"
    labels: np.ndarray | None = None
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class NoOptions:
    """`TaskSpec.options` of a kind that has none."""


@dataclass(frozen=True)
class Body:
    """A method of a task kind whose work stands in another module, imported when it is called.

    `fit = Body("tasks.retrieval.fit:fit")` in the class: the function gets what the method would,
    without `self`. So a kind is declared without importing what it is made of. Written as
    `fit: Callable[..., Any] = Body(...)`, a type checker lets a derived kind have a method there.
    """

    function: str

    def __post_init__(self) -> None:
        if not _PLACE.fullmatch(self.function):
            raise self._wrong("is no place of a function")

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Import the function and call it."""
        return self.load()(*arguments, **named)

    def load(self) -> Callable[..., Any]:
        """Return the function; raise PlaceBenchError where there is none of that name."""
        module, _, name = self.function.partition(":")
        try:
            function: Any = getattr(importlib.import_module(module), name, None)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module}.".startswith(f"{error.name}."):
                raise  # something that the module itself imports
            raise self._wrong(f"names no module: there is no {error.name}") from error
        if not callable(function):
            raise self._wrong("names no function of its module")
        return function

    def _wrong(self, what: str) -> PlaceBenchError:
        return PlaceBenchError(f"Body('{self.function}') {what}.", 'Write "module:function".')


class TaskKind(ABC):
    """One kind of task: its settings and presets, its head, its metrics. Sees a backbone only
    through the protocol above."""

    name: str
    presets: ClassVar[Mapping[str, Any]] = {}
    """Protocol -> profile -> settings; a kind with `settings` of its own may keep others here."""
    evaluator_version: int = 1
    metrics: tuple[str, ...]
    """Those a table shows beside the task's main one, where results have them; `statistics` may
    give more."""
    lower_is_better: tuple[str, ...] = ()
    """Patterns (fnmatch) of the metrics whose smallest value is the best, e.g. "*_rank"."""
    baselines: ClassVar[Mapping[str, FitBaseline]] = {}
    """Rows beside the encoders that need none: name, e.g. constant_report -> the function that fits
    it: a function, or a `Body` where its import is heavy."""
    compares_texts: bool = False
    """Whether it compares images with texts: its encoders need a text side."""
    options: ClassVar[type[Any] | None] = None
    """A dataclass whose fields are the names and types of `TaskSpec.options` that a task of this
    kind may have; None: they are not checked."""
    trained: bool = True
    """Whether its head is fitted to the training images; then the number of threads decides its
    last digits and belongs to the cell."""
    published_metrics: ClassVar[Mapping[str, str]] = {}
    """Protocol -> the metric that its published tables rank by, where that is not a task's
    `main_metric`."""
    choices: ClassVar[Mapping[str, Registry[Any]]] = {}
    """Setting -> the registry of the parts that its value names, such as a decoder; each has a
    `title` and `settings`, which derive from those of the kind."""
    submission: ClassVar[SubmissionForm | None] = None
    """The files in which predictions that were made elsewhere are scored; None: they are not."""
    scaling: ClassVar[Mapping[str, Scaling]] = {}
    """Protocol -> how its published code reads image files, where that is not "range"."""

    def settings(
        self, task: TaskSpec, protocol: str, profile: Profile, overrides: Mapping[str, str]
    ) -> Any:
        """Return the resolved frozen settings dataclass; must not import torch. Raise
        UnknownNameError on an unknown protocol.

        The dataclass has at least: `image_size` (int, px of the square the subsets are cached at).
        Unless a kind overrides this, it is the preset with `overrides`.
        """
        return override(preset_of(self.presets, protocol, self.name)[profile], overrides)

    def metric_of(self, task: TaskSpec, protocol: str) -> str:
        """Return the metric that a task is ranked by under a protocol."""
        published = {**self.published_metrics, **task.published_metrics}
        return published.get(protocol, task.main_metric)

    def needs(self, settings: Any) -> tuple[Annotation[Any], ...]:
        """Return what these settings read beside the images, e.g. `(Masks(),)` of
        `bench.data.annotations`. Subsets come with it, and cells are keyed by it."""
        return ()

    def protocols(self) -> tuple[str, ...]:
        """Return the names of the protocol presets."""
        return tuple(self.presets)

    def metric_names(self, task: TaskSpec, settings: Any) -> tuple[str, ...]:
        """Return the metrics that `statistics` will give, or patterns of them (`ce_f1:*`), without
        those of single classes (`name:class`) and subgroups (`name@sex=F`); () where only the
        results can say. Must not import torch or numpy."""
        return ()

    def split(
        self, index: pd.DataFrame, task: TaskSpec, protocol: str, seed: int
    ) -> pd.DataFrame | None:
        """Return `index` with `split` filled (train/val/test); None for the default: the official
        split, else 70/15/15 by patient."""
        return None

    def subset(
        self, train: pd.DataFrame, fraction: float, task: TaskSpec, protocol: str, seed: int
    ) -> pd.DataFrame | None:
        """Return the training rows used at one label fraction; None for the default: nested,
        stratified on the first label, never empty."""
        return None

    def baseline(self, name: str) -> FitBaseline:
        """Return the function that fits one of `baselines`."""
        return self.baselines[name]

    @abstractmethod
    def fit(self, backbone: Backbone, train: Subset, val: Subset, context: CellContext) -> Any:
        """Train the head and return a predictor."""

    @abstractmethod
    def predict(self, predictor: Any, test: Subset, context: CellContext) -> Predictions:
        """Return one row per image of `test`, in its order; `extra["left_out"]` counts images that
        have none."""

    @abstractmethod
    def statistics(
        self, predictions: Predictions, task: TaskSpec
    ) -> Mapping[str, Callable[[np.ndarray], np.ndarray]]:
        """Return, per metric, a function of resampling weights [R, n_images] giving its value per
        resample [R].

        Weights of one give the point estimate. The engine makes one shared, patient-clustered
        weight matrix, so that intervals and paired tests of all backbones use the same resamples.
        A metric of fewer images than the test set has is a `bench.metrics.weights.OnSomeImages`.
        """

    def basis(self, predictions: Predictions, metric: str) -> Basis:
        """Return what one of the `statistics` stands on; by default a mean over all images."""
        return Basis()

    def end_to_end(self, settings: Any, profile: Profile) -> Any:
        """Return the settings with which the same head and an encoder of random weights are trained
        together on the training labels: those of the row `supervised`. They may differ from
        `settings` in what training does, and in nothing that decides what is read or scored.

        Raise NotApplicableError, as here, where the kind trains nothing, or where `settings` train
        every encoder already.
        """
        missing = "trains nothing" if not self.trained else "has no recipe for it"
        raise NotApplicableError(f"{self.name} {missing}.")

    def complete(self, predictions: Predictions, settings: Any) -> Predictions | None:
        """Return kept predictions with what was missing when they were made (`extra` says so under
        `missing:<what>`); None where it is still missing, or cannot be made from them."""
        return None

    def figure(
        self, task: TaskSpec, test: Subset, predictions: Mapping[str, Predictions], out: Path
    ) -> Path | None:
        """Draw a few of `test` with what each method predicted, into `out` (.png); None where the
        kind has no figure."""
        return None


TASKS: Registry[TaskSpec] = Registry("task", check=task_faults, check_together=task_faults_together)


KINDS: Registry[TaskKind] = Registry(
    "task kind", check=kind_faults, check_together=kind_faults_together
)


def needs_of(kind: TaskKind, settings: Any) -> tuple[Annotation[Any], ...]:
    """Return the annotations a kind needs with these settings.

    A kind of before there were annotations has a word in place of the method: `needs = "masks"`.
    """
    needs: Any = kind.needs
    if isinstance(needs, str):
        return () if needs == "images" else (ANNOTATIONS.get(needs),)
    annotations = needs(settings)
    if isinstance(annotations, tuple):
        wrong = [entry for entry in annotations if not isinstance(entry, Annotation)]
    else:
        wrong = [annotations]
    if wrong:
        raise PlaceBenchError(
            f"task kind '{kind.name}' needs {wrong[0]!r}, which is no tuple of annotations.",
            "Return instances in a tuple, such as (Masks(),).",
        )
    return annotations


def task(spec: TaskSpec) -> TaskSpec:
    """Register a task declaration."""
    return TASKS.add(spec.name, spec)
