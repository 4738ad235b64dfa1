"""Losses, where plug-ins import them from; they stand in `backbones.shared.alignment`."""
