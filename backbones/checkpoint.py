"""Checkpoints of methods trained here: written whole with a card, refused where they do not fit."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from backbones.architectures import Architecture, resolve_architecture
from backbones.encoders.text import build_text_encoder
from backbones.encoders.vocabulary import Vocabulary
from backbones.keys import CARD, PIECES, WEIGHTS
from backbones.settings import settings_type_of
from backbones.vision_language import LoadedMethod, VisionLanguageMethod
from backbones.weights.coverage import fill
from backbones.weights.reading import read_weights, state_dict_of
from bench.contracts import BACKBONES, BackboneRequest
from bench.errors import CheckpointError, SettingError
from bench.settings import override


def save_method(method: VisionLanguageMethod, folder: Path) -> Path:
    """Write weights and vocabulary into `folder`, each beside and renamed; return the path of the
    weights."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    method.vocabulary.save(folder / "vocab.tmp")
    (folder / "vocab.tmp").replace(folder / PIECES)
    tensors = {
        name: value.detach().cpu().contiguous() for name, value in method.state_dict().items()
    }
    save_file(tensors, folder / "model.tmp", metadata={"format": "pt"})
    return (folder / "model.tmp").replace(folder / WEIGHTS)


def read_card(path: Path) -> tuple[Path, dict[str, Any]]:
    """Return the weights and the card of a checkpoint given as its folder or its weights file."""
    weights = path / WEIGHTS if path.is_dir() else path
    card = weights.parent / CARD
    if not weights.is_file():
        raise CheckpointError(
            f"checkpoint {weights} does not exist.", "Train it with `place-bench pretrain`."
        )
    if not card.is_file():
        raise CheckpointError(
            f"{weights} has no {CARD} beside it.",
            "Keep card.json, vocab.txt and model.safetensors together.",
        )
    try:
        return weights, json.loads(card.read_text())
    except json.JSONDecodeError as error:
        raise CheckpointError(
            f"{card} is damaged: {error}.", "Train the checkpoint again."
        ) from error


def load_method(
    name: str,
    request: BackboneRequest,
    loaded: Callable[[str, VisionLanguageMethod], LoadedMethod] = LoadedMethod,
) -> LoadedMethod:
    """Build the backbone `name` from `request.checkpoint`.

    Raises CheckpointError where there is none, where it is of another method or architecture, or
    lacks weights.
    """
    if request.checkpoint is None:
        raise CheckpointError(
            f"backbone '{name}' has no checkpoint.",
            f"Run `place-bench pretrain {name}`, or `place-bench run`.",
        )
    if request.settings:
        raise SettingError(
            f"backbone '{name}' takes its settings from its checkpoint.",
            "Use --set pretrain.key=value instead.",
        )
    weights, card = read_card(request.checkpoint)
    _check_card(name, request, weights, card)
    method = _rebuild(name, resolve_architecture("demo", card["architecture"]), card, weights)
    state = state_dict_of(read_weights(weights), weights)
    coverage = fill(method, state, weights, name, silent=True)
    backbone = loaded(name, method)
    backbone.coverage = coverage
    return backbone


def _check_card(
    name: str, request: BackboneRequest, weights: Path, card: Mapping[str, Any]
) -> None:
    if card.get("method") != name:
        raise CheckpointError(
            f"{weights} was trained with '{card.get('method')}', not '{name}'.",
            "Choose another checkpoint.",
        )
    wanted = resolve_architecture(
        request.profile, request.architecture or card.get("architecture", "")
    ).name
    if card.get("architecture") != wanted:
        raise CheckpointError(
            f"{weights} is of architecture '{card.get('architecture')}', wanted is '{wanted}'.",
            f"Use --set backbone.architecture={card.get('architecture')}, or another checkpoint.",
        )


def _rebuild(
    name: str, architecture: Architecture, card: Mapping[str, Any], weights: Path
) -> VisionLanguageMethod:
    settings = override(settings_type_of(BACKBONES.get(name))(), card["settings"])
    text = build_text_encoder(card["text_encoder"])
    return method_class(name)(
        architecture, text, Vocabulary.load(weights.parent / PIECES), settings
    )


def method_class(name: str) -> type[VisionLanguageMethod]:
    """Return the network class that a backbone's declaration names."""
    import importlib

    module, _, attribute = BACKBONES.get(name).method.partition(":")
    return getattr(importlib.import_module(module), attribute)
