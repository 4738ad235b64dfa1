"""What tables in Markdown are made of."""

from __future__ import annotations

from collections.abc import Sequence


def escape(text: str) -> str:
    """Return a text that stands in a Markdown table as it is."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def table_row(cells: Sequence[str]) -> str:
    """Return one line of a table; the cells stand in it as they are."""
    return "| " + " | ".join(cells) + " |"


def table_rule(columns: int) -> str:
    """Return the line between the head of a table and its body."""
    return "|" + "---|" * columns


def share(fraction: float) -> str:
    """Return a label fraction as a percentage with the digits it needs: 100%, 10%, 0.5%."""
    return f"{100 * fraction:g}%"
