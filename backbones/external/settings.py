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
    """How an external encoder wants its images; what is not given is taken from the model's own
    configuration."""

    size: Side | None = None
    """Side in pixels of the square that the encoder sees; none: the model's own. Position
    embeddings are interpolated to it where the model has a fixed size."""
    resize: Side | None = None
    """Side in pixels that an image is brought to before the square of `size` is cut from its
    middle; none: the model's own, changed in proportion to `size`."""
    mean: Means | None = None
    """What is subtracted from the intensities, which are between 0 and 1: one value, or one for
    each of three channels; none: the model's own."""
    std: Deviations | None = None
    """What the intensities are then divided by; none: the model's own."""
    fit: Literal["letterbox", "shortest", "squash"] = "letterbox"
    """How a radiograph becomes a square: letterbox is the whole of it with black beside, shortest
    its middle, squash the whole of it stretched."""
    pool: Literal["cls", "mean", "cls_mean"] | None = None
    """The pooled feature of a transformer: its class token, the mean of its patch tokens, or both
    one behind the other; none: the model's own."""


@dataclass(frozen=True)
class TimmSettings(InputSettings):
    """Settings of a timm model."""

    pretrained: bool = True
    """Whether the weights that timm has for the model are used; false asks for random ones, which
    nothing else gives."""
    weights: str = ""
    """A local weights file; nothing: timm's own weights, or those in the model's folder."""
    key: str = ""
    """The entry of the file that holds the weights, where it is not `state_dict`, `model` or the
    file itself."""
    prefix: str = ""
    """What the encoder's weights begin with in the file, e.g. `encoder.`; nothing: no prefix."""


@dataclass(frozen=True)
class FileSettings(InputSettings):
    """Settings of a weights file. What is not given of the images is that of timm's default weights
    of the architecture, ImageNet's for most."""

    arch: str = ""
    """timm's name of the architecture, e.g. resnet50; it must be given."""
    prefix: str = ""
    """What the encoder's weights begin with in the file, e.g. `encoder.`; nothing: no prefix."""
    key: str = ""
    """The entry of the file that holds the weights, where it is not `state_dict`, `model` or the
    file itself."""


@dataclass(frozen=True)
class HubSettings(InputSettings):
    """Settings of a transformers model."""

    revision: str = "main"
    """Branch, tag or commit on the Hugging Face hub."""


@dataclass(frozen=True)
class OpenClipSettings(InputSettings):
    """Settings of an open_clip model."""

    pretrained: str = ""
    """The tag of the weights (e.g. openai) or a file; folders and names on the hub
    (`hf-hub:org/name`) have their own. none asks for random weights, which nothing else gives."""


@dataclass(frozen=True)
class XrayVisionSettings(CheckedSettings):
    """Settings of a torchxrayvision model."""

    weights: str = ""
    """A local file of the model's weights; nothing: the file in the package's own folder, else a
    download."""


SETTINGS: Mapping[str, type[CheckedSettings]] = {
    "timm": TimmSettings,
    "hf": HubSettings,
    "torchxrayvision": XrayVisionSettings,
    "open_clip": OpenClipSettings,
    "file": FileSettings,
}
"""By the scheme of a name."""
