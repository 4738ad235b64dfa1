"""Where ImageNet weights lie on this machine. Imports no torch."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from backbones.imagenet.settings import ImageNetSettings
from backbones.shared.encoders.architectures import requested_architecture
from bench.contracts import BackboneRequest
from bench.core.errors import MissingDependencyError, SettingError

HUB = {
    "resnet50": "timm/resnet50.a1_in1k",
    "vit_base_patch16_224": "timm/vit_base_patch16_224.augreg2_in21k_ft_in1k",
}


def find_weights(request: BackboneRequest) -> Path | None:
    """Return the weights file a request means (`weights=PATH`, the checkpoint, timm's in the local
    hub cache), or None."""
    check_settings(request)
    path = request.settings.get("weights") or request.checkpoint
    return Path(path) if path else _cached(HUB.get(requested_architecture(request).name, ""))


def check_settings(request: BackboneRequest) -> None:
    """Raise SettingError for a setting that the encoder does not have."""
    unknown = sorted(set(request.settings) - {field.name for field in fields(ImageNetSettings)})
    if unknown:
        raise SettingError(
            f"backbone 'imagenet' has no setting '{unknown[0]}'.", "It has: weights."
        )


def _cached(repository: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(repository, "model.safetensors") if repository else None
    return Path(path) if isinstance(path, str) else None


def require_weights(request: BackboneRequest) -> Path:
    """Return the weights file; raise MissingDependencyError, saying how to bring it, where there is
    none."""
    path = find_weights(request)
    if path is not None:
        return path
    name = requested_architecture(request).name
    if name not in HUB:
        raise MissingDependencyError(
            f"there are no ImageNet weights for '{name}'.",
            f"Choose one of {', '.join(sorted(HUB))}, e.g. with --profile paper, or the encoder "
            "imagenet_lite.",
        )
    raise MissingDependencyError(
        f"ImageNet weights of '{name}' are not on this machine.",
        f"Download model.safetensors of https://huggingface.co/{HUB[name]} and pass --set "
        "backbone.weights=PATH.",
    )
