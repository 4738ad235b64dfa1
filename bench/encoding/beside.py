"""An encoder beside a module of torch, which uses it without holding it."""

from __future__ import annotations

from dataclasses import dataclass

from bench.contracts import ImageEncoder


@dataclass(frozen=True)
class Beside:
    """What a module keeps an encoder in that is no part of it. An encoder that is a module of torch
    itself would become a sub-module as an attribute: saved, moved and trained with the head."""

    encoder: ImageEncoder
