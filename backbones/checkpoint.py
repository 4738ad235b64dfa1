"""Checkpoints: written whole with a card, read without running code, refused where they do not fit."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from backbones.architectures import Architecture, resolve_architecture
from backbones.encoders.text import build_text_encoder
from backbones.encoders.vocabulary import Vocabulary
from backbones.keys import CARD, PIECES, WEIGHTS
from backbones.settings import settings_type_of
from backbones.vision_language import LoadedMethod, VisionLanguageMethod
from bench.contracts import BACKBONES, BackboneRequest
from bench.errors import CheckpointError, SettingError
from bench.settings import override

L = TypeVar("L", bound=LoadedMethod)
MINIMUM_COVERAGE = 0.95


# ------------------------------------------------------------------------------------------------------------- reading
def read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a `.safetensors` or torch file; `state_dict` or `model` inside it is unpacked.

    Raises CheckpointError naming the file where it is missing, damaged, holds no tensors, or is a pickle that needs code to load.
    """
    if not path.is_file():
        raise CheckpointError(f"checkpoint {path} does not exist.", "Give the path of a .safetensors, .pth or .ckpt file.")
    loaded = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    for name in ("state_dict", "model"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(name), Mapping):
            loaded = loaded[name]
    if not isinstance(loaded, Mapping):
        raise CheckpointError(f"{path} holds a {type(loaded).__name__}, not a table of tensors.", "Save `model.state_dict()`.")
    tensors = {str(name): value for name, value in loaded.items() if isinstance(value, torch.Tensor)}
    if not tensors:
        raise CheckpointError(f"{path} holds no tensors.", "Save `model.state_dict()`.")
    return tensors


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged or no safetensors file: {error}.", "Copy or train it again.") from error


def _read_torch(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "GLOBAL" in str(error) or "Trying to" in str(error):
            raise CheckpointError(f"{path} is a pickle that runs code when loaded, which is refused.", _convert(path)) from error
        raise _damaged(path, error) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(f"{path} is damaged or no checkpoint ({type(error).__name__}).", "Copy or download it again.")


def _convert(path: Path) -> str:
    return (
        "If you trust where it comes from, convert it once, in an environment with the packages it was made with: open it with "
        "torch, take its state_dict, keep the tensors, and save them with safetensors.torch.save_file as "
        f"{path.stem}.safetensors."
    )


def load_weights(module: nn.Module, tensors: Mapping[str, torch.Tensor], source: str, minimum: float = MINIMUM_COVERAGE) -> float:
    """Load `tensors` into `module` and return the share of its parameters and statistics they fill.

    Raises CheckpointError where that is below `minimum`, listing what is missing or of another shape. Other tensors of the file
    are left out (e.g. a classifier).
    """
    own = module.state_dict()
    counted = {name: value for name, value in own.items() if not name.endswith("num_batches_tracked")}
    fitting = {name: value for name, value in tensors.items() if name in own and own[name].shape == value.shape}
    lacking = [name for name in counted if name not in fitting]
    coverage = sum(counted[name].numel() for name in counted if name in fitting) / sum(v.numel() for v in counted.values())
    if coverage < minimum:
        raise CheckpointError(
            f"{source} fills {coverage:.0%} of {type(module).__name__}; {len(lacking)} of {len(counted)} tensors are missing or "
            f"of another shape: {_shorten(lacking)}.",
            "Choose the architecture it was made with (backbone.architecture).",
        )
    module.load_state_dict(fitting, strict=False)
    return coverage


def _shorten(names: list[str], shown: int = 6) -> str:
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")


# --------------------------------------------------------------------------------------------------------- methods
def save_method(method: VisionLanguageMethod, folder: Path) -> Path:
    """Write weights and vocabulary into `folder`, each beside and renamed; return the path of the weights."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    method.vocabulary.save(folder / "vocab.tmp")
    (folder / "vocab.tmp").replace(folder / PIECES)
    tensors = {name: value.detach().cpu().contiguous() for name, value in method.state_dict().items()}
    save_file(tensors, folder / "model.tmp", metadata={"format": "pt"})
    return (folder / "model.tmp").replace(folder / WEIGHTS)


def read_card(path: Path) -> tuple[Path, dict[str, Any]]:
    """Return the weights and the card of a checkpoint given as its folder or its weights file."""
    weights = path / WEIGHTS if path.is_dir() else path
    card = weights.parent / CARD
    if not weights.is_file():
        raise CheckpointError(f"checkpoint {weights} does not exist.", "Train it with `place-bench pretrain`.")
    if not card.is_file():
        raise CheckpointError(f"{weights} has no {CARD} beside it.", "Keep card.json, vocab.txt and model.safetensors together.")
    try:
        return weights, json.loads(card.read_text())
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{card} is damaged: {error}.", "Train the checkpoint again.") from error


def load_method(name: str, request: BackboneRequest, loaded: type[L] = LoadedMethod) -> L:  # type: ignore[assignment]
    """Build the backbone `name` from `request.checkpoint`.

    Raises CheckpointError where there is none, where it is of another method or architecture, or lacks weights.
    """
    if request.checkpoint is None:
        raise CheckpointError(
            f"backbone '{name}' has no checkpoint.", f"Run `place-bench pretrain {name}`, or `place-bench run`."
        )
    if request.settings:
        raise SettingError(f"backbone '{name}' takes its settings from its checkpoint.", "Use --set pretrain.key=value instead.")
    weights, card = read_card(request.checkpoint)
    _check_card(name, request, weights, card)
    method = _rebuild(name, resolve_architecture("demo", card["architecture"]), card, weights)
    load_weights(method, read_state_dict(weights), str(weights), minimum=1.0)
    return loaded(name, method)


def _check_card(name: str, request: BackboneRequest, weights: Path, card: Mapping[str, Any]) -> None:
    if card.get("method") != name:
        raise CheckpointError(f"{weights} was trained with '{card.get('method')}', not '{name}'.", "Choose another checkpoint.")
    wanted = resolve_architecture(request.profile, request.architecture or card.get("architecture", "")).name
    if card.get("architecture") != wanted:
        raise CheckpointError(
            f"{weights} is of architecture '{card.get('architecture')}', wanted is '{wanted}'.",
            f"Use --set backbone.architecture={card.get('architecture')}, or another checkpoint.",
        )


def _rebuild(name: str, architecture: Architecture, card: Mapping[str, Any], weights: Path) -> VisionLanguageMethod:
    settings = override(settings_type_of(BACKBONES.get(name))(), card["settings"])
    text = build_text_encoder(card["text_encoder"])
    return method_class(name)(architecture, text, Vocabulary.load(weights.parent / PIECES), settings)


def method_class(name: str) -> type[VisionLanguageMethod]:
    """Return the network class that a backbone's declaration names."""
    import importlib

    module, _, attribute = BACKBONES.get(name).method.partition(":")
    return getattr(importlib.import_module(module), attribute)
