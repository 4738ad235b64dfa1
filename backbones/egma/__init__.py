"""EGMA: alignment of patches with sentences, guided by where radiologists look."""

from __future__ import annotations

from backbones.egma.settings import EGMASettings
from backbones.shared.pretraining.declare import method

method(
    "egma",
    network="backbones.egma.model:EGMA",
    settings=EGMASettings,
    title="EGMA, re-implemented: patches and sentences aligned by eye gaze, trained here",
    citation=(
        "Ma et al., Eye-gaze guided multi-modal alignment for medical representation learning, "
        "NeurIPS 2024"
    ),
    licence="Apache-2.0",
    source="arXiv 2403.12416",
    pretrain_on="egd_cxr",
    supervision=("gaze",),
)
