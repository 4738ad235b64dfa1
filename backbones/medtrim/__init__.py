"""MedTrim: triplets of studies that are more and less alike by findings, adjectives and sides."""

from __future__ import annotations

from backbones.medtrim.settings import MedTrimSettings
from backbones.shared.pretraining.declare import method

method(
    "medtrim",
    network="backbones.medtrim.model:MedTrim",
    settings=MedTrimSettings,
    demo={"pool": None},  # a batch of the demo holds enough studies to mine in
    title="MedTrim, re-implemented: triplets by findings, adjectives and sides, trained here",
    citation=(
        "MedTrim: Meta-entity driven triplet mining for aligning medical vision-language models, "
        "2025"
    ),
    licence="Apache-2.0",
    source="arXiv 2504.15929",
)
