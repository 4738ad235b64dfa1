"""The image as a whole: what zero-shot classification does unless something else is asked for."""

from __future__ import annotations

from bench.contracts import Body
from tasks.zero_shot.inference import INFERENCES, Inference

INFERENCES.add(
    "whole", Inference("the image as a whole", Body("tasks.zero_shot.scoring:whole_scores"))
)
