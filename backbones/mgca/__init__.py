"""MGCA: alignment of instances, of tokens inside a pair, and of prototypes."""

from __future__ import annotations

from backbones.shared.encoders.architectures import architecture_name
from bench.contracts import Backbone, BackboneRequest, backbone


@backbone(
    "mgca",
    title="MGCA, re-implemented: instance, token and prototype alignment, trained here",
    licence="Apache-2.0",
    citation="Wang et al., Multi-granularity cross-modal alignment for generalized medical visual "
    "representation learning, "
    "NeurIPS 2022",
    source="arXiv 2210.06044",
    architecture=architecture_name,
    method="backbones.mgca.model:Mgca",
    trainer="backbones.shared.pretraining.trainer",
    pretrain_on="mimic_cxr",
)
def build(request: BackboneRequest) -> Backbone:
    """Return the encoders of a checkpoint written by `place-bench pretrain mgca`."""
    from backbones.shared.pretraining.checkpoint import load_method

    return load_method("mgca", request)
