"""Grounding: where in an image a label, a sentence or a phrase is, told by maps of encoders."""

from bench.contracts import KINDS
from tasks.grounding.kind import GroundingKind
from tasks.grounding.settings import GroundingSettings

__all__ = ["GroundingKind", "GroundingSettings"]

KINDS.add("grounding", GroundingKind())
