"""Names of a demo's patients, studies and images that look like the real ones and never repeat."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from tasks.demo.writers import manifest


@lru_cache(maxsize=16)
def distinct(
    draw: Callable[..., str],
    key: tuple[object, ...],
    count: int,
    not_free: frozenset[str] = frozenset(),
) -> tuple[str, ...]:
    """Return `count` names, `draw(*key, number)` for each number from 0, none of `not_free`.

    Short names are digits of a hash, so that two numbers may draw the same one: the later number
    then draws `draw(*key, number, attempt)` until one is free. A name depends on earlier numbers
    alone, so that a larger demo begins with the names of a smaller one.
    """
    names: list[str] = []
    taken = set(not_free)
    for number in range(count):
        name = draw(*key, number)
        attempt = 0
        while name in taken:
            attempt += 1
            name = draw(*key, number, attempt)
        taken.add(name)
        names.append(name)
    return tuple(names)


def eight_digits(first: int, *parts: object) -> str:
    """Return a number of eight digits from `first` x 10,000,000 on."""
    drawn = int(manifest.digest(*parts)[:12], 16) % 9_999_999
    return str(first * 10_000_000 + drawn)
