"""Settings of the encoders from elsewhere, `name?key=value` or `--set backbone.key=value`. Imports
no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from bench.core.settings import CheckedSettings, Length, Range, Side

Means = Annotated[tuple[Annotated[float, Range(-10, 10)], ...], Length(1, 3)]
Deviations = Annotated[tuple[Annotated[float, Range(0, 10, low_open=True)], ...], Length(1, 3)]


@dataclass(frozen=True)
class InputSettings(CheckedSettings):
    """Input contract of an external encoder; what is not given is taken from the model's own
    configuration.

    `fit`: how the radiograph comes to the square, `letterbox` (whole, padded), `shortest` (its
    middle, cut square) or `squash` (whole, stretched). `pool`: what the pooled feature of a
    transformer is, the class token, the mean of the patch tokens, or both one behind the other.
    """

    size: Side | None = None
    resize: Side | None = None
    mean: Means | None = None
    std: Deviations | None = None
    fit: Literal["letterbox", "shortest", "squash"] = "letterbox"
    pool: Literal["cls", "mean", "cls_mean"] | None = None


@dataclass(frozen=True)
class TimmSettings(InputSettings):
    """Settings of a timm model. `weights`: a local file (else timm's own weights), `key` the dict
    in it and `prefix` of its keys; `pretrained=false` asks for random weights, which nothing else
    gives."""

    pretrained: bool = True
    weights: str = ""
    key: str = ""
    prefix: str = ""


@dataclass(frozen=True)
class FileSettings(InputSettings):
    """`arch`: a timm name; `prefix` of the encoder's keys; `key`: the dict in the file. The input
    contract is that of timm's default weights of the architecture (ImageNet's for most) unless
    mean, std, size and resize are given."""

    arch: str = ""
    prefix: str = ""
    key: str = ""


@dataclass(frozen=True)
class HubSettings(InputSettings):
    """`revision`: branch, tag or commit on the hub."""

    revision: str = "main"


@dataclass(frozen=True)
class OpenClipSettings(InputSettings):
    """`pretrained`: the tag of the weights or a file; folders (`open_clip:FOLDER`) and hub names
    (`hf-hub:org/name`) have their own. `pretrained=none` asks for random weights, which nothing
    else gives."""

    pretrained: str = ""


@dataclass(frozen=True)
class XrayVisionSettings(CheckedSettings):
    """`weights`: a local file of the model, else the package's own folder, else a download."""

    weights: str = ""


SETTINGS: Mapping[str, type[CheckedSettings]] = {
    "timm": TimmSettings,
    "hf": HubSettings,
    "torchxrayvision": XrayVisionSettings,
    "open_clip": OpenClipSettings,
    "file": FileSettings,
}
"""By the scheme of a name."""
