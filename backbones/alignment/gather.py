"""Gathering over processes, where plug-ins import it from."""

from backbones.shared.alignment.gather import gather

__all__ = ["gather"]
