"""From the name of a published checkpoint to a loaded backbone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from backbones.published.files import (
    find_weights,
    requested_architecture,
    requested_settings,
    requested_text,
)
from backbones.published.networks import build_network
from backbones.published.renames import RENAMES
from backbones.published.table import PublishedWeights
from backbones.shared.encoders.base import EncoderNetwork, LoadedBackbone
from backbones.shared.weights.coverage import Coverage, expected_state, fill, take_prefix
from backbones.shared.weights.reading import State, read_weights, state_dict_of
from bench.contracts import Backbone, BackboneRequest

if TYPE_CHECKING:
    from backbones.published.text import TextSide


class PublishedBackbone(LoadedBackbone):
    """A published checkpoint as an ImageEncoder; `coverage` says how much of the encoder the file
    filled, `why_no_text` what its text side lacks."""

    def __init__(
        self,
        published: PublishedWeights,
        encoder: EncoderNetwork,
        coverage: Coverage,
        why: str = "",
        module: nn.Module | None = None,
    ) -> None:
        super().__init__(published.name, encoder, module)
        self.coverage = coverage
        self.why_no_text = why

    def pyramid(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the maps of `features` alone; without the second pass over enlarged images where
        the method has one."""
        pyramid_of = getattr(self.encoder, "pyramid", None)
        return pyramid_of(images) if pyramid_of is not None else self.features(images).pyramid


class PublishedPair(PublishedBackbone):
    """A published checkpoint whose text encoder was loaded too: an ImageTextEncoder."""

    def __init__(
        self,
        published: PublishedWeights,
        encoder: EncoderNetwork,
        coverage: Coverage,
        text: TextSide,
    ) -> None:
        both = nn.ModuleDict({"encoder": encoder, "text": text})
        super().__init__(published, encoder, coverage, module=both)
        self.text = text

    def embed_images(self, images: torch.Tensor) -> torch.Tensor:
        """Return L2-normalised image embeddings [B, d]."""
        return self.text.embed_images(self.features(images))

    def embed_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """Return L2-normalised text embeddings [T, d]."""
        return self.text.embed_texts(texts)

    def similarity(self, images: torch.Tensor, texts: Sequence[str]) -> torch.Tensor:
        """Return the method's own image-text score [B, T]."""
        return self.text.similarity(self.features(images), texts)

    def grounding(self, images: torch.Tensor, texts: Sequence[str]) -> torch.Tensor | None:
        """Return where each text is read in each image [B, T, h, w]; None where the method has no
        local part."""
        return self.text.grounding(self.features(images), texts)


def build(published: PublishedWeights, request: BackboneRequest) -> Backbone:
    """Return a published checkpoint loaded into its network.

    Raises MissingDependencyError where the file is absent, CheckpointError where it is damaged or
    of another architecture.
    """
    requested_architecture(published, request)
    settings = requested_settings(request)
    path = find_weights(published, settings)
    state = state_dict_of(read_weights(path), path, settings.key)
    encoder = build_network(published, request.seed, settings.upsample)
    network = _network(encoder)
    coverage = fill(
        network,
        _encoder_state(published, state, network),
        path,
        published.name,
        leaves=published.leaves,
    )
    why_no_text = requested_text(published, request)
    if why_no_text:
        return PublishedBackbone(published, encoder, coverage, why_no_text)
    from backbones.published.text import load_text

    vocabulary = Path(settings.text_model).expanduser()
    text = load_text(published.text, state, vocabulary, path)
    return PublishedPair(published, encoder, coverage, text)


def _network(encoder: EncoderNetwork) -> nn.Module:
    network = encoder.model
    if not isinstance(network, nn.Module):
        raise TypeError(
            f"{type(encoder).__name__}.model is {type(network).__name__}, a module was expected"
        )
    return network


def _encoder_state(published: PublishedWeights, state: State, network: nn.Module) -> State:
    """Return the image encoder's tensors under the network's own names, by the first prefix that
    has any of them."""
    rename = RENAMES[published.renames]
    expected = expected_state(network)
    for prefix in published.prefixes:
        renamed = rename(take_prefix(state, (prefix,)))
        if any(key in expected for key in renamed):
            return renamed
    return {}
