"""Hash of a file's content."""

from __future__ import annotations

from bench.hashing import file_sha256

__all__ = ["file_sha256"]
