"""Compare everything in a cache folder with its checksums."""

from __future__ import annotations

from pathlib import Path

from bench.data.slots import store_faults
from bench.data.tables import facts_faults
from bench.encoding.feature_store import FeatureStore


def verify_caches(home: Path) -> list[str]:
    """Return what is damaged in the cache folder `home`, a sentence each; every file is read.

    Nothing is changed: what is damaged is made again by the next run that uses it.
    """
    faults: list[str] = []
    for folder in sorted((home / "images").glob("*-*")):
        faults += store_faults(folder)
    for folder in sorted((home / "features").glob("*")):
        faults += FeatureStore(folder).faults()
    for path in sorted((home / "facts").glob("*.facts")):
        faults += facts_faults(path)
    return faults
