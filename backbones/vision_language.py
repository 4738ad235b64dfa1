"""The base of image-report methods, where plug-ins import it from."""

from backbones.shared.pretraining.vision_language import (
    Batch,
    GivesQueries,
    LoadedLocalMethod,
    LoadedMethod,
    VisionLanguageMethod,
    embed,
    project,
    projection,
    text_batch,
    word_cosines,
)
from bench.contracts import GivesGrounding

__all__ = [
    "Batch",
    "GivesGrounding",
    "GivesQueries",
    "LoadedLocalMethod",
    "LoadedMethod",
    "VisionLanguageMethod",
    "embed",
    "project",
    "projection",
    "text_batch",
    "word_cosines",
]
