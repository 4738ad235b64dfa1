"""Settings of ConVIRT: those every method has."""

from backbones.settings import MethodSettings as Settings

__all__ = ["Settings"]
