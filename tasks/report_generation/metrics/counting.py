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
        written = tokens[: len(hypotheses)]
        reference_tokens = tokens[len(hypotheses) :]
        arrays |= {
            "bleu": captions.bleu_counts(written, reference_tokens),
            "rouge_l": captions.rouge_l(written, reference_tokens),
        }
        arrays["cider"] = captions.cider(written, reference_tokens)
    except java.JavaError as error:
        return arrays, {"missing:captions": f"BLEU, ROUGE-L, CIDEr and METEOR are missing: {error}"}
    try:
        arrays["meteor"] = java.meteor_statistics(written, reference_tokens, settings.java_timeout)
    except java.JavaError as error:
        return arrays, {"missing:meteor": f"METEOR is missing: {error}"}
    long = sum(len(text.split()) > java.METEOR_WORDS for text in (*written, *reference_tokens))
    return arrays, {
        "note:meteor": f"METEOR saw the first {java.METEOR_WORDS} words of {long} longer texts."
    } if long else {}


def _tokens(texts: Sequence[str], settings: ReportSettings) -> list[str]:
    if settings.tokenizer == "cleaned":
        return [" ".join(text.split()) for text in texts]
    return [" ".join(words) for words in java.tokenize(texts, settings.java_timeout)]
