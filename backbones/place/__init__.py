"""PLACE: pathological-level cross-modal alignment and correlation exploration, an independent
re-implementation."""

from __future__ import annotations

from backbones.shared.encoders.architectures import architecture_name
from bench.contracts import Backbone, BackboneRequest, backbone


@backbone(
    "place",
    title="PLACE, independent re-implementation, trained here",
    licence="Apache-2.0",
    citation="Wang et al., Improving medical visual representation learning with "
    "pathological-level "
    "cross-modal alignment and "
    "correlation exploration, 2025",
    source="arXiv 2506.10573",
    architecture=architecture_name,
    method="backbones.place.model:Place",
    trainer="backbones.shared.pretraining.trainer",
    pretrain_on="mimic_cxr",
    default=True,
)
def build(request: BackboneRequest) -> Backbone:
    """Return the encoders of a checkpoint written by `place-bench pretrain place`."""
    from backbones.place.model import loaded
    from backbones.shared.pretraining.checkpoint import load_method

    return load_method("place", request, loaded)
