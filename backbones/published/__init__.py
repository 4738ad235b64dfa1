"""Published checkpoints of other people's methods, loaded from the files as they were released."""

from __future__ import annotations

from functools import partial

from backbones.published.files import (
    PublishedSettings,
    check_settings,
    requested_architecture,
    requested_digest,
    requested_text,
    requested_weights,
)
from backbones.published.table import PUBLISHED, PublishedWeights
from bench.contracts import BACKBONES, Backbone, BackboneRequest, BackboneSpec


def _build(published: PublishedWeights, request: BackboneRequest) -> Backbone:
    from backbones.published.loading import build

    return build(published, request)


for _item in PUBLISHED:
    BACKBONES.add(
        _item.name,
        BackboneSpec(
            name=_item.name,
            title=_item.title,
            build=partial(_build, _item),
            licence=_item.licence,
            citation=_item.citation,
            source=_item.where,
            architecture=partial(requested_architecture, _item),
            weights_file=partial(requested_weights, _item),
            weights_digest=partial(requested_digest, _item),
            check=check_settings,
            settings_type=PublishedSettings,
            why_no_text=partial(requested_text, _item),
            supervision=_item.supervision,
        ),
    )
