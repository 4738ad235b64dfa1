"""A decoder of one's own for report generation: a recurrent network on the mean of the patches."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.core.settings import Width
from tasks.report_generation.decoders import decoder
from tasks.report_generation.settings import ReportSettings
from tasks.report_generation.visual import VisualMemory
from tasks.report_generation.vocabulary import PAD, Vocabulary


@dataclass(frozen=True)
class GruSettings(ReportSettings):
    """What `--set` takes beside the settings of report generation."""

    units: Width = 256
    """Units of the recurrent network."""


@dataclass
class Memory:
    """What is kept between two words: the units of every hypothesis, `beams` for each study."""

    units: Tensor
    beams: int

    def reorder(self, rows: Tensor) -> None:
        """Make hypothesis i what hypothesis `rows[i]` was."""
        self.units = self.units[rows]

    def keep(self, images: Tensor) -> None:
        """Drop all studies but `images`, with their hypotheses."""
        self.units = self.units.unflatten(0, (-1, self.beams))[images].flatten(0, 1)


class GruReporter(nn.Module):
    """Starts from the mean of the visual tokens [B, M, width] and reads word after word."""

    def __init__(self, visual: VisualMemory, words: int, settings: GruSettings) -> None:
        super().__init__()
        self.visual = visual
        self.embedding = nn.Embedding(words, settings.units)
        self.begin = nn.Linear(settings.width, settings.units)
        self.cell = nn.GRUCell(settings.units, settings.units)
        self.out = nn.Linear(settings.units, words)

    def start(self, batch: dict[str, Any], beams: int) -> Memory:
        """Return the memory before the first word."""
        tokens, mask = self.visual(batch)
        mean = (tokens * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
        return Memory(self.begin(mean).tanh().repeat_interleave(beams, 0), beams)

    def step(self, ids: Tensor, memory: Memory) -> Tensor:
        """Return the scores of all words after the newest `ids` [B * beams]."""
        memory.units = self.cell(self.embedding(ids), memory.units)
        return self.out(memory.units)

    def losses(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Return the mean cross-entropy of the words of a batch."""
        ids = batch["ids"]
        memory = self.start(batch, 1)
        scores = torch.stack([self.step(word, memory) for word in ids[:, :-1].T], 1)
        targets = ids[:, 1:].flatten()
        return {"loss": functional.cross_entropy(scores.flatten(0, 1), targets, ignore_index=PAD)}


@decoder("gru", GruSettings, title="a recurrent network on the mean of the patches")
def build(visual: VisualMemory, vocabulary: Vocabulary, settings: GruSettings) -> GruReporter:
    """Return the network; its weights depend on the seed of the run alone."""
    return GruReporter(visual, len(vocabulary), settings)
