"""Letters beside the rows of a table: two rows share none of them exactly where they differ."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def compact_letters(order: Sequence[str], differing: Collection[frozenset[str]]) -> dict[str, str]:
    """Return the letters of every row: a compact letter display (Piepho 2004, doi
    10.1198/1061860043515, by inserting and absorbing).

    `order`: the rows from best to worst; `differing`: the pairs that differ. Rows without a common
    letter differ, rows with one do not. The best row has `a`.
    """
    groups: list[set[str]] = [set(order)]
    for pair in _pairs(order, differing):
        groups = _absorbed([half for group in groups for half in _split(group, pair)])
    rank = {name: number for number, name in enumerate(order)}
    groups.sort(key=lambda group: sorted(rank[name] for name in group))
    return {
        name: "".join(_letter(number) for number, group in enumerate(groups) if name in group)
        for name in order
    }


def _pairs(order: Sequence[str], differing: Collection[frozenset[str]]) -> list[tuple[str, str]]:
    return [
        (better, worse)
        for number, better in enumerate(order)
        for worse in order[number + 1 :]
        if frozenset((better, worse)) in differing
    ]


def _split(group: set[str], pair: tuple[str, str]) -> list[set[str]]:
    if not group.issuperset(pair):
        return [group]
    return [group - {name} for name in pair]


def _absorbed(groups: list[set[str]]) -> list[set[str]]:
    """Return the groups that are no part of another one."""
    kept: list[set[str]] = []
    for group in sorted(groups, key=len, reverse=True):
        if not any(group <= larger for larger in kept):
            kept.append(group)
    return kept


def _letter(number: int) -> str:
    """Return a, b, ..., z, then aa, ab, ... in parentheses, so that letters do not run together."""
    alphabet = "abcdefghijklmnopqrstuvwxyz"
    if number < len(alphabet):
        return alphabet[number]
    return f"({alphabet[number // 26 - 1]}{alphabet[number % 26]})"
