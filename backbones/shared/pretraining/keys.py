"""Where a pre-trained checkpoint is, from what it was made with. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from backbones.shared.encoders.architectures import resolve_architecture
from backbones.shared.pretraining.declare import method_settings
from backbones.shared.pretraining.settings import MethodSettings
from bench.contracts import Annotation, Recipe
from bench.core.cards import CARD
from bench.core.checkpoints import WEIGHTS
from bench.core.errors import MissingDependencyError
from bench.core.hashing import digest
from bench.core.paths import cache_home
from bench.core.settings import keyed

RECIPE_VERSION = 2
"""Raise when the same settings on the same data give other weights."""
QUIRKS_VERSION = 2
"""Raise when only trainings with `quirks` do: checkpoints without them keep their keys."""


def checkpoint_key(recipe: Recipe, data_hash: str) -> str:
    """Return a short hash of everything the weights depend on; an unknown setting or architecture
    is refused here already."""
    settings = recipe_settings(recipe)
    architecture = resolve_architecture(recipe.profile, recipe.architecture)
    parts = [
        RECIPE_VERSION,
        recipe.method,
        architecture.name,
        recipe.profile,
        recipe.seed,
        keyed(settings),
        recipe.threads,
        data_hash,
    ]
    if getattr(settings, "quirks", False):
        parts.append(QUIRKS_VERSION)
    content = settings.reads()
    if content is not None:
        parts.append(content)
    return digest(parts, 12)


def checkpoint_folder(recipe: Recipe, data_hash: str) -> Path:
    """Return the folder of a checkpoint in the cache, where `run` looks for it."""
    architecture = resolve_architecture(recipe.profile, recipe.architecture).name
    name = f"{recipe.method}-{architecture}-{recipe.profile}-{checkpoint_key(recipe, data_hash)}"
    return cache_home() / "checkpoints" / name


def is_complete(folder: Path) -> bool:
    """Tell whether a checkpoint folder holds a finished training: the card is written last."""
    return (folder / CARD).is_file() and (folder / WEIGHTS).is_file()


def pretrain_image_size(recipe: Recipe) -> int:
    """Return the long side (px) at which images are cached for pre-training: random crops are cut
    from it."""
    return resolve_architecture(recipe.profile, recipe.architecture).input.resize


def recipe_settings(recipe: Recipe) -> MethodSettings:
    """Return the method's settings as resolved."""
    return method_settings(recipe.method, recipe.profile, recipe.settings)


def needs(recipe: Recipe) -> tuple[Annotation[Any], ...]:
    """Return the annotations that a recipe is trained with beside images; reads no data."""
    return recipe_settings(recipe).needs()


def check(recipe: Recipe) -> None:
    """Raise at once for what could not be trained: an unknown method, architecture or setting, an
    absent text model or other file."""
    resolve_architecture(recipe.profile, recipe.architecture)
    settings = recipe_settings(recipe)
    settings.reads()
    model = settings.text_model
    if model:
        require_text_model(Path(model))


def require_text_model(folder: Path) -> Path:
    """Return the weights file of a local BERT folder; raise MissingDependencyError, saying how to
    bring it, without one."""
    weights = [
        name for name in ("model.safetensors", "pytorch_model.bin") if (folder / name).is_file()
    ]
    absent = [name for name in ("config.json", "vocab.txt") if not (folder / name).is_file()]
    if absent or not weights:
        lacking = absent or ["model.safetensors"]
        raise MissingDependencyError(
            f"text model folder {folder} lacks {', '.join(lacking)}.", HOW_TO_BRING
        )
    return folder / weights[0]


HOW_TO_BRING = (
    "Download emilyalsentzer/Bio_ClinicalBERT (config.json, vocab.txt, pytorch_model.bin) on "
    "a machine with network access and "
    "pass its folder, text_model=PATH; or text_model=none, text_width=256 trains a small "
    "encoder from the reports."
)
