"""ConVIRT: instance alignment of a radiograph and its report."""

from __future__ import annotations

from backbones.shared.pretraining.declare import method

method(
    "convirt",
    network="backbones.convirt.model:ConVIRT",
    title="ConVIRT, re-implemented: instance alignment only, trained here",
    citation=(
        "Zhang et al., Contrastive learning of medical visual representations from paired images "
        "and text, MLHC 2022"
    ),
    licence="Apache-2.0",
    source="arXiv 2010.00747",
    default=True,
)
