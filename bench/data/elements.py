"""Values of DICOM elements, checked: what is wrong is named by keyword and tag."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bench.core.errors import DataError

if TYPE_CHECKING:
    import pydicom

LEAVE_OUT = "Correct the file, or leave it out with --on-error skip."


def element(keyword: str) -> str:
    """Return keyword and tag, e.g. "Rows (0028,0010)"."""
    from pydicom.datadict import tag_for_keyword

    tag = tag_for_keyword(keyword) or 0
    return f"{keyword} ({tag >> 16:04X},{tag & 0xFFFF:04X})"


def number(
    header: pydicom.Dataset, keyword: str, default: float | None = None, *, first: bool = False
) -> float:
    """Return the one finite number of an element (with `first` the first of several); `default`
    where it is absent or empty.

    Raise DataError naming the element for anything else, and where it is absent without a default.
    """
    value = _value(header, keyword)
    if first and isinstance(value, Sequence) and not isinstance(value, str) and value:
        value = value[0]
    if value is None or value in ("", b""):
        if default is None:
            raise DataError(f"it lacks {element(keyword)}.", LEAVE_OUT)
        return default
    try:
        figure = float(value)
    except (TypeError, ValueError, OverflowError):
        figure = math.nan
    if not math.isfinite(figure):
        raise DataError(
            f"its {element(keyword)} is '{_short(value)}'; one finite number was expected.",
            LEAVE_OUT,
        )
    if keyword == "RescaleSlope" and figure == 0:
        raise DataError(f"its {element(keyword)} is 0, which leaves no picture.", LEAVE_OUT)
    return figure


def integer(header: pydicom.Dataset, keyword: str, default: int | None = None) -> int:
    """Return the one whole number of an element, as `number` does."""
    figure = number(header, keyword, default)
    if figure != int(figure):
        raise DataError(
            f"its {element(keyword)} is {figure:g}; a whole number was expected.", LEAVE_OUT
        )
    return int(figure)


def text(header: pydicom.Dataset, keyword: str) -> str:
    """Return the text of an element; raise DataError naming it where it is absent or empty."""
    value = str(_value(header, keyword) or "").strip()
    if not value:
        raise DataError(f"it lacks {element(keyword)}.", LEAVE_OUT)
    return value


def sequence_item(header: pydicom.Dataset, keyword: str) -> pydicom.Dataset | None:
    """Return the first item of a sequence; None where it is absent or empty."""
    items = _value(header, keyword)
    if items and not hasattr(items[0], "elements"):
        raise DataError(f"its {element(keyword)} is not a sequence.", LEAVE_OUT)
    return items[0] if items else None


def _value(header: pydicom.Dataset, keyword: str) -> Any:
    try:
        return header.get(keyword)
    except Exception as error:  # pydicom converts values when they are asked for
        raise DataError(
            f"its {element(keyword)} does not read ({_short(error)}).", LEAVE_OUT
        ) from error


def _short(value: object) -> str:
    words = " ".join(str(value).split())
    return words if len(words) <= 60 else f"{words[:60]}..."
