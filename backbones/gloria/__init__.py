"""GLoRIA: alignment of whole images with reports, and of words with the image regions they attend
to."""

from __future__ import annotations

from backbones.shared.encoders.architectures import architecture_name
from bench.contracts import Backbone, BackboneRequest, backbone


@backbone(
    "gloria",
    title="GLoRIA, re-implemented: global and word-to-region alignment, trained here",
    licence="Apache-2.0",
    citation="Huang et al., GLoRIA: A multimodal global-local representation learning framework "
    "for "
    "label-efficient medical "
    "image recognition, ICCV 2021",
    source="doi 10.1109/ICCV48922.2021.00391",
    architecture=architecture_name,
    method="backbones.gloria.model:Gloria",
    trainer="backbones.shared.pretraining.trainer",
    pretrain_on="mimic_cxr",
)
def build(request: BackboneRequest) -> Backbone:
    """Return the encoders of a checkpoint written by `place-bench pretrain gloria`."""
    from backbones.shared.pretraining.checkpoint import load_method
    from backbones.shared.pretraining.vision_language import LoadedLocalMethod

    return load_method("gloria", request, LoadedLocalMethod)
