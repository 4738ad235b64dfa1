"""Build an encoder and see that it is what was asked for."""

from __future__ import annotations

from bench.contracts import FAMILIES, BackboneRequest, BackboneSpec, ImageEncoder
from bench.core.errors import SettingError

_ATTRIBUTES = (
    "name",
    "architecture",
    "family",
    "input",
    "module",
    "pooled_dim",
    "patch_dim",
    "pyramid_channels",
    "pyramid_strides",
    "features",
)


def load_encoder(spec: BackboneSpec, request: BackboneRequest, device: str) -> ImageEncoder:
    """Return the encoder of a declaration on a device, in evaluation mode. Raise SettingError where
    its builder returned something else, or another architecture than was asked for."""
    encoder = spec.build(request)
    _check_attributes(spec.name, encoder)
    _check_architecture(encoder, request.architecture)
    encoder.module.to(device).eval()
    return encoder


def _check_attributes(name: str, encoder: object) -> None:
    hint = "bench.contracts.ImageEncoder says what an encoder has."
    if encoder is None or isinstance(encoder, type):
        returned = "None" if encoder is None else f"the class {encoder.__name__}"
        raise SettingError(f"the builder of backbone '{name}' returned {returned}.", hint)
    absent = [attribute for attribute in _ATTRIBUTES if not hasattr(encoder, attribute)]
    if absent:
        raise SettingError(f"backbone '{name}' lacks {', '.join(absent)}.", hint)


def _check_architecture(encoder: ImageEncoder, named: str) -> None:
    """Raise SettingError where the encoder that was loaded is not the one that key and table
    name, or of a family that no head knows."""
    if encoder.family not in FAMILIES:
        raise SettingError(
            f"backbone '{encoder.name}' is of the family '{encoder.family}'.",
            f"Its family must be {' or '.join(FAMILIES)}: heads are chosen by it.",
        )
    if named not in ("", encoder.architecture, encoder.family):
        raise SettingError(
            f"backbone '{encoder.name}' is a {encoder.architecture}, architecture '{named}' was "
            "asked for.",
            "Leave --arch out.",
        )
