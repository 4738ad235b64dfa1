"""ConVIRT: instance alignment of a radiograph and its report."""

from __future__ import annotations

from backbones.shared.encoders.architectures import architecture_name
from bench.contracts import Backbone, BackboneRequest, backbone


@backbone(
    "convirt",
    title="ConVIRT, re-implemented: instance alignment only, trained here",
    licence="Apache-2.0",
    citation=(
        "Zhang et al., Contrastive learning of medical visual representations from paired images "
        "and text, MLHC 2022"
    ),
    source="arXiv 2010.00747",
    architecture=architecture_name,
    method="backbones.convirt.model:ConVIRT",
    trainer="backbones.shared.pretraining.trainer",
    pretrain_on="mimic_cxr",
    default=True,
)
def build(request: BackboneRequest) -> Backbone:
    """Return the encoders of a checkpoint written by `place-bench pretrain convirt`."""
    from backbones.shared.pretraining.checkpoint import load_method

    return load_method("convirt", request)
