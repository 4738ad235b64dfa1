"""Zero-shot classification: an image belongs to the class whose prompts it resembles most."""

import importlib
import pkgutil

from bench.contracts import KINDS
from tasks.zero_shot import inference
from tasks.zero_shot.kind import ZeroShotKind
from tasks.zero_shot.settings import ZeroShotSettings

__all__ = ["ZeroShotKind", "ZeroShotSettings"]

KINDS.add("zero_shot", ZeroShotKind())
for module in pkgutil.iter_modules(inference.__path__):
    importlib.import_module(f"{inference.__name__}.{module.name}")
