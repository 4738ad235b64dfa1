"""Which encoder architectures exist and what images they want. Imports neither torch nor timm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from bench.contracts import BackboneRequest, InputSpec, Profile
from bench.core.errors import SettingError, UnknownNameError
from bench.core.registry import suggest


@dataclass(frozen=True)
class Architecture:
    """One image encoder: `options` are the arguments of timm's `ResNet` or `VisionTransformer`;
    widths are in channels."""

    name: str
    family: Literal["resnet", "vit"]
    input: InputSpec
    pooled_dim: int
    patch_dim: int
    pyramid_channels: tuple[int, ...]
    pyramid_strides: tuple[int, ...]
    timm_name: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


def _resnet(
    name: str, spec: InputSpec, widths: tuple[int, ...], timm_name: str = "", **options: Any
) -> Architecture:
    """Declare a ResNet: local tokens come from layer3, pooled features from layer4."""
    return Architecture(
        name, "resnet", spec, widths[3], widths[2], widths, (4, 8, 16, 32), timm_name, options
    )


def _vit(
    name: str, spec: InputSpec, dim: int, patch: int, timm_name: str = "", **options: Any
) -> Architecture:
    """Declare a ViT: pooled feature is the class token, the pyramid four blocks at the stride of
    the patch."""
    options = {"img_size": spec.size, "embed_dim": dim, "patch_size": patch, **options}
    return Architecture(name, "vit", spec, dim, dim, (dim,) * 4, (patch,) * 4, timm_name, options)


_DEMO = InputSpec(size=128, resize=144)
_THIN: dict[str, Any] = {
    "layers": (1, 1, 1, 1),
    "channels": (32, 64, 128, 256),
    "stem_type": "deep",
    "stem_width": 8,
}
_PAPER = InputSpec(size=224, resize=256)

ARCHITECTURES: dict[str, Architecture] = {
    item.name: item
    for item in (
        _resnet("resnet_demo", _DEMO, (32, 64, 128, 256), block="basic", **_THIN),
        _vit("vit_demo", _DEMO, 192, 16, depth=6, num_heads=3),
        _resnet(
            "resnet50",
            _PAPER,
            (256, 512, 1024, 2048),
            "resnet50",
            block="bottleneck",
            layers=(3, 4, 6, 3),
        ),
        _vit(
            "vit_base_patch16_224", _PAPER, 768, 16, "vit_base_patch16_224", depth=12, num_heads=12
        ),
    )
}
_FAMILIES: dict[Profile, dict[str, str]] = {
    "demo": {"resnet": "resnet_demo", "vit": "vit_demo"},
    "paper": {"resnet": "resnet50", "vit": "vit_base_patch16_224"},
}
_DEFAULTS: dict[Profile, str] = {"demo": "resnet", "paper": "vit"}


def resolve_architecture(profile: Profile, architecture: str = "") -> Architecture:
    """Return the architecture of a request: a family ("resnet", "vit"), a full name, or "" for the
    profile's default.

    Raises UnknownNameError with the nearest names.
    """
    asked = architecture or _DEFAULTS[profile]
    name = _FAMILIES[profile].get(asked, asked)
    if name not in ARCHITECTURES:
        raise UnknownNameError(
            f"unknown architecture '{architecture}'.",
            suggest(asked, {*ARCHITECTURES, "resnet", "vit"}),
        )
    return ARCHITECTURES[name]


def fixed_architecture(name: str, own: str, wanted: str) -> str:
    """Return the architecture of an encoder that has only this one ("" where it is not known yet);
    raise SettingError where another one is wanted. Its family ("resnet", "vit") may be named too.
    """
    family = wanted if wanted in ("resnet", "vit") else ""
    if own and wanted and wanted != own and not (family and own.lower().startswith(family)):
        raise SettingError(
            f"backbone '{name}' is a {own}, architecture '{wanted}' was asked for.",
            "Leave --arch out.",
        )
    return own


def requested_architecture(request: BackboneRequest) -> Architecture:
    """Return the architecture a BackboneRequest asks for."""
    return resolve_architecture(request.profile, request.architecture)


def architecture_name(request: BackboneRequest) -> str:
    """Return the full name of the architecture a BackboneRequest asks for."""
    return requested_architecture(request).name
