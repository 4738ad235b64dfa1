"""Encoders from outside the project are tried before a run decodes any image. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bench.cells.request import RunRequest, backbone_names, expand_tasks, table_rows
from bench.contracts import (
    BACKBONES,
    KINDS,
    TASKS,
    BackboneRequest,
    BackboneSpec,
    ImageEncoder,
    TaskSpec,
)
from bench.core.declaring import importing, is_built_in
from bench.core.errors import CheckpointError, NotApplicableError


def check_foreign_encoders(request: RunRequest) -> None:
    """Raise PlaceBenchError where an encoder from outside the project does not build, or gives what
    heads cannot use: it is built and tried on two images before any image of a task is decoded.

    Raise NotApplicableError where all tasks compare texts, and no row is an encoder that may read
    them.
    """
    tasks = [TASKS.get(name) for name in expand_tasks(request.tasks)]
    refusals: dict[str, NotApplicableError | None] = {}
    for name in backbone_names(request):
        spec = BACKBONES.get(name)
        declared = BACKBONES.get(name.partition("?")[0])
        if spec.method or is_built_in(declared.build):
            continue
        try:
            with importing(BACKBONES.plugin_of(declared.name), "failed", "Mend its encoder."):
                refusals[name] = _text_refusal(
                    check_builds(spec, request.build_request(name)), tasks
                )
        except CheckpointError:  # weights are a cell's own, and cells may be skipped
            if request.on_error == "stop":
                raise
    every = {row for task in tasks for row in table_rows(task, request)}
    rows = {row for row in every if not BACKBONES.get(row).baseline}
    if rows and all(refusals.get(row) for row in rows):
        raise next(filter(None, refusals.values()))


def _text_refusal(encoder: ImageEncoder, tasks: Sequence[TaskSpec]) -> NotApplicableError | None:
    """Return why an encoder can do none of the tasks, which all compare texts; None where it can do
    one."""
    from bench.encoding.similarity import need_text_side

    if not all(KINDS.get(task.kind).compares_texts for task in tasks):
        return None
    try:
        need_text_side(encoder, f"task '{tasks[0].name}'")
    except NotApplicableError as refusal:
        return refusal
    return None


def check_builds(spec: BackboneSpec, build_request: BackboneRequest) -> ImageEncoder:
    """Return the encoder of a builder; raise PlaceBenchError where it is none that heads can
    use."""
    import torch

    from bench.encoding.probe import check_encoder_gives

    with torch.random.fork_rng():
        encoder = spec.build(replace(build_request, architecture=spec.architecture(build_request)))
        check_encoder_gives(encoder)
    return encoder
