"""Random weights: the floor that a pre-trained encoder has to clear."""

from __future__ import annotations

from functools import partial

from backbones.shared.encoders.architectures import architecture_name
from backbones.shared.encoders.untrained import build_untrained
from backbones.shared.pretraining.checks import no_settings
from bench.contracts import Backbone, BackboneRequest, backbone, images_only


@backbone(
    "random",
    title="Untrained encoder",
    architecture=architecture_name,
    licence="Apache-2.0",
    source="this repository",
    check=partial(no_settings, "random"),
    why_no_text=images_only,
    seeded=True,
    frame="floor",
    default=True,
)
def build(request: BackboneRequest) -> Backbone:
    """Return a frozen-at-initialisation encoder of the requested architecture; its weights depend
    on the seed alone."""
    return build_untrained("random", request)
