"""Archives of arrays that are wrong in one place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Arrays = dict[str, Any]


def first_is(name: str, value: Any) -> Callable[[Arrays], Arrays]:
    """Return what sets the first value of an array, and leaves the arrays that it is given."""

    def change(arrays: Arrays) -> Arrays:
        """Return the arrays with that value."""
        changed = {key: array.copy() for key, array in arrays.items()}
        changed[name].reshape(-1)[0] = value
        return changed

    return change
