"""MedTrim: studies are drawn together and pushed apart by what their reports name, in triplets."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import torch

from backbones.medtrim.losses import Views, triplet_losses
from backbones.medtrim.mining import Triplets, batches_of_triplets, mine
from backbones.medtrim.settings import MedTrimSettings
from backbones.shared.alignment.gather import gather
from backbones.shared.alignment.kernels import symmetric_info_nce
from backbones.shared.pretraining.vision_language import Batch, VisionLanguageMethod, text_batch
from bench.text.attributes import READERS, Attributes, attribute_similarity, encode

_logger = logging.getLogger(__name__)


class MedTrim(VisionLanguageMethod[MedTrimSettings]):
    """MedTrim (arXiv 2504.15929), re-implemented from its description."""

    _has_warned = False

    # --------------------------------------------------------------------------------------- mining
    def arrange(self, reports: Sequence[str], order: np.ndarray, batch_size: int) -> np.ndarray:
        """Return the rows of a pass so that batches hold triplets that were mined in `pool`
        studies."""
        pool = self.settings.pool
        if pool is None or pool <= batch_size:
            return order

        def triplets_of(rows: np.ndarray) -> Triplets:
            """Mine among some rows of the training studies."""
            return self.mine(self.attributes([reports[row] for row in rows]))

        return batches_of_triplets(order, triplets_of, batch_size=batch_size, pool=pool)

    def attributes(self, reports: Sequence[str]) -> Attributes:
        """Return what reports name; each different one is read once."""
        read = READERS[self.settings.entities]
        return encode([read(report) for report in reports])

    def mine(self, attributes: Attributes) -> Triplets:
        """Return the triplets among some studies."""
        settings = self.settings
        similarity = attribute_similarity(attributes, attributes, settings.weights)
        return mine(similarity, lower=settings.lower, upper=settings.upper)

    # --------------------------------------------------------------------------------------- losses
    def start_epoch(self, epoch: int) -> None:
        """Warn again, once in every epoch."""
        self._has_warned = False

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return `loss_image` and `loss_text` over the triplets in the global batch, with `infonce`
        also `loss_ita`; and `anchors_used`, the share of its studies that have a triplet."""
        settings = self.settings
        images = gather(self.embed_features(self.image_encoder.features(batch["images"])))
        texts = gather(self.text_states(text_batch(batch))[1])
        triplets = self.mine(self._all_attributes(batch["reports"], images.device))
        terms = self._triplet_terms(Views(images, texts), triplets)
        if settings.infonce:
            terms["loss_ita"] = settings.infonce * symmetric_info_nce(
                images, texts, tau=settings.tau1
            )
        terms["anchors_used"] = images.new_tensor(len(triplets) / len(images))
        return terms

    def _all_attributes(self, reports: Sequence[str], device: torch.device) -> Attributes:
        """Return the attributes of the global batch from this process's reports."""
        packed = torch.from_numpy(self.attributes(reports).packed().astype(np.uint8))
        return Attributes.unpacked(gather(packed.to(device)).cpu().numpy().astype(bool))

    def _triplet_terms(self, views: Views, triplets: Triplets) -> dict[str, torch.Tensor]:
        if not len(triplets):
            self._warn(len(views.images))
            nothing = 0 * (views.images.sum() + views.texts.sum())  # every weight gets a gradient
            return {"loss_image": nothing, "loss_text": nothing}
        anchor, positive, negative = (
            views.take(torch.from_numpy(rows).to(views.images.device))
            for rows in (triplets.anchors, triplets.positives, triplets.negatives)
        )
        image, text = triplet_losses(
            anchor,
            positive,
            negative,
            margin=self.settings.margin,
            own_pair=self.settings.own_pair,
        )
        return {"loss_image": image, "loss_text": text}

    def _warn(self, studies: int) -> None:
        if not self._has_warned:
            _logger.warning(
                "medtrim: none of the %d studies of a batch has a positive and a negative among "
                "the others: its loss is 0 (said once an epoch)",
                studies,
            )
        self._has_warned = True
