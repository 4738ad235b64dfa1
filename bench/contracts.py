"""The seams: what a dataset, a backbone and a task declare, and what crosses between them.

This module imports neither torch nor pandas, so that declarations stay light; heavy types are named
for the checker only.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

from bench.errors import DataError
from bench.naming import LABEL
from bench.registry import Registry

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import torch

Profile = Literal["demo", "paper"]
DataKind = Literal["real", "demo"]
OnError = Literal["stop", "skip"]
Scaling = Literal["range", "mgca"]
"""How the values of an image file become 8 bits: `bench.data.images.read_image` has both."""
DEMO_NOTE = "Rendered data: shows that the pipeline works, says nothing clinical."


# ---------------------------------------------------------------------------------------------------------- datasets
@dataclass(frozen=True)
class Finding:
    """One line of a validation: `level` is ok, warning or error; `message` names the path or count
    and the next step."""

    level: Literal["ok", "warning", "error"]
    message: str


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
    """A file or folder (relative) by which the dataset is recognised in a folder; of several, any."""
    mask_classes: tuple[str, ...] = ()
    box_classes: tuple[str, ...] = ()
    label_names: tuple[str, ...] = ()
    official_lists: tuple[str, ...] = ()
    """Files of the download with the names of split lists (`train.txt`): they are the dataset's
    own, not the user's."""
    has_reports: bool = False
    has_demo: bool = False
    demo_studies: int = 400
    """How many studies the demo has unless asked otherwise."""
    version: int = 1
    """Raise when `mask` gives other pixels for the same files: cached masks are made again."""

    @abstractmethod
    def index(self, root: Path) -> pd.DataFrame:
        """Return one row per image, read from the files as downloaded.

        Columns always present: `image_id` (str, unique), `patient_id` (str), `path` (str, relative
        to `root`), `split` (str: train/val/test, or "" where the dataset has no official split).
        Where known: `study_id`, `view` (PA, AP, LL), `sex` (M/F/""), `age` (float), `report` (str,
        cleaned impression + findings), `findings`, `impression`, one column `label:<name>`
        (0/1/-1/NaN) per entry of `label_names`; a dataset may keep further private columns its
        `mask` reads, and names the files of an image's masks in `mask_paths` (tuple of str,
        relative to `root`): the cache sees them change. `attrs["dropped"]` may count what is left
        out by intent, `attrs["unmatched"]` what of tables and files has no counterpart. Raise
        DataError naming the file for a missing file or column, a duplicate or an impossible value;
        a fault of single rows may go to `bench.data.faults.fault` instead, which raises it, or
        lists it and returns where the user skips faults.
        """

    @abstractmethod
    def validate(self, root: Path) -> list[Finding]:
        """Compare what is on disk with the published counts; name what is missing and how to get
        it."""

    def counts(self, index: pd.DataFrame, root: Path) -> list[Finding]:
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


# --------------------------------------------------------------------------------------------------------- backbones
@dataclass(frozen=True)
class InputSpec:
    """How an encoder wants its images: the harness brings them to a square of `resize`, then crops
    `size` from its middle.

    `fit` says how they become square: `letterbox` pads the short side, `shortest` cuts the long
    side's middle, `squash` stretches.
    """

    size: int
    resize: int
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)
    channels: int = 3
    interpolation: Literal["area", "bilinear", "bicubic"] = "area"
    fit: Literal["letterbox", "shortest", "squash"] = "letterbox"


@dataclass
class Features:
    """What heads see of an image batch.

    pooled [B, D]; patches [B, N, D] in row-major order of `grid` = (h, w), N = h * w (no class
    token); pyramid: maps [B, C_i, H_i, W_i] from fine to coarse (ResNet: strides 4, 8, 16, 32; ViT:
    four blocks at stride = patch size).
    """

    pooled: torch.Tensor
    patches: torch.Tensor
    grid: tuple[int, int]
    pyramid: tuple[torch.Tensor, ...] = ()


class Backbone(Protocol):
    """A loaded encoder. `module` holds every parameter; freezing means `module.eval()` and
    requires_grad False, BatchNorm too."""

    name: str
    architecture: str
    family: Literal["resnet", "vit"]
    input: InputSpec
    module: torch.nn.Module
    pooled_dim: int
    patch_dim: int
    pyramid_channels: tuple[int, ...]
    pyramid_strides: tuple[int, ...]
    has_text: bool

    def features(self, images: torch.Tensor) -> Features:
        """Encode normalised images [B, 3, H, W] (any H, W divisible by the largest stride)."""
        ...

    def embed_images(self, images: torch.Tensor) -> torch.Tensor:
        """Return L2-normalised image embeddings [B, d]; only where `has_text`."""
        ...

    def embed_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """Return L2-normalised text embeddings [T, d]; only where `has_text`."""
        ...

    def similarity(self, images: torch.Tensor, texts: Sequence[str]) -> torch.Tensor:
        """Return the method's own image-text score [B, T]; only where `has_text`."""
        ...


