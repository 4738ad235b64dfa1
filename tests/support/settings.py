"""Every settings class of the house, found by walking it."""

from __future__ import annotations

import importlib
from pathlib import Path

from bench.core.settings import CheckedSettings

ROOT = Path(__file__).parents[2]


def every_settings_class() -> list[type[CheckedSettings]]:
    """Return the settings of every head, pre-training method, encoder and of the trainer."""
    modules = ["bench.training.plan", "backbones.published.files"]
    for path in ROOT.glob("*/**/settings.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[0] in ("backbones", "tasks"):
            modules.append(".".join(parts))
    for module in modules:
        importlib.import_module(module)
    found: list[type[CheckedSettings]] = [CheckedSettings]
    for cls in found:
        found += cls.__subclasses__()
    packages = ("bench", "backbones", "tasks")
    return [cls for cls in dict.fromkeys(found[1:]) if cls.__module__.split(".")[0] in packages]


SETTINGS = {f"{cls.__module__}.{cls.__name__}": cls for cls in every_settings_class()}
