"""Progress, for plug-ins written before it moved to `bench.core.progress`."""

from bench.core.progress import (
    RichProgress,
    Silent,
    default_progress,
)

__all__ = [
    "RichProgress",
    "Silent",
    "default_progress",
]