@runtime_checkable
class GivesObservations(Protocol):
    """A backbone that has tokens beside its patches, e.g. PLACE's V-PORs: optional, asked for by
    `isinstance`."""

    def observations(self, images: torch.Tensor) -> torch.Tensor:
        """Return extra visual tokens [B, K, d] of normalised images."""
        ...


@runtime_checkable
class GivesLocalSimilarity(Protocol):
    """A backbone whose score has a part over words (or sentences) and regions: optional, asked for
    by `isinstance`."""

    def local_similarity(self, images: torch.Tensor, texts: Sequence[str]) -> torch.Tensor:
        """Return that part alone [B, T]."""
        ...


@runtime_checkable
class GivesAccount(Protocol):
    """A backbone that can say where its weights come from: optional, asked for by `isinstance`."""

    def account(self) -> Mapping[str, Any]:
        """Return facts with JSON values: `coverage` (share of the weights that a file filled),
        `missing`, `unused` and `adaptations` (lists of words), `weights` (the file); each stands in
        a result as `encoder:<name>`. Empty for an untrained encoder."""
        ...


def weights_named(backbone: Backbone) -> str:
    """Return the file of an encoder's weights as a part of a sentence; "" where there is none."""
    source = backbone.account().get("weights") if isinstance(backbone, GivesAccount) else ""
    return f" (weights: {source})" if source else ""


@dataclass(frozen=True)
class BackboneRequest:
    """What the runner asks of a backbone's builder. `architecture` "" means the profile's default."""

    profile: Profile
    architecture: str = ""
    seed: int = 0
    checkpoint: Path | None = None
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class BackboneSpec:
    """Declaration of one backbone.

    `build` returns the loaded encoder. Some answers are given without importing torch:
    `architecture`, the full name of the one a request means, and `weights_file`, which file it will
    read, so that its hash can stand in the results; `weights_digest` gives that hash itself where it
    is of several files, or of files that a library keeps. `same_as` is the name under which the very
    same encoder is known too: both are one row. `check` raises SettingError for settings (`--set
    backbone.key=value`) that `build` would refuse. `settings` came with the name
    (`name?key=value`). `method` ("module:Class") names the pre-training method where the harness
    can pre-train it, `trainer` ("module") who trains it and `pretrain_on` the image-report dataset
    it uses by default; then `build` is called with `request.checkpoint` set. `seeded` is True where
    another seed gives other weights; `default` puts it in a run that names no backbones.
    """

    name: str
    title: str
    build: Callable[[BackboneRequest], Backbone]
    architecture: Callable[[BackboneRequest], str] = lambda request: request.architecture
    licence: str = ""
    citation: str = ""
    source: str = ""
    method: str = ""
    trainer: str = ""
    pretrain_on: str = ""
    seeded: bool = False
    default: bool = False
    weights_file: Callable[[BackboneRequest], Path | None] | None = None
    weights_digest: Callable[[BackboneRequest], str] | None = None
    same_as: Callable[[BackboneRequest], str] | None = None
    check: Callable[[BackboneRequest], None] | None = None
    settings: Mapping[str, str] = field(default_factory=dict)


def configured(spec: BackboneSpec, name: str, settings: Mapping[str, str]) -> BackboneSpec:
    """Return the declaration under a name that carries settings; these win over `--set backbone.*`."""

    settings = {key: value for key, value in settings.items() if key != LABEL}

    def extended(request: BackboneRequest) -> BackboneRequest:
        return replace(request, settings={**request.settings, **settings})

    def build(request: BackboneRequest) -> Backbone:
        return spec.build(extended(request))

    find = spec.weights_file
    weights_file = (lambda request: find(extended(request))) if find else None
    hash_of = spec.weights_digest
    weights_digest = (lambda request: hash_of(extended(request))) if hash_of else None
    same_as = spec.same_as
    check_of = spec.check
    check = (lambda request: check_of(extended(request))) if check_of else None
    merged = {**spec.settings, **settings}
    return replace(
        spec,
        name=name,
        build=build,
        architecture=lambda request: spec.architecture(extended(request)),
        weights_file=weights_file,
        weights_digest=weights_digest,
        same_as=(lambda request: same_as(extended(request))) if same_as else None,
        check=check,
        settings=merged,
        default=False,
    )


