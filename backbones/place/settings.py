"""Settings of PLACE: every choice of the re-implementation that the paper leaves open is a switch
here. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from backbones.settings import MethodSettings


@dataclass(frozen=True)
class Settings(MethodSettings):
    """PLACE.md, "Our instantiation".

    `queries` pathology query tokens in `vpoe_layers` layers of `vpoe_width` with `heads` heads
    (`competing` for the tokens, or each reading on its own); sentences attend to V-PORs with `tau2`
    and are scored with `tau3`; `duplicate_cosine` is the text cosine above which a report is no
    negative of a sentence (none: only sentences equal after normalisation; `mask_duplicates` false:
    every report but its own is one); `mask_ratio` of the patches are hidden in CCE, which predicts
    in `cce_dim`.
    """

    queries: int = 16
    vpoe_layers: int = 2
    vpoe_width: int = 768
    heads: int = 8
    competing: bool = False
    t_por: Literal["sentence", "query"] = "sentence"
    tau2: float = 0.1
    tau3: float = 0.1
    duplicate_cosine: float | None = 0.95
    mask_duplicates: bool = True
    cce_target: Literal["feature", "pixel"] = "feature"
    cce_loss: Literal["frobenius", "pearson"] = "frobenius"
    cce_dim: int = 64
    mask_ratio: float = 0.5
    lambda_ita: float = 1.0
    lambda_pcma: float = 1.0
    lambda_cce: float = 1.0

    demo: ClassVar[Mapping[str, Any]] = {"vpoe_width": 128}
