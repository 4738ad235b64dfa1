"""GLoRIA: alignment of whole images with reports, and of words with the image regions they attend
to."""

from __future__ import annotations

from backbones.gloria.settings import GLoRIASettings
from backbones.shared.pretraining.declare import method

method(
    "gloria",
    network="backbones.gloria.model:GLoRIA",
    settings=GLoRIASettings,
    title="GLoRIA, re-implemented: global and word-to-region alignment, trained here",
    citation=(
        "Huang et al., GLoRIA: A multimodal global-local representation learning framework for "
        "label-efficient medical image recognition, ICCV 2021"
    ),
    licence="Apache-2.0",
    source="doi 10.1109/ICCV48922.2021.00391",
)
