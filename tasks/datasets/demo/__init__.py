"""Radiographs rendered from one chest CT, written in the native layout of the datasets: the demo data."""
