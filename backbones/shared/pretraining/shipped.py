"""The demo encoders that come with the package: found, and made from a finished training. Imports
no torch until one is made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from backbones.shared.encoders.architectures import resolve_architecture
from bench.contracts import Recipe
from bench.core.cards import CARD, read_card
from bench.core.checkpoints import WEIGHTS, Checkpoint
from bench.core.hashing import file_sha256
from bench.core.storage import atomic_path, write_atomically

HOME = Path(__file__).resolve().parents[2] / "shipped"
"""A folder per method, as `place-bench pretrain` writes it, with weights in half precision."""


def shipped(recipe: Recipe) -> Path | None:
    """Return the folder of the demo encoder that stands for a recipe: that of its method, where the
    recipe is the demo profile's own, unchanged, and for the same architecture. Else None."""
    folder = HOME / recipe.method
    if recipe.profile != "demo" or recipe.settings or recipe.seed or not (folder / CARD).is_file():
        return None
    asked = resolve_architecture(recipe.profile, recipe.architecture).name
    return folder if read_card(folder)["architecture"] == asked else None


def ship(checkpoint: Checkpoint, home: Path, facts: Mapping[str, Any]) -> Checkpoint:
    """Copy a checkpoint into a folder of `home` named after its method, weights in half precision;
    return the copy.

    `facts` are added to its card; what is said there of the machine that it was trained on stays.
    """
    copy = checkpoint.copy_to(home / checkpoint.card["method"])
    _halve(copy.weights)
    card = {
        **copy.card,
        **facts,
        "weights_precision": "float16",
        "weights_sha256": file_sha256(copy.folder / WEIGHTS),
    }
    write_atomically(copy.folder / CARD, json.dumps(card, indent=2) + "\n")
    return Checkpoint.open(copy.folder)


def _halve(weights: Path) -> None:
    """Write the floating-point tensors of a file as float16; counters stay whole numbers."""
    from safetensors.torch import load_file, save_file

    tensors = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in load_file(weights).items()
    }
    with atomic_path(weights) as temporary:
        save_file(tensors, temporary, metadata={"format": "pt"})
