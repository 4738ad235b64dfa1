"""The trainer by the name that declarations give it (`trainer="backbones.pretrain"`)."""

from backbones.shared.pretraining.trainer import *  # noqa: F403
