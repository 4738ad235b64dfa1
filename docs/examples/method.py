"""A pre-training method of one's own: `place-bench --plugin method.py pretrain siglip`, then `run
TASK --backbones siglip`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch.nn import functional

from backbones.shared.alignment.gather import gather
from backbones.shared.pretraining.declare import method
from backbones.shared.pretraining.settings import MethodSettings
from backbones.shared.pretraining.vision_language import Batch, VisionLanguageMethod, text_batch
from bench.core.settings import Range, Scale


@dataclass(frozen=True)
class SigLIPSettings(MethodSettings):
    """What `--set` takes beside the settings that every method has."""

    scale: Scale = 10.0
    """What the cosine of a pair is multiplied with to be its logit."""
    bias: Annotated[float, Range(-100, 100)] = -10.0
    """What is added to that; below 0 a pair starts out as a wrong one, as most are."""


@method(
    "siglip",
    settings=SigLIPSettings,
    demo={"bias": -5.0},  # smaller batches hold fewer wrong pairs for each right one
    title="SigLIP, an example",
    citation="Zhai et al., Sigmoid loss for language image pre-training, ICCV 2023",
)
class SigLIP(VisionLanguageMethod[SigLIPSettings]):
    """Every pair of the batch is a yes-or-no question: do image and report belong together?"""

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return `loss_pairs` over the global batch."""
        images = gather(self.embed_features(self.image_encoder.features(batch["images"])))
        texts = gather(self.text_states(text_batch(batch))[1])
        logits = self.settings.scale * images @ texts.T + self.settings.bias
        signs = 2 * torch.eye(len(images), device=images.device) - 1
        return {"loss_pairs": -functional.logsigmoid(signs * logits).sum(1).mean()}
