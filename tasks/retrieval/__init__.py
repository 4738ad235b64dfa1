"""Retrieval of reports by image and of images by report, over all candidates of the test set."""

from bench.contracts import KINDS
from tasks.retrieval.kind import RetrievalKind
from tasks.retrieval.settings import RetrievalSettings

__all__ = ["RetrievalKind", "RetrievalSettings"]

KINDS.add("retrieval", RetrievalKind())
