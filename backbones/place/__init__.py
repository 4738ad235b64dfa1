"""PLACE: pathological-level cross-modal alignment and correlation exploration, an independent
re-implementation."""

from __future__ import annotations

from backbones.place.settings import PLACESettings
from backbones.shared.pretraining.declare import method

method(
    "place",
    network="backbones.place.model:PLACE",
    settings=PLACESettings,
    demo={"vpoe_width": 96},
    title="PLACE, independent re-implementation, trained here",
    citation=(
        "Wang et al., Improving medical visual representation learning with pathological-level "
        "cross-modal alignment and correlation exploration, 2025"
    ),
    licence="Apache-2.0",
    source="arXiv 2506.10573",
    default=True,
)
