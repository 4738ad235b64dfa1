"""Heads trained by gradient steps: the references' linear probe, and fine-tuning of the whole
encoder."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.contracts import Backbone, CellContext, Features, InputSpec, Subset
from bench.encoding.beside import Beside
from bench.encoding.features import FeatureCache, normalise, resize, to_grey, to_input
from bench.metrics.decision import log_softmax
from bench.metrics.ranking import mean_auroc
from bench.training.plan import TrainSummary, batch_slices, train
from tasks.classification.augment import augment
from tasks.classification.regularizers import REGULARIZERS, Moment
from tasks.classification.settings import ClassificationSettings

if TYPE_CHECKING:
    from tasks.classification.fit import Scorer
    from tasks.labelling.targets import Labelled


class Network(nn.Module):
    """An encoder with one linear layer; `encoder` None: what comes in are features already.

    A frozen encoder is no part of this module (its mode and gradients stay as they are) unless its
    BatchNorm has to run in train mode, or it is trained itself: then a copy is, and the encoder
    that other cells use is left alone.
    """

    def __init__(
        self, backbone: Backbone, classes: int, settings: ClassificationSettings, seed: int
    ) -> None:
        super().__init__()
        self.tuned = settings.head == "finetune"
        self.exclusive = settings.mode == "multiclass"
        is_copied = self.tuned or settings.batchnorm == "train"
        self.beside = Beside(copy.deepcopy(backbone) if is_copied else backbone)
        if is_copied:
            self.encoder = self.beside.encoder.module.requires_grad_(self.tuned)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.head = nn.Linear(backbone.pooled_dim, classes)

    def encode(self, images: Tensor) -> Tensor:
        """Return pooled features [B, D] of normalised images."""
        with torch.set_grad_enabled(self.tuned and torch.is_grad_enabled()):
            return self.features(images).pooled

    def features(self, images: Tensor) -> Features:
        """Return all that the encoder gives for normalised images, gradients as they are wanted
        outside."""
        return self.beside.encoder.features(images)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits [B, C] of images [B, 3, H, W] or features [B, D]."""
        return self.head(self.encode(inputs) if inputs.ndim == 4 else inputs)

    def plain_losses(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss of a batch of `inputs` and `values` [B, C] by the labels alone."""
        return {"loss": self.loss(self(batch["inputs"]), batch["values"])}

    def loss(self, logits: Tensor, values: Tensor) -> Tensor:
        """Return the cross-entropy, or the binary one averaged over the labels that are known."""
        if self.exclusive:
            return functional.cross_entropy(logits, values.argmax(dim=1))
        labelled = ~values.isnan()
        losses = functional.binary_cross_entropy_with_logits(
            logits, values.nan_to_num(), reduction="none"
        )
        return (losses * labelled).sum() / labelled.sum().clamp(min=1)


class Regularized(Network):
    """A network as it is trained, its losses those of its regulariser; `steps` are those of one
    epoch."""

    def __init__(
        self,
        backbone: Backbone,
        classes: int,
        settings: ClassificationSettings,
        seed: int,
        steps: int,
    ) -> None:
        super().__init__(backbone, classes, settings, seed)
        self.settings = settings
        self.seed = seed
        self.steps = steps
        self.start_epoch(0)

    def start_epoch(self, epoch: int) -> None:
        """Count the steps of epoch number `epoch`, from 0."""
        self.epoch = epoch
        self.step = 0

    def losses(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the losses of a batch that the regulariser gives."""
        over = (self.epoch * self.steps + self.step) / (self.settings.epochs * self.steps)
        generator = np.random.default_rng([self.seed, 8, self.epoch, self.step])
        self.step += 1
        regularizer = REGULARIZERS.get(self.settings.regularizer)
        losses: dict[str, Tensor] = regularizer.losses(
            self, batch, Moment(self.settings, over, generator)
        )
        return losses


def plain_losses(
    network: Regularized, batch: Mapping[str, Tensor], moment: Moment
) -> dict[str, Tensor]:
    """Return the loss of the labels alone: `regularizer=none`."""
    return network.plain_losses(batch)


@dataclass(frozen=True)
class Source:
    """Images, or where `features` are given what the frozen encoder makes of them; targets [n,
    C]."""

    subset: Subset
    values: np.ndarray
    spec: InputSpec
    features: np.ndarray | None = None

    def inputs(self, rows: np.ndarray, device: str) -> Tensor:
        """Return what the network takes for `rows`, nothing augmented."""
        if self.features is not None:
            return torch.from_numpy(self.features[rows]).to(device)
        return to_input(self.subset.images(rows), self.spec, device)


@dataclass(frozen=True)
class Batches:
    """What the trainer iterates over: shuffled and augmented, all randomness from the generator
    given."""

    source: Source
    settings: ClassificationSettings
    device: str

    def __len__(self) -> int:
        return len(batch_slices(len(self.source.values), self.settings.batch_size))

    def batches(self, generator: np.random.Generator) -> Iterator[dict[str, Tensor]]:
        """Yield one pass of `{"inputs", "values"}`."""
        order = generator.permutation(len(self.source.values))
        for span in batch_slices(len(order), self.settings.batch_size):
            rows = order[span]
            values = torch.from_numpy(self.source.values[rows]).float().to(self.device)
            yield {"inputs": self._inputs(rows, generator), "values": values}

    def _inputs(self, rows: np.ndarray, generator: np.random.Generator) -> Tensor:
        source = self.source
        if self.settings.augment == "none" or source.features is not None:
            return source.inputs(rows, self.device)
        grey = resize(to_grey(source.subset.images(rows), self.device), source.spec)
        return normalise(
            augment(grey, source.spec.size, self.settings.augment, generator), source.spec
        )


@dataclass(frozen=True)
class Trained:
    """A trained network as a scorer."""

    network: Network
    cache: FeatureCache
    settings: ClassificationSettings
    device: str

    def scores(self, subset: Subset) -> np.ndarray:
        """Return logits [n, C]."""
        values = np.zeros((len(subset), self.network.head.out_features))
        return logits(self.network, source(subset, values, self.cache, self.settings), self.device)


def source(
    subset: Subset, values: np.ndarray, cache: FeatureCache, settings: ClassificationSettings
) -> Source:
    """Return the inputs of a subset: kept features where nothing about them can change."""
    features = cache.pooled(subset) if settings.cached else None
    return Source(subset, values, cache.backbone.input, features)


@torch.no_grad()
def logits(network: Network, inputs: Source, device: str, batch: int = 64) -> np.ndarray:
    """Return the logits of all images in order [n, C], in eval mode."""
    network.eval()
    outputs = []
    for start in range(0, len(inputs.values), batch):
        rows = np.arange(start, min(start + batch, len(inputs.values)))
        outputs.append(network(inputs.inputs(rows, device)).float().cpu().numpy())
    return np.concatenate(outputs)


def train_head(
    backbone: Backbone, training: Labelled, validation: Labelled, context: CellContext
) -> tuple[Scorer, dict[str, Any]]:
    """Train the head (and with `head=finetune` a copy of the encoder); resume from
    `context.work_dir`."""
    settings: ClassificationSettings = context.settings
    cache = FeatureCache(backbone, context)
    sources = [
        source(labelled.subset, labelled.values, cache, settings)
        for labelled in (training, validation)
    ]
    images = len(sources[0].values)
    steps = settings.steps_per_epoch or len(batch_slices(images, settings.batch_size))
    network = Regularized(backbone, len(settings.labels), settings, context.seed, steps)
    network.to(context.device)
    if settings.saliency == "cam":
        _check_maps(network, training.subset, context)
    summary = _run(network, sources[0], sources[1], context)
    facts = {
        "epochs": summary.epochs,
        "best_epoch": summary.best_epoch,
        "stopped_early": summary.stopped_early,
    }
    return Trained(network, cache, settings, context.device), {
        **facts,
        "best_metric": summary.best_metric,
    }


def _check_maps(network: Network, images: Subset, context: CellContext) -> None:
    """Raise SettingError before a training whose network has no map to compute a saliency on."""
    from tasks.classification.saliency import look

    spec = network.beside.encoder.input
    image = to_input(images.images(np.zeros(1, np.int64)), spec, context.device)
    look(network.eval(), image, torch.zeros(1, dtype=torch.int64, device=context.device), "cam")


def _run(
    network: Network, training: Source, validation: Source, context: CellContext
) -> TrainSummary:
    settings: ClassificationSettings = context.settings
    monitored = settings.monitor != "none"

    def evaluate(model: nn.Module) -> dict[str, float]:
        """Return what the trainer watches on the validation images."""
        return validate(network, validation, settings, context.device)

    return train(
        network,
        Batches(training, settings, context.device),
        settings.plan(context.seed),
        context.work_dir,
        evaluate=evaluate if monitored else None,
        device=context.device,
        progress=context.progress,
        title=f"training {settings.head} of {context.task.name}",
    )


def validate(
    network: Network, held_out: Source, settings: ClassificationSettings, device: str
) -> dict[str, float]:
    """Return validation loss and mean AUROC; with `drop_last_val` the loss leaves out an incomplete
    last batch, as MGCA's."""
    outputs = logits(network, held_out, device)
    size = settings.batch_size
    whole = (
        len(outputs) // size * size
        if settings.drop_last_val and len(outputs) >= size
        else len(outputs)
    )
    loss = network.loss(
        torch.from_numpy(outputs[:whole]), torch.from_numpy(held_out.values[:whole]).float()
    )
    scores = log_softmax(outputs) if network.exclusive else outputs
    return {"loss": float(loss), "auroc": mean_auroc(scores, held_out.values)}
