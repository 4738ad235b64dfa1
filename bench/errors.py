"""Errors, for plug-ins written before they moved to `bench.core.errors`."""

from bench.core.errors import (
    CheckpointError,
    DataError,
    MissingDependencyError,
    NotApplicableError,
    NotMadeError,
    PlaceBenchError,
    SettingError,
    SplitLeakError,
    StorageError,
    UnknownNameError,
)

__all__ = [
    "CheckpointError",
    "DataError",
    "MissingDependencyError",
    "NotApplicableError",
    "NotMadeError",
    "PlaceBenchError",
    "SettingError",
    "SplitLeakError",
    "StorageError",
    "UnknownNameError",
]
