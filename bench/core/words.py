"""Words of a length that tokenizers can take."""

from __future__ import annotations

import re

LONGEST_WORD = 1000
"""Characters of a word that a tokenizer sees. Learning pieces from a word, and joining its letters
by the rules of a BPE, take time with the square of its length: minutes for a damaged report of one
word of a million letters. BERT's own tokenizer makes one unknown piece of a word above 100."""
_WORD = re.compile(r"\S+")


def cut_words(text: str) -> str:
    """Return a text whose words (runs without blanks) are cut at LONGEST_WORD characters."""
    if len(text) <= LONGEST_WORD:
        return text
    return _WORD.sub(lambda word: word.group()[:LONGEST_WORD], text)
