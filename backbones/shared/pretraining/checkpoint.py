"""Checkpoints of methods trained here: written whole with a card, refused where they do not fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch

from backbones.shared.encoders.architectures import resolve_architecture
from backbones.shared.encoders.text import SIZES as TEXT_SIZES
from backbones.shared.encoders.text import build_text_encoder
from backbones.shared.encoders.vocabulary import Vocabulary
from backbones.shared.pretraining.keys import CARD, PIECES, WEIGHTS
from backbones.shared.pretraining.settings import MethodSettings, settings_type_of
from backbones.shared.pretraining.vision_language import LoadedMethod, VisionLanguageMethod
from backbones.shared.weights.coverage import check_shapes, fill
from backbones.shared.weights.reading import State, read_weights, state_dict_of
from bench.contracts import BACKBONES, BackboneRequest
from bench.core import cards
from bench.core.errors import CheckpointError, PlaceBenchError, SettingError
from bench.core.settings import override
from bench.core.storage import atomic_path

T = TypeVar("T")
_LARGEST = 1 << 31
"""No size of a text encoder is larger."""


def save_method(method: VisionLanguageMethod, folder: Path) -> Path:
    """Write weights and vocabulary into `folder`, each beside and renamed; return the path of the
    weights."""
    from safetensors.torch import save_file

    with atomic_path(folder / PIECES) as temporary:
        method.vocabulary.save(temporary)
    tensors = {
        name: value.detach().cpu().contiguous() for name, value in method.state_dict().items()
    }
    with atomic_path(folder / WEIGHTS) as temporary:
        save_file(tensors, temporary, metadata={"format": "pt"})
    return folder / WEIGHTS


def read_card(path: Path) -> tuple[Path, dict[str, Any]]:
    """Return the weights and the card of a checkpoint given as its folder or its weights file;
    raise CheckpointError where weights or vocabulary are not those that the card describes."""
    weights = path / WEIGHTS if path.is_dir() else path
    if not weights.exists():
        raise CheckpointError(
            f"checkpoint {weights} does not exist.", "Train it with `place-bench pretrain`."
        )
    card = cards.read_card(weights.parent)
    cards.check_file(weights, card["weights_sha256"])
    if "vocabulary_sha256" in card:
        cards.check_file(weights.parent / PIECES, card["vocabulary_sha256"])
    return weights, card


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
    state = state_dict_of(read_weights(weights), weights)
    method = _rebuild(name, card, weights, state)
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
    own = card["architecture"]
    _named(weights.parent / CARD, lambda: resolve_architecture(request.profile, own))
    wanted = resolve_architecture(request.profile, request.architecture or own).name
    if card.get("architecture") != wanted:
        raise CheckpointError(
            f"{weights} is of architecture '{card.get('architecture')}', wanted is '{wanted}'.",
            f"Use --arch {own}, or another checkpoint.",
        )


def _rebuild(
    name: str, card: Mapping[str, Any], weights: Path, state: State
) -> VisionLanguageMethod:
    """Return the method a card describes, untrained; its sizes are compared with the weights before
    any memory is taken for them."""
    path = weights.parent / CARD
    architecture = _named(path, lambda: resolve_architecture("demo", card["architecture"]))
    settings = _named(path, lambda: _settings(name, card["settings"]))
    sizes = _text_sizes(path, card["text_encoder"], len(state))
    vocabulary = Vocabulary.load(weights.parent / PIECES)
    if len(vocabulary) != sizes["vocab_size"]:
        raise CheckpointError(
            f"{weights.parent / PIECES} has {len(vocabulary)} pieces, {path} says "
            f"{sizes['vocab_size']}.",
            "Copy the checkpoint again, or train it again.",
        )

    def build() -> VisionLanguageMethod:
        text = build_text_encoder(sizes)
        return method_class(name)(architecture, text, vocabulary, settings)

    with torch.device("meta"):
        outline = _named(path, build)
    check_shapes(outline, state, weights, f"the '{name}' that {path} describes")
    return build()


def _settings(name: str, entries: Mapping[str, Any]) -> MethodSettings:
    """Return the settings in a card, each checked as if it had been written on the command line."""
    defaults = settings_type_of(BACKBONES.get(name))()
    words = {key: _word(value, getattr(defaults, key, None)) for key, value in entries.items()}
    return override(defaults, words)


def _word(value: Any, default: Any) -> str:
    """Return a JSON value as it is written on the command line."""
    if isinstance(value, list) and isinstance(default, tuple):
        return ",".join(map(str, value))
    return "none" if value is None else str(value)


def _text_sizes(path: Path, entries: Mapping[str, Any], tensors: int) -> dict[str, int]:
    """Return the sizes of a text encoder; raise CheckpointError naming the entry that is no
    positive whole number, or more layers than the weights have tensors."""
    for size in TEXT_SIZES:
        value = entries.get(size)
        limit = tensors if size == "num_hidden_layers" else _LARGEST
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= limit:
            raise CheckpointError(
                f"{path} is damaged: 'text_encoder.{size}' is {str(value)[:40]}, a whole number "
                f"from 1 to {limit} was expected.",
                "Train the checkpoint again.",
            )
    return {size: entries[size] for size in TEXT_SIZES}


def _named(path: Path, make: Callable[[], T]) -> T:
    """Return what is made of a card's entries; an error names the file they stand in."""
    try:
        return make()
    except (PlaceBenchError, ValueError, TypeError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise CheckpointError(
            f"{path} is damaged: {reason}.", "Train the checkpoint again."
        ) from error


def method_class(name: str) -> type[VisionLanguageMethod]:
    """Return the network class that a backbone's declaration names."""
    import importlib

    module, _, attribute = BACKBONES.get(name).method.partition(":")
    return getattr(importlib.import_module(module), attribute)
