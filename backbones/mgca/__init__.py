"""MGCA: alignment of instances, of tokens inside a pair, and of prototypes."""

from __future__ import annotations

from backbones.mgca.settings import MGCASettings
from backbones.shared.pretraining.declare import method

method(
    "mgca",
    network="backbones.mgca.model:MGCA",
    settings=MGCASettings,
    # An untrained [CLS] is nearly the same for all reports: pooled from it, a small encoder of the
    # demo starts ill-conditioned.
    demo={"text_pooling": "mean"},
    title="MGCA, re-implemented: instance, token and prototype alignment, trained here",
    citation=(
        "Wang et al., Multi-granularity cross-modal alignment for generalized medical visual "
        "representation learning, NeurIPS 2022"
    ),
    licence="Apache-2.0",
    source="arXiv 2210.06044",
)
