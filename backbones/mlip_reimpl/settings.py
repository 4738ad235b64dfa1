"""Settings of `mlip_reimpl`. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from backbones.mgca.settings import MGCASettings
from bench.core.errors import SettingError, in_words
from bench.core.settings import Dropout, Range, Weight

Cosine = Annotated[float, Range(-1, 1)]


@dataclass(frozen=True)
class MLIPSettings(MGCASettings):
    """MGCA's values, and a switch for every part that comes on top; with all of them off, the
    losses are MGCA's."""

    divergence: Weight = 1.0
    """Weight of the divergence loss: the contrast of each whole image and report with a version of
    the other that a small network (the divergence encoder) has moved; 0: without that network."""
    beta: Weight = 0.1
    """Weight, within the divergence loss, of what moved versions cost that have stayed too near."""
    delta: Cosine = 0.9
    """Cosine of a vector with its moved version from which the version is too near."""
    divergence_dropout: Dropout = 0.1
    """Share of units dropped in the divergence encoder."""
    knowledge: bool = True
    """Whether the words of a report attend to the definitions of the findings and places that the
    report names, before they are aligned with patches (CTA)."""
    category: bool = True
    """Whether the prototypes that image and report are drawn to (CPA) are those of the definitions
    of the report's findings; studies without a finding are left out of the term."""
    matching: Weight = 0.0
    """Weight of telling pairs from image and report of two studies that are alike; 0: without."""
    swap: Weight = 0.0
    """Weight of telling reports from those in which left and right, or one finding and another,
    were exchanged; 0: without."""
    definitions: str | None = None
    """JSON file of definitions, term -> sentence, that replace those of bench.text."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for switch, weight in (("knowledge", "lambda_cta"), ("category", "lambda_cpa")):
            if getattr(self, switch) and not getattr(self, weight):
                raise SettingError(
                    f"{switch}=true changes a term that {weight}=0 leaves out.",
                    f"Set {switch}=false too.",
                )
        readers = [name for name in ("knowledge", "category", "swap") if getattr(self, name)]
        if self.quirks and readers:
            raise SettingError(
                f"quirks=true takes the ends of sentences out of the reports, by which "
                f"{in_words(readers)} would read their findings.",
                f"Set {readers[0]}={'0' if readers[0] == 'swap' else 'false'} too.",
            )
        if self.definitions and not self.reads_definitions:
            raise SettingError(
                f"definitions={self.definitions} is read by nothing: knowledge and category are "
                "off.",
                "Turn one of them on, or leave definitions out.",
            )

    @property
    def reads_definitions(self) -> bool:
        """Return whether any part learns from definitions."""
        return self.knowledge or self.category

    def reads(self) -> Any:
        """Return the definitions, where they are read."""
        from backbones.mlip_reimpl.knowledge import read_definitions

        path = Path(self.definitions) if self.definitions else None
        return read_definitions(path) if self.reads_definitions else None

    def saw(self, declared: tuple[str, ...]) -> tuple[str, ...]:
        """Return what the declaration says, nothing where no definition is read."""
        return declared if self.reads_definitions else ()
