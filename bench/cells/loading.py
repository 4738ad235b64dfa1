"""Build an encoder and see that it is what was asked for."""

from __future__ import annotations

from bench.contracts import BackboneRequest, BackboneSpec, ImageEncoder
from bench.core.errors import SettingError
from bench.encoding.probe import attribute_faults


def load_encoder(spec: BackboneSpec, request: BackboneRequest, device: str) -> ImageEncoder:
    """Return the encoder of a declaration on a device, in evaluation mode. Raise
    PlaceBenchError where its builder returned something else, or another architecture than was
    asked for."""
    encoder = spec.build(request)
    _check_attributes(spec.name, encoder)
    _check_architecture(encoder, request.architecture)
    encoder.module.to(device).eval()
    return encoder


def _check_attributes(name: str, encoder: object) -> None:
    if encoder is None or isinstance(encoder, type):
        returned = "None" if encoder is None else f"the class {encoder.__name__}"
        raise SettingError(
            f"the builder of backbone '{name}' returned {returned}.",
            "Return an encoder: bench.contracts.ImageEncoder says what it has.",
        )
    for fault in attribute_faults(encoder):
        raise fault


def _check_architecture(encoder: ImageEncoder, named: str) -> None:
    """Raise SettingError where the encoder that was loaded is not the one that key and table
    name."""
    if named not in ("", encoder.architecture, encoder.family):
        raise SettingError(
            f"backbone '{encoder.name}' is a {encoder.architecture}, architecture '{named}' was "
            "asked for.",
            "Leave --arch out.",
        )
