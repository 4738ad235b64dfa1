"""Settings of ConVIRT: those every method has."""

from backbones.shared.pretraining.settings import MethodSettings as Settings

__all__ = ["Settings"]
