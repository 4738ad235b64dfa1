"""A pre-training method of one's own: `place-bench --plugin method.py pretrain siglip`, then `run
TASK --backbones siglip`."""

from __future__ import annotations

import torch
from torch.nn import functional

from backbones.shared.alignment.gather import gather
from backbones.shared.encoders.architectures import architecture_name
from backbones.shared.pretraining.checkpoint import load_method
from backbones.shared.pretraining.settings import MethodSettings
from backbones.shared.pretraining.vision_language import Batch, VisionLanguageMethod, text_batch
from bench.contracts import Backbone, BackboneRequest, backbone


class SigLip(VisionLanguageMethod):
    """Every pair of the batch is a yes-or-no question: do image and report belong together? (Zhai
    et al., ICCV 2023)."""

    settings_type = MethodSettings

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return `loss_pairs` over the global batch."""
        images = gather(self.embed_features(self.image_encoder.features(batch["images"])))
        texts = gather(self.text_states(text_batch(batch))[1])
        signs = 2 * torch.eye(len(images), device=images.device) - 1
        return {
            "loss_pairs": -functional.logsigmoid(signs * (10 * images @ texts.T - 5)).sum(1).mean()
        }


@backbone(
    "siglip",
    title="SigLIP, an example",
    architecture=architecture_name,
    method=f"{__name__}:SigLip",
    trainer="backbones.pretrain",
    pretrain_on="mimic_cxr",
)
def build(request: BackboneRequest) -> Backbone:
    """Return the encoders of a checkpoint written by `place-bench pretrain siglip`."""
    return load_method("siglip", request)
