"""What the registries of a kind's strategies share: regularisers, decoders, ways of looking."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from bench.core.errors import PlaceBenchError


class Strategy(Protocol):
    """What every strategy declares beside its functions."""

    @property
    def settings(self) -> type[Any]:
        """Return the settings of the kind with those of the strategy beside."""
        ...


def strategy_faults(
    title: str,
    declared: Any,
    expected: type[Strategy],
    how: str,
    *,
    settings: type,
    functions: Sequence[str],
    optional: Sequence[str] = (),
) -> Iterator[PlaceBenchError]:
    """Yield what is wrong with a strategy of a kind: no `expected` (`how` says how one is written),
    an attribute that is no function (None is one of `optional`), or `settings` that do not derive
    from the kind's."""
    if not isinstance(declared, expected):
        yield PlaceBenchError(f"{title} is {declared!r}.", how)
        return
    for attribute in functions:
        function = getattr(declared, attribute)
        if not callable(function) and not (function is None and attribute in optional):
            yield PlaceBenchError(
                f"{title}: {attribute} is {function!r}.", "It must be a function, or a Body."
            )
    if not isinstance(declared.settings, type) or not issubclass(declared.settings, settings):
        yield PlaceBenchError(
            f"{title}: settings is {declared.settings!r}.",
            f"It must be a dataclass that derives from {settings.__name__}.",
        )
