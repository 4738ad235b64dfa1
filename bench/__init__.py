"""place-bench engine: knows no single task, dataset or method by name.

From Python: `bench.run`, `bench.score`, `bench.compare`, `bench.load_backbone`,
`bench.load_dataset` (docs/python.md). They are imported when first used, so that importing `bench`
stays light.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.core.torchvision_shim import prepare_torchvision

if TYPE_CHECKING:
    from bench.api import Outcome, compare, load_backbone, load_dataset, run, score

__version__ = "0.1.0"
__all__ = ["Outcome", "compare", "load_backbone", "load_dataset", "run", "score"]

prepare_torchvision()


def __getattr__(name: str) -> Any:
    if name in __all__:
        from bench import api

        return getattr(api, name)
    raise AttributeError(f"module 'bench' has no attribute '{name}'")
