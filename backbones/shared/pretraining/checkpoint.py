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
from backbones.shared.pretraining.declare import method_class, method_settings, refuse_settings
from backbones.shared.pretraining.settings import MethodSettings
from backbones.shared.pretraining.vision_language import LoadedMethod, VisionLanguageMethod
from backbones.shared.weights.coverage import check_shapes, fill
from backbones.shared.weights.reading import State, read_weights, state_dict_of
from bench.contracts import BackboneRequest
from bench.core.cards import CARD
from bench.core.checkpoints import VOCABULARY, WEIGHTS, Checkpoint
from bench.core.errors import CheckpointError, PlaceBenchError
from bench.core.settings import before, override
from bench.core.storage import atomic_path

T = TypeVar("T")
_LARGEST = 1 << 31
"""No size of a text encoder is larger."""


def save_method(method: VisionLanguageMethod, folder: Path) -> Path:
    """Write weights and vocabulary into `folder`, each beside and renamed; return the path of the
    weights."""
    from safetensors.torch import save_file

    with atomic_path(folder / VOCABULARY) as temporary:
        method.vocabulary.save(temporary)
    tensors = {
        name: value.detach().cpu().contiguous() for name, value in method.state_dict().items()
    }
    with atomic_path(folder / WEIGHTS) as temporary:
        save_file(tensors, temporary, metadata={"format": "pt"})
    return folder / WEIGHTS


def load_method(
    name: str,
    request: BackboneRequest,
    loaded: Callable[[str, VisionLanguageMethod], LoadedMethod] | None = None,
) -> LoadedMethod:
    """Build the backbone `name` from `request.checkpoint`; `loaded` makes it of the network, in
    place of `VisionLanguageMethod.loaded`.

    Raises CheckpointError where there is none, where it is of another method or architecture, or
    lacks weights.
    """
    if request.checkpoint is None:
        raise CheckpointError(
            f"backbone '{name}' has no checkpoint.",
            f"Run `place-bench pretrain {name}`, or `place-bench run`.",
        )
    refuse_settings(name, request)
    checkpoint = Checkpoint.open(request.checkpoint)
    _check_card(name, request, checkpoint)
    state = state_dict_of(read_weights(checkpoint.weights), checkpoint.weights)
    method = _rebuild(name, checkpoint, state)
    coverage = fill(method, state, checkpoint.weights, name, silent=True)
    backbone = loaded(name, method) if loaded else method.loaded(name)
    backbone.coverage = coverage
    return backbone


def _check_card(name: str, request: BackboneRequest, checkpoint: Checkpoint) -> None:
    card = checkpoint.card
    weights = checkpoint.weights
    if card.get("method") != name:
        raise CheckpointError(
            f"{weights} was trained with '{card.get('method')}', not '{name}'.",
            "Choose another checkpoint.",
        )
    trained = card["architecture"]
    _named(checkpoint.folder / CARD, lambda: resolve_architecture(request.profile, trained))
    asked = resolve_architecture(request.profile, request.architecture or trained).name
    if trained != asked:
        raise CheckpointError(
            f"{weights} is of architecture '{trained}', wanted is '{asked}'.",
            f"Use --arch {trained}, or another checkpoint.",
        )


def _rebuild(name: str, checkpoint: Checkpoint, state: State) -> VisionLanguageMethod:
    """Return the method a card describes, untrained; its sizes are compared with the weights before
    any memory is taken for them."""
    card = checkpoint.card
    path = checkpoint.folder / CARD
    pieces = checkpoint.folder / VOCABULARY
    architecture = _named(path, lambda: resolve_architecture("demo", card["architecture"]))
    settings = _named(path, lambda: _settings(name, card["settings"]))
    sizes = _text_sizes(path, card["text_encoder"], len(state))
    vocabulary = Vocabulary.load(pieces)
    if len(vocabulary) != sizes["vocab_size"]:
        raise CheckpointError(
            f"{pieces} has {len(vocabulary)} pieces, {path} says {sizes['vocab_size']}.",
            "Copy the checkpoint again, or train it again.",
        )

    def build() -> VisionLanguageMethod:
        """Return the network with random weights, on the device of the context."""
        text = build_text_encoder(sizes)
        return method_class(name)(architecture, text, vocabulary, settings)

    with torch.device("meta"):
        outline = _named(path, build)
    check_shapes(outline, state, checkpoint.weights, f"the '{name}' that {path} describes")
    return build()


def _settings(name: str, entries: Mapping[str, Any]) -> MethodSettings:
    """Return the settings in a card, each checked as if it had been written on the command line; a
    setting that came later has the value of before."""
    defaults = method_settings(name, "paper")
    stated = {**before(defaults), **entries}
    words = {key: _word(value, getattr(defaults, key, None)) for key, value in stated.items()}
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
