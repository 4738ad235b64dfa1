"""Where a line of a report ends a sentence, and where a sentence only goes on in the next line."""

from __future__ import annotations

import re
from functools import cached_property

_BREAK = re.compile(r"\n\s*(?=\S)")
_CLOSED = frozenset(".!?:;,")
"""Marks after which a line needs no full stop."""
_ITEM = re.compile(r"(?:[-*\u2022\u00b7\u2013\u2014>+]+\s|\(?\d{1,2}[.)]\s)")
_WORD = re.compile(r"\S+")
_LETTER = re.compile(r"[^\W_]")
_LAST_WORD = re.compile(r"\w*$")
_GOES_ON = frozenset((
    "a", "an", "the", "of", "or", "and", "nor", "no", "not", "without", "with", "to", "in", "at",
    "on", "by", "for",
    "from", "than", "as", "is", "are", "was", "were", "be", "been", "has", "have", "that", "which",
    "who", "this",
    "these", "its", "their", "both", "any", "some", "other", "acute", "chronic", "new", "old",
    "left", "right",
    "bilateral", "bibasilar", "upper", "lower", "middle", "mid", "lateral", "medial", "apical",
    "basal", "basilar",
    "posterior", "anterior", "small", "tiny", "large", "moderate", "mild", "minimal", "trace",
    "severe", "stable",
    "unchanged", "focal", "pleural", "pulmonary", "pericardial", "lung", "lobe", "cardiac",
    "interstitial", "vascular",
    "mediastinal", "hilar", "costophrenic", "rib", "chest", "dr", "vs", "versus", "per", "since",
    "about", "near",
    "over", "under", "below", "above", "through", "within", "between", "during", "after", "before",
    "due", "secondary",
    "prior", "previous",
))  # fmt: skip
"""Words that a sentence does not end with."""
_SHORT = 40
"""A line of fewer characters is not full: what follows it was put on a line of its own."""


def close_lines(text: str) -> str:
    """Return a report with a full stop where a line without one ends a sentence.

    A line goes on in the next one where that begins in lower case or with a number, where its last
    word asks for another, or where a wrapped line had no room for the next word. An empty line and
    the mark of a list item always end a sentence.
    """
    lined = "\n".join(text.splitlines())
    return _BREAK.sub(_Closer(lined), lined) if "\n" in lined else lined


class _Closer:
    """Decides each line break of one text."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def _lines(self) -> list[str]:
        return [line for raw in self.text.split("\n") if (line := raw.strip())]

    @cached_property
    def _has_capitals(self) -> bool:
        return any(line[0].isupper() for line in self._lines)

    @cached_property
    def _is_wrapped(self) -> bool:
        """Say whether some line goes on in lower case; text in capitals may be wrapped."""
        return self.text.isupper() or any(line[0].islower() for line in self._lines[1:])

    @cached_property
    def _width(self) -> int:
        return max(map(len, self._lines))

    def __call__(self, match: re.Match[str]) -> str:
        line = self._line_before(match.start())
        if not _LETTER.search(line) or line[-1] in _CLOSED:
            return match[0]
        listed = match[0].count("\n") > 1 or _ITEM.match(self.text, match.end())
        return "." + match[0] if listed or not self._goes_on(line, match.end()) else match[0]

    def _line_before(self, end: int) -> str:
        return self.text[self.text.rfind("\n", 0, end) + 1 : end].strip()

    def _goes_on(self, line: str, start: int) -> bool:
        """Say whether a line asks for what begins at `start`."""
        first = self.text[start]
        if first.isdigit() or (first.islower() and self._has_capitals):
            return True
        last = _LAST_WORD.search(line)
        if last and last[0].lower() in _GOES_ON:
            return True
        return self._is_wrapped and self._is_full(line, start)

    def _is_full(self, line: str, start: int) -> bool:
        following = _WORD.match(self.text, start)
        room = self._width - len(line) - 1
        return len(line) >= _SHORT and following is not None and len(following[0]) > room
