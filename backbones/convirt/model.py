"""ConVIRT on equal terms: instance alignment only, with the encoders, heads and recipe of the other
methods."""

from __future__ import annotations

import torch

from backbones.shared.alignment.gather import gather
from backbones.shared.alignment.kernels import symmetric_info_nce
from backbones.shared.pretraining.settings import MethodSettings
from backbones.shared.pretraining.vision_language import Batch, VisionLanguageMethod, text_batch


class ConVIRT(VisionLanguageMethod[MethodSettings]):
    """InfoNCE between a radiograph and its whole report (Zhang et al. 2020, arXiv 2010.00747)."""

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return `loss_ita` over the global batch."""
        images = self.embed_features(self.image_encoder.features(batch["images"]))
        texts = self.text_states(text_batch(batch))[1]
        return {
            "loss_ita": symmetric_info_nce(gather(images), gather(texts), tau=self.settings.tau1)
        }