def backbone(
    name: str, **meta: Any
) -> Callable[[Callable[[BackboneRequest], Backbone]], Callable[[BackboneRequest], Backbone]]:
    """Decorate a builder function: `@backbone("mine", title="...", licence="...")`."""

    def decorate(
        build: Callable[[BackboneRequest], Backbone],
    ) -> Callable[[BackboneRequest], Backbone]:
        meta.setdefault("title", " ".join((build.__doc__ or name).strip().split("\n\n")[0].split()))
        BACKBONES.add(name, BackboneSpec(name=name, build=build, **meta))
        return build

    return decorate


def dataset(cls: type[Dataset]) -> type[Dataset]:
    """Decorate a Dataset subclass: registers one instance under `cls.name`."""
    DATASETS.add(cls.name, cls())
    return cls


# ------------------------------------------------------------------------------------------------------------- tasks
@dataclass(frozen=True)
class TaskSpec:
    """Declaration of one task: a kind of head on one dataset.

    `groups` are names that run many tasks at once. `presets` gives, per protocol, setting values of
    this dataset that differ from the kind's preset (e.g. {"mgca": {"batch_size": "8"}}).
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


@dataclass(frozen=True)
class Subset:
    """Some images of one dataset, decoded once.

    `index` holds the rows in order; row r's pixels stand at `positions[r]` of the stores (memory
    maps, never written): `image_store` uint8 [M, S, S] and, where the dataset has masks,
    `mask_store` uint8 0/1 [M, C, S, S] on the same padded grid; masks stand at `mask_positions`
    where given. `box_lists[r]` are the boxes of row r, float32 [n, 5]: x1, y1, x2, y2 in pixels of
    the padded square, and the class.
    """

    index: pd.DataFrame
    positions: np.ndarray
    image_store: np.ndarray
    mask_store: np.ndarray | None = None
    mask_positions: np.ndarray | None = None
    box_lists: tuple[np.ndarray, ...] | None = None

    def __len__(self) -> int:
        return len(self.index)

    def images(self, rows: Any) -> np.ndarray:
        """Return a copy of the images of `rows` (an integer array or slice), uint8 [n, S, S]."""
        return self.image_store[self.positions[rows]]

    def masks(self, rows: Any) -> np.ndarray:
        """Return a copy of the masks of `rows`, uint8 [n, C, S, S]."""
        if self.mask_store is None:
            raise DataError("these images have no masks.", "Choose a task whose dataset has masks.")
        positions = self.positions if self.mask_positions is None else self.mask_positions
        return self.mask_store[positions[rows]]

    def boxes(self, row: int) -> np.ndarray:
        """Return a copy of the boxes of one row, float32 [n, 5]: x1, y1, x2, y2 on the padded
        square, class."""
        if self.box_lists is None:
            raise DataError("these images have no boxes.", "Choose a task whose dataset has boxes.")
        return self.box_lists[row].copy()

    def take(self, rows: np.ndarray) -> Subset:
        """Return the rows `rows` (integers) with their masks and boxes; the pixels stay where they
        are."""
        masks = None if self.mask_positions is None else self.mask_positions[rows]
        boxes = None if self.box_lists is None else tuple(self.box_lists[row] for row in rows)
        return replace(
            self,
            index=self.index.iloc[rows].reset_index(drop=True),
            positions=self.positions[rows],
            mask_positions=masks,
            box_lists=boxes,
        )


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


class Progress(Protocol):
    """What long work reports to: `with progress.track("decoding", total=n) as step: step(1)`."""

    def track(self, title: str, total: int | None = None) -> Any:
        """Open a bar with time left; the context manager yields `advance(n=1)`."""
        ...

    def say(self, message: str) -> None:
        """Print one line above the bars."""
        ...


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
    mask_classes: tuple[str, ...] = ()
    label_names: tuple[str, ...] = ()
    box_classes: tuple[str, ...] = ()
    data_kind: DataKind = "real"
    """Texts of real reports are licensed: a kind shows them only where it was asked to."""
    encoder_key: str = ""
    """Names the encoder (backbone, architecture, checkpoint, settings, seed); part of the key of
    kept features."""
    data_key: str = ""
    """Hash of the images read; without it features are not kept on disk."""


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
    """One metric of one cell with its 95% interval (bootstrap clustered by patient), `n` images it
    was computed on."""

    metric: str
    value: float
    low: float
    high: float
    n: int


class TaskKind(ABC):
    """One kind of task: its settings and presets, its head, its metrics. Sees a backbone only
    through the protocol above."""

    name: str
    evaluator_version: int = 1
    metrics: tuple[str, ...]
    """Those a table shows beside the task's main one, where results have them; `statistics` may
    give more."""
    lower_is_better: tuple[str, ...] = ()
    """Patterns (fnmatch) of the metrics whose smallest value is the best, e.g. "*_rank"."""
    baselines: tuple[str, ...] = ()
    """Rows beside the encoders that need none, e.g. "constant_report": `fit` gets a
    `bench.baselines.Baseline` of that name."""
    needs: Literal["images", "masks", "boxes", "labels", "reports"] = "images"
    trained: bool = True
    """Whether its head is fitted to the training images; then the number of threads decides its
    last digits and belongs to the cell."""
    scaling: ClassVar[Mapping[str, Scaling]] = {}
    """Protocol -> how its published code reads image files, where that is not "range"."""

    @abstractmethod
    def settings(
        self, task: TaskSpec, protocol: str, profile: Profile, overrides: Mapping[str, str]
    ) -> Any:
        """Return the resolved frozen settings dataclass; must not import torch. Raise
        UnknownNameError on an unknown protocol.

        The dataclass has at least: `image_size` (int, px of the square the subsets are cached at).
        """

    @abstractmethod
    def protocols(self) -> tuple[str, ...]:
        """Return the names of the protocol presets."""

    def metric_names(self, task: TaskSpec, settings: Any) -> tuple[str, ...]:
        """Return the metrics that `statistics` will give, or patterns of them (`ce_f1:*`), without
        those of single classes (`name:class`) and subgroups (`name@sex=F`); () where only the
        results can say. Must not import torch or numpy."""
        return ()

    def split(self, index: pd.DataFrame, task: TaskSpec, protocol: str, seed: int) -> pd.DataFrame:
        """Return `index` with `split` filled (train/val/test); default: the official split, else
        70/15/15 by patient, seed 0."""
        from bench.data.splits import default_split

        return default_split(index, seed=0)

    def subset(
        self, train: pd.DataFrame, fraction: float, task: TaskSpec, protocol: str, seed: int
    ) -> pd.DataFrame:
        """Return the training rows used at one label fraction; default: nested, stratified on the
        first label, never empty."""
        from bench.data.splits import label_subset

        labels = [name for name in train.columns if str(name).startswith("label:")]
        return label_subset(train, fraction, seed=seed, stratify=labels[0] if labels else None)

    @abstractmethod
    def fit(self, backbone: Backbone, train: Subset, val: Subset, context: CellContext) -> Any:
        """Train the head and return a predictor."""

    @abstractmethod
    def predict(self, predictor: Any, test: Subset, context: CellContext) -> Predictions:
        """Return one row per image of `test`."""

    @abstractmethod
    def statistics(
        self, predictions: Predictions, task: TaskSpec
    ) -> Mapping[str, Callable[[np.ndarray], np.ndarray]]:
        """Return, per metric, a function of resampling weights [R, n_images] giving its value per
        resample [R].

        Weights of one give the point estimate. The engine makes one shared, patient-clustered
        weight matrix, so that intervals and paired tests of all backbones use the same resamples.
        """

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


class TrainedKind(TaskKind):
    """A kind whose head is trained: under a published protocol its split and its training rows are
    the dataset's own."""

    def split(self, index: pd.DataFrame, task: TaskSpec, protocol: str, seed: int) -> pd.DataFrame:
        """Return the default split, or under a reference protocol that reference's own, its leaks
        counted in a warning."""
        if protocol == "default":
            return super().split(index, task, protocol, seed)
        from bench.data.reference import reference_split

        return reference_split(index, task, protocol, seed)

    def subset(
        self, train: pd.DataFrame, fraction: float, task: TaskSpec, protocol: str, seed: int
    ) -> pd.DataFrame:
        """Return the training rows of one label fraction; a reference protocol may have a rule of
        its own."""
        from bench.data.reference import reference_subset

        found = reference_subset(train, task, protocol, fraction, seed)
        return self.own_subset(train, fraction, task, seed) if found is None else found

    def own_subset(
        self, train: pd.DataFrame, fraction: float, task: TaskSpec, seed: int
    ) -> pd.DataFrame:
        """Return the training rows of one label fraction where no protocol has a rule."""
        return super().subset(train, fraction, task, "default", seed)


DATASETS: Registry[Dataset] = Registry("dataset")
TASKS: Registry[TaskSpec] = Registry("task")
KINDS: Registry[TaskKind] = Registry("task kind")
BACKBONES: Registry[BackboneSpec] = Registry("backbone", configure=configured)


def task(spec: TaskSpec) -> TaskSpec:
    """Register a task declaration."""
    return TASKS.add(spec.name, spec)


def _baseline(name: str) -> BackboneSpec:
    from bench.baselines import declare

    return declare(name)


BACKBONES.add_scheme(
    "baseline",
    _baseline,
    title="No encoder: a row that every encoder has to beat",
    example="baseline:constant_report",
)
