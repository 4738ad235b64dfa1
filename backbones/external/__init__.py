"""Encoders from elsewhere in one argument: timm:, hf:, torchxrayvision:, open_clip:, file:."""

from __future__ import annotations

import importlib
from functools import partial

from backbones.external import sources
from backbones.external.settings import SETTINGS
from bench.contracts import BACKBONES, Backbone, BackboneRequest, BackboneSpec, images_only
from bench.core.errors import SettingError
from bench.core.naming import join_name
from bench.core.settings import override

_SCHEMES = {
    "timm": (
        "timm_models",
        "A timm model with its pre-trained weights, by name or folder",
        "timm:vit_base_patch14_dinov2.lvd142m",
    ),
    "hf": (
        "huggingface",
        "A transformers model (ViT, DINOv2, CLIP ...) by name or folder",
        "hf:microsoft/rad-dino",
    ),
    "torchxrayvision": (
        "xrayvision",
        "A torchxrayvision model",
        "torchxrayvision:densenet121-res224-all",
    ),
    "open_clip": ("openclip", "An open_clip model", "open_clip:ViT-B-16?pretrained=openai"),
    "file": (
        "weights_file",
        "Any weights file of a timm architecture",
        "file:encoder.pth?arch=resnet50&prefix=encoder.",
    ),
}
_IMAGES_ONLY = ("timm", "torchxrayvision", "file")
_SUPERVISION = {"torchxrayvision": ("labels",)}
"""Those models are classifiers of findings. What other sources learned from depends on the model,
and is not known here."""


def _declare(scheme: str, rest: str) -> BackboneSpec:
    module, title, example = _SCHEMES[scheme]
    if not rest:
        raise SettingError(f"'{scheme}:' names no model.", f"Write e.g. {example}.")
    return BackboneSpec(
        name=f"{scheme}:{rest}",
        title=title,
        build=partial(_build, module, rest),
        licence="see its source",
        source=scheme,
        architecture=partial(sources.architecture, scheme, rest),
        weights_file=partial(sources.weights_file, scheme, rest),
        weights_digest=partial(sources.weights_digest, scheme, rest),
        same_as=partial(_as_timm, rest) if scheme == "file" else None,
        check=partial(_check, scheme),
        settings_type=SETTINGS[scheme],
        why_no_text=partial(_why_no_text, scheme),
        supervision=_SUPERVISION.get(scheme, ()),
    )


def _as_timm(path: str, request: BackboneRequest) -> str:
    """Return how `timm:` names a weights file of one of its architectures."""
    settings = {**request.settings, "weights": path}
    return join_name("timm", settings.pop("arch", ""), settings)


def _check(scheme: str, request: BackboneRequest) -> None:
    override(SETTINGS[scheme](), request.settings)


def _why_no_text(scheme: str, request: BackboneRequest) -> str:
    return images_only(request) if scheme in _IMAGES_ONLY else ""


def _build(module: str, rest: str, request: BackboneRequest) -> Backbone:
    return importlib.import_module(f"backbones.external.{module}").build(rest, request)


for _scheme, (_, _title, _example) in _SCHEMES.items():
    BACKBONES.add_scheme(_scheme, partial(_declare, _scheme), title=_title, example=_example)
