"""The counts behind the captioning metrics; what needs Java and lacks it is left out, saying
why."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tasks.report_generation.metrics import captions, java
from tasks.report_generation.settings import ReportSettings


def caption_counts(
    hypotheses: Sequence[str], references: Sequence[str], settings: ReportSettings
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return `bleu`, `rouge_l`, `cider` and `meteor` arrays of cleaned reports, and per missing one
    the reason.

    Both sides are tokenized in one process. METEOR alone needs Java with `tokenizer=cleaned`.
    """
    arrays: dict[str, np.ndarray] = {}
    try:
        tokens = _tokens([*hypotheses, *references], settings)
        found, wanted = tokens[: len(hypotheses)], tokens[len(hypotheses) :]
        arrays |= {
            "bleu": captions.bleu_counts(found, wanted),
            "rouge_l": captions.rouge_l(found, wanted),
        }
        arrays["cider"] = captions.cider(found, wanted)
    except java.JavaError as error:
        return arrays, {"missing:captions": f"BLEU, ROUGE-L, CIDEr and METEOR are missing: {error}"}
    try:
        arrays["meteor"] = java.meteor_statistics(found, wanted, settings.java_timeout)
    except java.JavaError as error:
        return arrays, {"missing:meteor": f"METEOR is missing: {error}"}
    long = sum(len(text.split()) > java.METEOR_WORDS for text in (*found, *wanted))
    return arrays, {
        "note:meteor": f"METEOR saw the first {java.METEOR_WORDS} words of {long} longer texts."
    } if long else {}


def _tokens(texts: Sequence[str], settings: ReportSettings) -> list[str]:
    if settings.tokenizer == "cleaned":
        return [" ".join(text.split()) for text in texts]
    return [" ".join(words) for words in java.tokenize(texts, settings.java_timeout)]
