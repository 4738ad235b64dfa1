"""Progress bars with time left (rich), or one line per stage where the output is not a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class RichProgress:
    """Report long work on the terminal; without one, print a line at the start and every 30
    seconds."""

    def __init__(self) -> None:
        from rich.console import Console

        self.console = Console(stderr=True, soft_wrap=True)

    def say(self, message: str) -> None:
        """Print one line above the bars."""
        self.console.print(message, highlight=False, markup=False)

    @contextmanager
    def track(self, title: str, total: int | None = None) -> Iterator[Callable[..., None]]:
        """Open a bar; the yielded `advance(n=1)` moves it on."""
        if self.console.is_terminal:
            yield from self._bar(title, total)
        else:
            yield from self._lines(title, total)

    def _bar(self, title: str, total: int | None) -> Iterator[Callable[..., None]]:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.console, transient=True) as bar:
            handle = bar.add_task(title, total=total)
            yield lambda n=1: bar.advance(handle, n)

    def _lines(self, title: str, total: int | None) -> Iterator[Callable[..., None]]:
        start = last = time.monotonic()
        done = 0

        def advance(n: int = 1) -> None:
            """Count `n` more, and say so where nothing was said for 30 seconds."""
            nonlocal last, done
            done += n
            now = time.monotonic()
            if now - last > 30:
                left = ""
                if total and done:
                    seconds = (now - start) * (total - done) / done
                    left = f", {seconds:.0f} s left"
                self.say(f"{title}: {done}/{total or '?'} in {now - start:.0f} s{left}")
                last = now

        yield advance
        if time.monotonic() - start > 2:
            self.say(f"{title}: done in {time.monotonic() - start:.1f} s")


class Silent:
    """Report nothing (tests, library use)."""

    def say(self, message: str) -> None:
        """Drop the message."""

    @contextmanager
    def track(self, title: str, total: int | None = None) -> Iterator[Callable[..., None]]:
        """Yield an `advance` that does nothing."""
        yield lambda n=1: None


def default_progress() -> RichProgress | Silent:
    """Return bars for a command line, silence when stderr is closed."""
    return RichProgress() if sys.stderr else Silent()
