"""The store that several tests of the engine fill."""

from tests.support.results import store

__all__ = ["store"]
