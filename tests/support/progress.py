"""A progress that remembers what it was told."""

from __future__ import annotations

from bench.core.progress import Silent


class Said(Silent):
    """Show nothing; keep every sentence in `lines`."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, message: str) -> None:
        self.lines.append(message)
