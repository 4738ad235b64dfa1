"""Settings of PLACE: every choice of the re-implementation that the paper leaves open is a switch
here. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from backbones.shared.pretraining.settings import MethodSettings
from bench.core.errors import SettingError
from bench.core.settings import Inside, Layers, Range, Scale, Weight, Width


@dataclass(frozen=True)
class Settings(MethodSettings):
    """What the abstract of PLACE (arXiv 2506.10573) leaves open, as we chose it.

    `queries` pathology query tokens in `vpoe_layers` layers of `vpoe_width` with `heads` heads
    (`competing` for the tokens, or each reading on its own); sentences attend to V-PORs with `tau2`
    and are scored with `tau3`; `duplicate_cosine` is the text cosine above which a report is no
    negative of a sentence (none: only sentences equal after normalisation; `mask_duplicates` false:
    every report but its own is one); `mask_ratio` of the patches are hidden in CCE, which predicts
    in `cce_dim`.
    """

    queries: Annotated[int, Range(1, 4096)] = 16
    vpoe_layers: Layers = 2
    vpoe_width: Annotated[int, Range(4, 65_536, multiple_of=4)] = 768
    heads: Annotated[int, Range(1, 1024)] = 8
    competing: bool = False
    t_por: Literal["sentence", "query"] = "sentence"
    tau2: Scale = 0.1
    tau3: Scale = 0.1
    duplicate_cosine: Annotated[float, Range(-1, 1)] | None = 0.95
    mask_duplicates: bool = True
    cce_target: Literal["feature", "pixel"] = "feature"
    cce_loss: Literal["frobenius", "pearson"] = "frobenius"
    cce_dim: Width = 64
    mask_ratio: Inside = 0.5
    lambda_ita: Weight = 1.0
    lambda_pcma: Weight = 1.0
    lambda_cce: Weight = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.vpoe_width % self.heads:
            raise SettingError(
                f"vpoe_width {self.vpoe_width}, heads {self.heads}.",
                "vpoe_width must be a multiple of heads.",
            )
