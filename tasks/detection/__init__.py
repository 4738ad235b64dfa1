"""Object detection: a detector of mmdetection on a (frozen) encoder."""

from bench.contracts import KINDS
from tasks.detection.kind import DetectionKind
from tasks.detection.settings import DetectionSettings

__all__ = ["DetectionKind", "DetectionSettings"]

KINDS.add("detection", DetectionKind())
