"""Where the words of a written report looked: attention of the decoder's last layer over the
patches of every image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from tasks.report_generation.data import Studies

EXAMPLES = 6


@runtime_checkable
class Looking(Protocol):
    """A writer that can say where it looked."""

    def looks(
        self, studies: Studies, rows: np.ndarray, texts: Sequence[str]
    ) -> list[tuple[list[str], np.ndarray]]:
        """Return per study of `rows` its words and, for each, a map [images, h, w]."""
        ...


def example_rows(named: np.ndarray) -> np.ndarray:
    """Return up to EXAMPLES reports to show: from those that name most observations to those that
    name none."""
    order = np.argsort(-named.sum(axis=1), kind="stable")
    count = min(EXAMPLES, len(order))
    places = np.linspace(0, len(order) - 1, count).round().astype(int)
    return order[np.unique(places)]


def look(
    writer: Looking, studies: Studies, texts: Sequence[str], rows: np.ndarray
) -> dict[str, np.ndarray]:
    """Return arrays `look:rows` [e], `look:words` [e, T] (blank behind the end) and `look:maps`
    float16 [e, T, images, h, w]."""
    looks = writer.looks(studies, rows, [texts[row] for row in rows])
    looks = [(words, maps) for words, maps in looks if words]
    if len(looks) < len(rows):
        rows = np.array([row for row in rows if texts[row].split()])
    if not looks:
        return {}
    longest = max(len(words) for words, _ in looks)
    shape = looks[0][1].shape[1:]
    words = np.full((len(looks), longest), "", dtype="<U40")
    maps = np.zeros((len(looks), longest, *shape), np.float16)
    for number, (pieces, weights) in enumerate(looks):
        words[number, : len(pieces)] = pieces
        maps[number, : len(pieces)] = weights
    return {"look:rows": rows, "look:words": words, "look:maps": maps}
