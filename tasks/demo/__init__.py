"""Radiographs rendered from one chest CT, written in the native layout of the datasets: the demo
data."""

RENDERER_VERSION = 2
"""Raise when the same seed renders other pixels or texts: demos are made again."""
