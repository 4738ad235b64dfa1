"""Words that every contract uses: profiles, kinds of data, what a bad file does, progress."""

from __future__ import annotations

from typing import Any, Literal, Protocol

Profile = Literal["demo", "paper"]


DataKind = Literal["real", "demo"]


OnError = Literal["stop", "skip"]


Scaling = Literal["range", "mgca"]
"""How the values of an image file become 8 bits: `bench.data.images.read_image` has both."""


DEMO_NOTE = "Rendered data: shows that the pipeline works, says nothing clinical."


class Progress(Protocol):
    """What long work reports to: `with progress.track("decoding", total=n) as step: step(1)`."""

    def track(self, title: str, total: int | None = None) -> Any:
        """Open a bar with time left; the context manager yields `advance(n=1)`."""
        ...

    def say(self, message: str) -> None:
        """Print one line above the bars."""
        ...
