"""Not pre-trained: the encoder of the profile, trained end to end on the labels of each task. The
ceiling of a table, ranked in none."""

from __future__ import annotations

from functools import partial

from backbones.shared.encoders.architectures import architecture_name
from backbones.shared.encoders.untrained import build_untrained
from backbones.shared.pretraining.checks import no_settings
from bench.contracts import Backbone, BackboneRequest, backbone, images_only


@backbone(
    "supervised",
    title="Not pre-trained: trained end to end on the task's own labels",
    architecture=architecture_name,
    licence="Apache-2.0",
    source="this repository",
    check=partial(no_settings, "supervised"),
    why_no_text=images_only,
    seeded=True,
    frame="ceiling",
)
def build(request: BackboneRequest) -> Backbone:
    """Return an encoder of random weights, by the seed; a task trains a copy of it."""
    return build_untrained("supervised", request)
