"""The registry, for plug-ins written before it moved to `bench.core.registry`."""

from bench.core.registry import (
    ENTRY_POINT_GROUP,
    Registry,
    Scheme,
    T,
    discover,
    load_plugin,
    parse_query,
    suggest,
)

__all__ = [
    "ENTRY_POINT_GROUP",
    "Registry",
    "Scheme",
    "T",
    "discover",
    "load_plugin",
    "parse_query",
    "suggest",
]
