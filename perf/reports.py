"""Report decoding with a key/value cache against decoding the whole prefix again; scoring of 3,000
reports."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tasks.report_generation.decoder import ReportDecoder
from tasks.report_generation.decoding import SearchOptions, search
from tasks.report_generation.settings import ReportSettings
from tasks.report_generation.vocabulary import END

IMAGES, TOKENS, VOCABULARY, BEAM = 16, 98, 760, 3
LENGTHS = (15, 30, 60, 120)
SETTINGS = ReportSettings(
    width=512, heads=8, layers=3, feedforward=512, dropout=0.0, max_words=max(LENGTHS)
)


@dataclass
class Prefix:
    """The usual state: visual tokens repeated for every hypothesis, and the words so far."""

    tokens: Tensor
    mask: Tensor
    beams: int
    ids: Tensor | None = None

    def reorder(self, rows: Tensor) -> None:
        """Make hypothesis i what hypothesis `rows[i]` was."""
        self.ids = None if self.ids is None else self.ids[rows]
        self.tokens, self.mask = self.tokens[rows], self.mask[rows]

    def keep(self, images: Tensor) -> None:
        """Drop all images but `images`."""
        self.reorder((images[:, None] * self.beams + torch.arange(self.beams)).flatten())


@dataclass
class Model:
    """A decoder over given visual tokens, that never ends a report early; with or without a
    cache."""

    decoder: ReportDecoder
    tokens: Tensor
    mask: Tensor
    cached: bool

    def start(self, batch: dict[str, Any], beams: int) -> Any:
        """Return the state before the first word."""
        if self.cached:
            return self.decoder.start(self.tokens, self.mask, beams)
        return Prefix(
            self.tokens.repeat_interleave(beams, 0), self.mask.repeat_interleave(beams, 0), beams
        )

    def step(self, ids: Tensor, state: Any) -> Tensor:
        """Return logits after the newest ids."""
        if self.cached:
            logits = self.decoder.step(ids, state)
        else:
            state.ids = (
                ids[:, None] if state.ids is None else torch.cat([state.ids, ids[:, None]], 1)
            )
            logits = self.decoder(state.ids, state.tokens, state.mask)[:, -1]
        logits[:, END] = float("-inf")
        return logits


def _decoder() -> ReportDecoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        decoder = ReportDecoder(VOCABULARY, SETTINGS).eval()
        decoder.out.weight.data.mul_(
            8
        )  # a decoder with opinions: no ties that arithmetic could turn
        return decoder


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    return work(), time.perf_counter() - start


def decoding_row(length: int) -> dict[str, Any]:
    """Return one point of the curve of decoding time against length."""
    decoder, generator = _decoder(), torch.Generator().manual_seed(1)
    tokens, mask = (
        torch.randn(IMAGES, TOKENS, SETTINGS.width, generator=generator),
        torch.ones(IMAGES, TOKENS, dtype=torch.bool),
    )
    options = SearchOptions(beam=BEAM, limit=length)
    found = [
        _timed(lambda c=cached: search(Model(decoder, tokens, mask, c), {}, IMAGES, options))
        for cached in (False, True)
    ]  # type: ignore[misc]
    (usual, usual_s), (ours, ours_s) = found
    return {"name": "report decoding, cache against whole prefix",
    "size": f"{IMAGES} images, beam {BEAM}, {length} words",
            "usual_s": usual_s, "ours_s": ours_s, "ratio": usual_s / ours_s, "equal": usual == ours,
            "wanted": 8 if length == 60 else ""}  # fmt: skip


def reports(count: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """Return invented hypotheses and references, drawn from a few dozen sentences of a radiograph's
    report."""
    rng = np.random.default_rng(seed)
    places = ("left", "right", "bilateral")
    findings = (
        "effusion",
        "atelectasis",
        "consolidation",
        "pneumothorax",
        "edema",
        "opacity",
        "nodule",
        "scarring",
    )
    sentences = [
        f"there is a {size} {place} {what} ."
        for size in ("small", "large")
        for place in places
        for what in findings
    ]
    sentences += [f"no {what} is seen ." for what in findings] + [
        "the heart is normal in size .",
        "the lungs are clear .",
    ]
    made = [
        [" ".join(rng.choice(sentences, rng.integers(4, 10))) for _ in range(count)]
        for _ in range(2)
    ]
    return made[0], made[1]


def scoring_row(count: int) -> dict[str, Any]:
    """Return the seconds of all metrics of `count` reports, clinical ones included; the ratio is to
    the 60 s of 3,000."""
    from tasks.report_generation.labeler.rules import label_reports
    from tasks.report_generation.metrics.scoring import count_all

    hypotheses, references = reports(count)
    arrays, seconds = _timed(
        lambda: count_all(hypotheses, references, frozenset(), ReportSettings(), label_reports)[0]
    )
    allowed = 60 * count / 3000
    complete = {"bleu", "meteor", "cider", "named"} <= set(arrays)
    return {"name": "scoring reports (usual: the 60 s allowed for 3,000)",
    "size": f"{count} reports", "usual_s": allowed,
            "ours_s": seconds, "ratio": allowed / seconds, "equal": complete,
            "wanted": 1 if count == 3000 else ""}  # fmt: skip


def run() -> list[dict[str, Any]]:
    """Return a row per length, then per number of reports."""
    return [
        *(decoding_row(length) for length in LENGTHS),
        *(scoring_row(count) for count in (375, 750, 1500, 3000)),
    ]
