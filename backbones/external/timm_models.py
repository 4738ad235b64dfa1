"""`timm:NAME` and `timm:FOLDER`: any timm model as a backbone."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, Literal

import timm
import torch
from timm.data import resolve_model_data_config
from timm.models import is_model_in_modules
from torch import nn

from backbones.external.encoder import (
    ExternalBackbone,
    ExternalEncoder,
    apply_input,
    features_of,
    quarters,
    tokens,
)
from backbones.external.settings import InputSettings, TimmSettings
from backbones.weights.coverage import Coverage, fill, take_prefix
from backbones.weights.reading import read_weights, state_dict_of
from bench.contracts import Backbone, BackboneRequest, Features, InputSpec
from bench.errors import CheckpointError, MissingDependencyError, SettingError, UnknownNameError
from bench.progress import default_progress
from bench.settings import override

_ANY_SIZE = {"vision_transformer", "deit", "eva"}
"""Modules of timm whose models interpolate their positions while running."""


class TimmMaps(nn.Module):
    """A timm model that returns Features."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model
        self.indices: list[int] | None = None
        self.prefix = int(getattr(model, "num_prefix_tokens", 0))
        if not hasattr(model, "forward_intermediates"):
            raise SettingError(
                f"timm's {type(model).__name__} gives no intermediate maps.",
                "Choose another model.",
            )

    def forward(self, images: torch.Tensor) -> Features:
        """Encode normalised images [B, 3, H, W]."""
        options = {"norm": True} if self._is_plain() else {}
        last, maps = self.model.forward_intermediates(
            images, indices=self.indices, output_fmt="NCHW", **options
        )
        pooled = self.model.forward_head(last, pre_logits=True).flatten(1)
        if not self._is_plain():
            return features_of(maps, pooled, images.shape[2])
        patches = last[:, self.prefix :] if last.ndim == 3 else tokens(maps[-1])
        return Features(pooled, patches, (maps[-1].shape[2], maps[-1].shape[3]), tuple(maps))

    def _is_plain(self) -> bool:
        """Tell whether all blocks work on one grid, as in a ViT; then four of them make the
        pyramid."""
        if (
            self.indices is None
            and hasattr(self.model, "blocks")
            and hasattr(self.model, "patch_embed")
        ):
            self.indices = quarters(len(self.model.blocks))
        return self.indices is not None


def build(rest: str, request: BackboneRequest) -> Backbone:
    """Return a timm model with pre-trained weights.

    Raises UnknownNameError for a name timm does not know, MissingDependencyError where its weights
    cannot be had here, CheckpointError for a file that does not fill it.
    """
    settings = override(TimmSettings(), request.settings)
    folder = Path(rest).expanduser()
    name = f"local-dir:{folder.resolve()}" if folder.is_dir() else rest
    weights = _weights(folder, settings)
    model, coverage = create(name, settings, weights, request.seed)
    spec = apply_input(input_spec(model), settings)
    encoder = ExternalEncoder(rest, TimmMaps(model), spec, fixed_size=takes_one_size(model))
    return ExternalBackbone(f"timm:{rest}", encoder, coverage)


def _weights(folder: Path, settings: TimmSettings) -> Path | None:
    if settings.weights:
        return Path(settings.weights).expanduser()
    if not folder.is_dir() or not settings.pretrained:
        return None
    names = [
        name for name in ("model.safetensors", "pytorch_model.bin") if (folder / name).is_file()
    ]
    if not names:
        raise MissingDependencyError(
            f"{folder} has no model.safetensors or pytorch_model.bin.", "Copy the weights there."
        )
    return folder / names[0]


def create(
    name: str, settings: TimmSettings, weights: Path | None, seed: int
) -> tuple[nn.Module, Coverage | None]:
    """Return the model and, where its weights come from a file of the user's, how much of it they
    fill."""
    _check_name(name)
    downloads = settings.pretrained and weights is None
    if downloads:
        default_progress().say(
            f"timm:{name}: taking its weights from the cache of the hub, or downloading them"
        )
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = timm.create_model(
                name, pretrained=downloads, num_classes=0, **size_options(name, settings)
            )
    except (OSError, RuntimeError, ValueError) as error:
        raise MissingDependencyError(
            f"timm:{name} could not be made: {_reason(error)}.", _how_to_bring(name)
        ) from error
    if weights is None:
        return model, None
    if not settings.pretrained:
        raise SettingError(
            f"timm:{name} has both weights and pretrained=false.", "Give one of the two."
        )
    state = state_dict_of(read_weights(weights), weights, settings.key)
    chosen = take_prefix(state, (settings.prefix,)) if settings.prefix else state
    return model, fill_with_hint(model, chosen, state, weights, name)


