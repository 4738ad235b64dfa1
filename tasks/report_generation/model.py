"""From settings to a trained writer: vocabulary, model, training, and the texts it writes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from bench.contracts import Backbone, CellContext
from bench.core.errors import SettingError
from bench.metrics.bootstrap import point
from bench.metrics.weights import Statistic
from bench.training.plan import TrainSummary, train
from tasks.report_generation.data import ReportBatches, Studies, framed
from tasks.report_generation.decoders import DECODERS
from tasks.report_generation.decoding import ReadsReports, Reporter, SearchOptions, search
from tasks.report_generation.settings import ReportSettings
from tasks.report_generation.visual import VisualMemory, VisualSource, visual_shape, visual_source
from tasks.report_generation.vocabulary import Vocabulary, through


@dataclass(frozen=True)
class TrainedWriter:
    """A trained model with what it takes to write: its vocabulary and how it searches."""

    model: Any
    vocabulary: Vocabulary
    options: SearchOptions
    backbone: Backbone
    context: CellContext
    _last: list[VisualSource] = field(default_factory=list, repr=False)

    def source(self, studies: Studies) -> VisualSource:
        """Return the visual inputs of `studies`; the last ones stay, since where the words looked
        is asked after writing."""
        if not self._last or self._last[0].studies is not studies:
            self._last[:] = [visual_source(self.backbone, studies, self.context)]
        return self._last[0]

    def write(self, studies: Studies) -> list[str]:
        """Return one report per study."""
        return self.write_from(self.source(studies), self.options)

    def write_from(self, source: VisualSource, options: SearchOptions) -> list[str]:
        """Return one report per study of `source`."""
        self.model.eval()
        size = self.context.settings.decode_batch
        count = len(source.studies)
        reports = list[str]()
        for start in range(0, count, size):
            rows = np.arange(start, min(start + size, count))
            batch = to_device(source.inputs(rows), self.context.device)
            ids = search(self.model, batch, len(rows), options, self.context.device)
            reports += [self.vocabulary.decode(sequence) for sequence in ids]
        return reports

    def through_vocabulary(self, texts: Sequence[str]) -> list[str]:
        """Return texts as they come back from the vocabulary, cut at the limit."""
        return through(self.vocabulary, texts, self.context.settings.words_read)

    @torch.no_grad()
    def looks(
        self, studies: Studies, rows: np.ndarray, texts: Sequence[str]
    ) -> list[tuple[list[str], np.ndarray]]:
        """Return per study of `rows` the pieces of its text and where each looked, float32 [T,
        images, h, w].

        Nothing for a language model with a prefix: its attention runs over words and images
        together.
        """
        if not hasattr(self.model, "looks"):
            return []
        self.model.eval()
        source = self.source(studies)
        looks = []
        for row, text in zip(rows, texts, strict=True):
            ids = self.vocabulary.encode(text)
            batch = to_device(source.inputs(np.array([row])), self.context.device)
            looks.append(
                (self.vocabulary.pieces(ids), self.model.looks(ids, batch) if ids else np.zeros(0))
            )
        return looks


def to_device(batch: dict[str, Any], device: str) -> dict[str, Any]:
    """Return the tensors of a batch on `device`."""
    return {name: value.to(device) for name, value in batch.items()}


def train_writer(
    backbone: Backbone, known: Studies, held_out: Studies, context: CellContext
) -> tuple[TrainedWriter, TrainSummary]:
    """Train the decoder of the settings on `known`, watched on `held_out`; a killed run goes on in
    `context.work_dir`."""
    settings: ReportSettings = context.settings
    sources = [visual_source(backbone, studies, context) for studies in (known, held_out)]
    model, vocabulary, options = _build(backbone, known.texts, context)
    writer = TrainedWriter(model.to(context.device), vocabulary, options, backbone, context)
    batches = [
        ReportBatches(
            source,
            [framed(vocabulary.encode(text), settings) for text in source.studies.texts],
            size,
        )
        for source, size in zip(sources, (settings.batch_size, settings.decode_batch), strict=True)
    ]
    if isinstance(model, ReadsReports):
        for remark in model.learn(known.texts):
            context.progress.say(remark)
        batches[0] = dataclasses.replace(batches[0], beside=model.beside(known.texts))
    watched = settings.monitor != "none"
    summary = train(
        model,
        batches[0],
        settings.plan(context.seed),
        context.work_dir,
        evaluate=(lambda _: _validate(writer, batches[1])) if watched else None,
        device=context.device,
        progress=context.progress,
        title=f"training {settings.decoder} decoder of {context.task.name}",
    )
    return writer, summary


def _build(
    backbone: Backbone, texts: Sequence[str], context: CellContext
) -> tuple[Any, Vocabulary, SearchOptions]:
    """Return model, vocabulary and search options; the weights depend on the cell's seed alone."""
    settings: ReportSettings = context.settings
    shape = visual_shape(backbone, settings, context.device)
    tuned = backbone if settings.encoder == "finetune" else None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(context.seed)
        visual = VisualMemory(shape, settings, tuned)
        model, vocabulary = _language_side(visual, texts, settings)
    options = SearchOptions(
        beam=settings.beam,
        limit=settings.max_words,
        length_penalty=settings.length_penalty,
        no_repeat_ngram=settings.no_repeat_ngram,
        forbid_unknown=settings.reference
        == "full",  # where <unk> is part of the reference it may be written
    )
    return model, vocabulary, options


def _language_side(
    visual: VisualMemory, texts: Sequence[str], settings: ReportSettings
) -> tuple[Any, Vocabulary]:
    """Return what writes and its vocabulary; raise SettingError where the settings are not those of
    their decoder, or the decoder builds no module."""
    declared = DECODERS.get(settings.decoder)
    if not isinstance(settings, declared.settings):
        raise SettingError(
            f"decoder={settings.decoder} has {declared.settings.__name__}, found "
            f"{type(settings).__name__}.",
            "Resolve settings by the kind's `settings`.",
        )
    vocabulary: Vocabulary = declared.vocabulary(texts, settings)
    model = declared.build(visual, vocabulary, settings)
    if not isinstance(model, nn.Module) or not isinstance(model, Reporter):
        raise SettingError(
            f"decoder '{settings.decoder}' builds {type(model).__name__}.",
            "It must be a torch module with losses, start and step.",
        )
    return model, vocabulary


@torch.no_grad()
def _validate(writer: TrainedWriter, batches: ReportBatches) -> dict[str, float]:
    """Return the validation loss, and where it is watched BLEU-4 against what the test is scored
    against (no Java: words as they are)."""
    device = writer.context.device
    count = len(batches.ids)
    size = batches.batch_size
    parts = [np.arange(start, min(start + size, count)) for start in range(0, count, size)]
    losses = [
        float(writer.model.losses(to_device(batches.batch(rows), device))["loss"]) * len(rows)
        for rows in parts
    ]
    values = {"loss": sum(losses) / count}
    if writer.context.settings.monitor == "bleu4":
        from tasks.report_generation.metrics.captions import bleu, bleu_counts

        texts = writer.write_from(batches.visual, writer.options)
        references = list(batches.visual.studies.texts)
        if writer.context.settings.reference == "decoded":
            references = writer.through_vocabulary(references)
        score: Statistic = bleu(bleu_counts(texts, references), 4)
        values["bleu4"] = point(score, count)
    return values


def parameters(model: nn.Module) -> int:
    """Return how many numbers are trained."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
