"""What a report says: its findings with side and attributes, and what the terms mean."""

from __future__ import annotations

from collections.abc import Mapping

from bench.text.entity import Entity, entities
from bench.text.words import read_words

__all__ = ["Entity", "definitions", "entities"]

definitions: Mapping[str, str] = read_words("definitions.toml")
"""One plain sentence for each observation and each anatomical term, of our own writing."""