def fill_with_hint(
    model: nn.Module,
    chosen: dict[str, torch.Tensor],
    state: dict[str, torch.Tensor],
    path: Path,
    name: str,
) -> Coverage:
    """Fill `model`; where that fails and another prefix would fit, name it in the error."""
    try:
        return fill(model, chosen, path, name)
    except CheckpointError as error:
        wanted = set(model.state_dict())
        found = {
            key[: -len(inner)]
            for key in state
            for inner in _inner(key)
            if inner in wanted and inner != key
        }
        best = max(
            found,
            key=lambda prefix: sum(
                key.removeprefix(prefix) in wanted for key in state if key.startswith(prefix)
            ),
            default="",
        )
        hint = (
            f"Its keys fit with prefix={best}"
            if best
            else f"Its keys begin with {', '.join(list(state)[:3])}."
        )
        raise CheckpointError(str(error.args[0]), hint) from error


def _inner(key: str) -> list[str]:
    parts = key.split(".")
    return [".".join(parts[start:]) for start in range(1, len(parts))]


def _check_name(name: str) -> None:
    if name.startswith(("local-dir:", "hf-hub:", "hf_hub:")):
        return
    base = name.partition(".")[0]
    if not timm.is_model(base):
        near = difflib.get_close_matches(base, timm.list_models(), n=5, cutoff=0.3)
        raise UnknownNameError(
            f"timm has no model '{name}'.", f"Did you mean {' or '.join(near)}?" if near else ""
        )


def size_options(name: str, settings: InputSettings) -> dict[str, Any]:
    """Return the arguments that let a ViT take images of any size (positions interpolated)."""
    plain = name.startswith(("local-dir:", "hf-hub:", "hf_hub:")) or is_model_in_modules(
        name.partition(".")[0], _ANY_SIZE
    )
    return {"dynamic_img_size": True} if plain and _is_vit(name) else {}


def _is_vit(name: str) -> bool:
    if not name.startswith("local-dir:"):
        return not name.startswith(("hf-hub:", "hf_hub:"))
    import json

    config = Path(name.removeprefix("local-dir:")) / "config.json"
    if not config.is_file():
        raise MissingDependencyError(
            f"{config.parent} has no config.json.", "It is no folder of a timm model."
        )
    return is_model_in_modules(
        str(json.loads(config.read_text(encoding="utf-8")).get("architecture", "")), _ANY_SIZE
    )


def takes_one_size(model: nn.Module) -> bool:
    """Tell whether a model takes images of one size only."""
    if getattr(model, "dynamic_img_size", False):
        return False
    patches = getattr(model, "patch_embed", None)
    return bool(getattr(patches, "img_size", None)) and bool(
        getattr(patches, "strict_img_size", True)
    )


def input_spec(model: nn.Module) -> InputSpec:
    """Return the input contract in the model's own configuration."""
    config = resolve_model_data_config(model)
    size = int(config["input_size"][-1])
    interpolation: Literal["bilinear", "bicubic"] = (
        "bicubic" if config["interpolation"] == "bicubic" else "bilinear"
    )
    resize = max(size, round(size / float(config["crop_pct"])))
    return InputSpec(
        size, resize, tuple(config["mean"]), tuple(config["std"]), interpolation=interpolation
    )


def _reason(error: BaseException) -> str:
    return (
        f"{type(error).__name__}: "
        f"{str(error).strip().splitlines()[0] if str(error).strip() else ''}"
    ).rstrip(".: ")


def _how_to_bring(name: str) -> str:
    return (
        "Download it on a machine with network access (`huggingface-cli download "
        f"timm/{name}`) and copy $HF_HOME "
        f"here, or give its "
        f"folder (timm:FOLDER) or a weights file (timm:{name}?weights=PATH); random weights "
        "only by ?pretrained=false."
    )
