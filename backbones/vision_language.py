"""The base of image-report methods, where plug-ins import it from."""

from backbones.shared.pretraining.vision_language import (
    Batch,
    GivesGrounding,
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
