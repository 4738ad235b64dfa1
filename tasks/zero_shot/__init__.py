"""Zero-shot classification: an image belongs to the class whose prompts it resembles most."""

from bench.contracts import KINDS
from tasks.zero_shot.kind import ZeroShotKind
from tasks.zero_shot.settings import ZeroShotSettings

__all__ = ["ZeroShotKind", "ZeroShotSettings"]

KINDS.add("zero_shot", ZeroShotKind())
