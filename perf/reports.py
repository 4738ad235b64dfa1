"""Report decoding with a key/value cache against decoding the whole prefix again; scoring of 3,000
reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from perf._timing import row, timed
from tasks.report_generation.decoder import ReportDecoder
from tasks.report_generation.decoding import SearchOptions, search
from tasks.report_generation.settings import ReportSettings
from tasks.report_generation.vocabulary import END

IMAGES = 16
TOKENS = 98
VOCABULARY = 760
BEAM = 3
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
        self.tokens = self.tokens[rows]
        self.mask = self.mask[rows]

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
            newest = ids[:, None]
            state.ids = newest if state.ids is None else torch.cat([state.ids, newest], 1)
            logits = self.decoder(state.ids, state.tokens, state.mask)[:, -1]
        logits[:, END] = float("-inf")
        return logits


def _decoder() -> ReportDecoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        decoder = ReportDecoder(VOCABULARY, SETTINGS).eval()
        # a decoder with opinions: no ties that arithmetic could turn
        decoder.out.weight.data.mul_(8)
        return decoder


def decoding_row(length: int) -> dict[str, Any]:
    """Return one point of the curve of decoding time against length."""
    decoder = _decoder()
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randn(IMAGES, TOKENS, SETTINGS.width, generator=generator)
    mask = torch.ones(IMAGES, TOKENS, dtype=torch.bool)
    options = SearchOptions(beam=BEAM, limit=length)
    whole_prefix = Model(decoder, tokens, mask, cached=False)
    cached = Model(decoder, tokens, mask, cached=True)
    usual_s, expected = timed(lambda: search(whole_prefix, {}, IMAGES, options))
    ours_s, decoded = timed(lambda: search(cached, {}, IMAGES, options))
    size = f"{IMAGES} images, beam {BEAM}, {length} words"
    return row(
        "report decoding, cache against whole prefix",
        size,
        usual_s,
        ours_s,
        expected == decoded,
        8 if length == 60 else "",
    )


def reports(count: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """Return invented hypotheses and references, drawn from a few dozen sentences of a radiograph's
    report."""
    rng = np.random.default_rng(seed)
    sides = ("left", "right", "bilateral")
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
        f"there is a {size} {side} {finding} ."
        for size in ("small", "large")
        for side in sides
        for finding in findings
    ]
    sentences += [f"no {finding} is seen ." for finding in findings]
    sentences += ["the heart is normal in size .", "the lungs are clear ."]
    made = [
        [" ".join(rng.choice(sentences, rng.integers(4, 10))) for _ in range(count)]
        for _ in range(2)
    ]
    return made[0], made[1]


def scoring_row(count: int) -> dict[str, Any]:
    """Return the seconds of all metrics of `count` reports, clinical ones included; the ratio is to
    the 60 s of 3,000."""
    from bench.text.rules import label_reports
    from tasks.report_generation.metrics.scoring import count_all

    hypotheses, references = reports(count)
    seconds, (arrays, *_) = timed(
        lambda: count_all(hypotheses, references, frozenset(), ReportSettings(), label_reports)
    )
    allowed = 60 * count / 3000
    complete = {"bleu", "meteor", "cider", "named"} <= set(arrays)
    return row(
        "scoring reports (usual: the 60 s allowed for 3,000)",
        f"{count} reports",
        allowed,
        seconds,
        complete,
        1 if count == 3000 else "",
    )


def run() -> list[dict[str, Any]]:
    """Return a row per length, then per number of reports."""
    return [
        *(decoding_row(length) for length in LENGTHS),
        *(scoring_row(count) for count in (375, 750, 1500, 3000)),
    ]
