"""MLIP, re-built from its abstract: MGCA with a divergence encoder, definitions and categories."""

from __future__ import annotations

from backbones.mlip_reimpl.settings import MLIPSettings
from backbones.shared.pretraining.declare import method

method(
    "mlip_reimpl",
    network="backbones.mlip_reimpl.model:MLIP",
    settings=MLIPSettings,
    demo={"text_pooling": "mean"},  # as for MGCA
    title=(
        "MLIP, re-built from the abstract: MGCA with definitions and categories, trained here; "
        "differs from the authors' method in ways that cannot be known"
    ),
    citation=(
        "MLIP: Enhancing medical visual representation with divergence encoder and "
        "knowledge-guided contrastive learning, CVPR 2024"
    ),
    licence="Apache-2.0",
    source="arXiv 2402.02045 (the abstract; not arXiv 2401.01591, another MLIP)",
    supervision=("knowledge",),
)
