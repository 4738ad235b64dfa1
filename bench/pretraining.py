"""From a backbone's name to its weights: found where they exist, trained where they do not, saying so."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.contracts import BACKBONES, DATASETS, BackboneRequest, BackboneSpec, Profile, Progress
from bench.errors import MissingDependencyError
from bench.plan import EncoderRef


@dataclass(frozen=True)
class PretrainRequest:
    """Which method to pre-train on what. `out` None means the cache, where `run` finds it."""

    method: str
    dataset: str = ""
    profile: Profile = "demo"
    architecture: str = ""
    seed: int = 0
    settings: Mapping[str, str] = field(default_factory=dict)
    backbone_settings: Mapping[str, str] = field(default_factory=dict)
    device: str = "auto"
    data: str = "auto"
    data_root: Path | None = None
    out: Path | None = None
    workers: int = 2
