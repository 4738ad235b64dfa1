"""Semantic segmentation: a decoder of mmsegmentation on a (frozen) encoder, one sigmoid per
class."""

from bench.contracts import KINDS
from tasks.segmentation.kind import SegmentationKind
from tasks.segmentation.settings import SegmentationSettings

__all__ = ["SegmentationKind", "SegmentationSettings"]

KINDS.add("segmentation", SegmentationKind())
