"""Cell = task x backbone x label fraction x seed under one protocol and profile; its key says what
makes it the same run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.contracts import DataKind, Profile
from bench.core.hashing import digest

NAMES = ("label", "source")
"""Facts of a cell that stand in its result and not in its key."""


@dataclass(frozen=True)
class Cell:
    """One measurement, everything that decides its numbers included.

    `settings` are the resolved settings of the head (flat dict); the three hashes are of the pixels
    and labels read, of who is in which split, and of the encoder's weights ("" for an encoder made
    from its seed). `threads` is the number of threads a head is trained with, None where nothing is
    trained. `recipe` are the settings that only this row of a table has, because its encoder is
    trained with the head; None for all others. `backbone` is the identity of the encoder
    (`bench.core.naming`), `label` its name for people and `source` the name it was asked for by,
    paths included; these two decide no number.
    """

    task: str
    kind: str
    dataset: str
    backbone: str
    architecture: str
    label_fraction: float
    seed: int
    protocol: str
    profile: Profile
    data_kind: DataKind
    data_hash: str
    split_hash: str
    checkpoint_hash: str
    evaluator_version: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    backbone_settings: Mapping[str, str] = field(default_factory=dict)
    threads: int | None = None
    label: str = ""
    source: str = ""
    recipe: Mapping[str, Any] | None = None

    @property
    def key(self) -> str:
        """Return 16 hex digits that are equal for equal cells only."""
        facts = dataclasses.asdict(self)
        for name in ("threads", "recipe"):
            if facts[name] is None:
                del facts[name]
        for name in NAMES:
            del facts[name]
        return digest(facts)

    @property
    def encoder_name(self) -> str:
        """Return the name by which the encoder is built."""
        return self.source or self.backbone

    @property
    def names(self) -> dict[str, str]:
        """Return what stands in the result and not in the key."""
        return {name: getattr(self, name) for name in NAMES}

    @property
    def row(self) -> str:
        """Return the encoder's name for people."""
        return self.label or self.backbone

    @property
    def title(self) -> str:
        """Return the cell's name for people."""
        name = f"{self.row} ({self.architecture})" if self.architecture else self.row
        return f"{self.task} | {name} | {self.label_fraction:g} of labels | seed {self.seed}"
