"""Words that every contract uses: profiles, kinds of data, what a bad file does, progress."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

Profile = Literal["demo", "paper"]


DataKind = Literal["real", "demo"]


OnError = Literal["stop", "skip"]


Scaling = Literal["range", "mgca"]
"""How the values of an image file become 8 bits: `bench.data.images.read_image` has both."""


DEMO_NOTE = "Rendered data: shows that the pipeline works, says nothing clinical."


@dataclass(frozen=True)
class Skipped:
    """What was left out: the image (or what the faulty row names), the file at fault, and why."""

    id: str
    path: str
    reason: str


class Progress(Protocol):
    """What long work reports to: `with progress.track("decoding", total=n) as step: step(1)`."""

    def track(self, title: str, total: int | None = None) -> Any:
        """Open a bar with time left; the context manager yields `advance(n=1)`."""
        ...

    def say(self, message: str) -> None:
        """Print one line above the bars."""
        ...
