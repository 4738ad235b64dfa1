"""Rows that need no encoder: what a task's kind predicts without looking at an image."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from bench.contracts import BACKBONES, BackboneRequest, BackboneSpec, Features, InputSpec
from bench.core.errors import NotApplicableError

if TYPE_CHECKING:
    import torch


def _empty_module() -> Any:
    from torch import nn

    return nn.Identity()


@dataclass
class Baseline:
    """Stands where a Backbone does and sees nothing; `which` is the kind's name of it (an entry of
    `TaskKind.baselines`)."""

    name: str
    which: str
    architecture: str = ""
    family: Literal["resnet", "vit"] = "resnet"
    input: InputSpec = field(default_factory=lambda: InputSpec(1, 1))
    module: torch.nn.Module = field(default_factory=_empty_module)
    pooled_dim: int = 0
    patch_dim: int = 0
    pyramid_channels: tuple[int, ...] = ()
    pyramid_strides: tuple[int, ...] = ()

    def features(self, images: torch.Tensor) -> Features:
        """Refuse: there is no encoder."""
        raise NotApplicableError(
            f"{self.name} has no encoder.", "It is a row of the tasks that name it."
        )


def declare(which: str) -> BackboneSpec:
    """Return the declaration of `baseline:<which>`; it depends on the cell's seed where the kind
    draws at random."""
    name = f"baseline:{which}"

    def build(request: BackboneRequest) -> Baseline:
        return Baseline(name, which)

    return BackboneSpec(name=name, title="No encoder", build=build, source="this repository")


BACKBONES.add_scheme(
    "baseline",
    declare,
    title="No encoder: a row that every encoder has to beat",
    example="baseline:constant_report",
)
