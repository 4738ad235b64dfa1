"""Settings of ConVIRT, those every method has, where plug-ins import them from."""

from backbones.shared.pretraining.settings import MethodSettings as Settings

__all__ = ["Settings"]
