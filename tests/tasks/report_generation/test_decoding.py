"""The search with kept keys writes what a search without writes: early finishers, other batch
orders, blocked n-grams."""

from __future__ import annotations

import itertools
from typing import Any, Literal

import pytest
import torch
from hypothesis import given, settings, strategies

from tasks.report_generation.decoder import DecoderState, ReportDecoder
from tasks.report_generation.decoders.r2gen import R2GenSettings
from tasks.report_generation.decoding import SearchOptions, forbid_ngrams, search
from tasks.report_generation.settings import ReportSettings
from tasks.report_generation.vocabulary import BEGIN, END, PAD, UNKNOWN

Decoder = Literal["transformer", "r2gen", "causal_lm"]
SIZE, TOKENS, IMAGES = 13, 5, 4


class Model:
    """A decoder over given visual tokens, float64; `ends` makes the end likelier, so that reports
    differ in length."""

    def __init__(
        self,
        decoder: Literal["transformer", "r2gen", "causal_lm"],
        seed: int = 0,
        sharp: float = 6.0,
        ends: float | None = None,
    ) -> None:
        torch.manual_seed(seed)
        settings = ReportSettings(
            decoder=decoder, width=16, heads=2, layers=2, feedforward=16, max_words=12, dropout=0.0,
            visual_dropout=0.0,
            encoder_layers=1 if decoder == "r2gen" else 0,
        )  # fmt: skip
        slots = R2GenSettings().memory_slots if decoder == "r2gen" else 0
        self.decoder = ReportDecoder(SIZE, settings, slots).double().eval()
        with torch.no_grad():
            self.decoder.out.weight.mul_(sharp)
            self.decoder.out.bias[END] += (
                ends if ends is not None else 4.0 if decoder == "transformer" else 2.0
            )
        spread = 4.0 if decoder == "transformer" else 1.0
        self.decoder.positions.mul_(spread)
        self.tokens = torch.randn(IMAGES, TOKENS, 16, dtype=torch.float64) * spread
        self.mask = torch.ones(IMAGES, TOKENS, dtype=torch.bool)
        self.mask[1, 3:] = False

    def start(self, batch: dict[str, torch.Tensor], beams: int) -> DecoderState:
        rows = batch["rows"]
        return self.decoder.start(
            self.decoder.encode(self.tokens[rows], self.mask[rows]), self.mask[rows], beams
        )

    def step(self, ids: torch.Tensor, state: DecoderState) -> torch.Tensor:
        return self.decoder.step(ids, state)

    def whole(self, image: int, ids: list[int]) -> torch.Tensor:
        """Return log-probabilities after a prefix, everything computed again."""
        tokens, mask = self.tokens[image : image + 1], self.mask[image : image + 1]
        with torch.no_grad():
            return self.decoder(torch.tensor([ids]), self.decoder.encode(tokens, mask), mask)[
                0, -1
            ].log_softmax(-1)


def write(model: Model, rows: list[int], options: SearchOptions) -> list[list[int]]:
    return search(model, {"rows": torch.tensor(rows)}, len(rows), options)


def reference(model: Model, image: int, options: SearchOptions) -> list[int]:
    """Return the report of one image: beam search in plain Python, the whole prefix decoded again
    for every word."""
    living, finished = [(0.0, [BEGIN])], []
    for _ in range(options.limit):
        found = []
        for score, ids in living:
            values = model.whole(image, ids).tolist()
            for word, value in enumerate(values):
                grams = (
                    list(zip(*[ids[k:] for k in range(options.no_repeat_ngram)], strict=False))
                    if options.no_repeat_ngram
                    else []
                )
                last = (
                    tuple([*ids, word][-options.no_repeat_ngram :])
                    if options.no_repeat_ngram
                    else None
                )
                if word not in (PAD, BEGIN, UNKNOWN) and last not in grams:
                    found.append((score + value, [*ids, word]))
        found.sort(key=lambda item: -item[0])
        top = found[: 2 * options.beam]
        for score, ids in top[: options.beam]:
            if ids[-1] == END:
                finished.append((score / (len(ids) - 1) ** options.length_penalty, ids[1:-1]))
        living = [item for item in top if item[1][-1] != END][: options.beam]
        finished = sorted(finished, key=lambda item: -item[0])[: options.beam]
        if (
            len(finished) >= options.beam
            and finished[-1][0] >= living[0][0] / len(living[0][1]) ** options.length_penalty
        ):
            break
    else:
        finished += [
            (score / (len(ids) - 1) ** options.length_penalty, ids[1:]) for score, ids in living
        ]
    return max(finished, key=lambda item: item[0])[1]


@pytest.mark.parametrize("decoder", ["transformer", "r2gen"])
@pytest.mark.parametrize(
    ("beam", "penalty", "ngram"), [(1, 1.0, 0), (3, 1.0, 0), (3, 0.0, 2), (4, 0.6, 3)]
)
def test_equals_a_search_without_a_cache(
    decoder: Decoder, beam: int, penalty: float, ngram: int
) -> None:
    options, lengths = (
        SearchOptions(beam=beam, limit=9, length_penalty=penalty, no_repeat_ngram=ngram),
        set(),
    )
    for ends in (0.5, 2.0):
        model = Model(decoder, ends=ends)
        found = write(model, list(range(IMAGES)), options)
        assert found == [reference(model, image, options) for image in range(IMAGES)]
        lengths |= {len(ids) for ids in found}
    assert len(lengths) > 1, "images of different lengths: some finish early"


@pytest.mark.parametrize("decoder", ["transformer", "r2gen"])
def test_other_orders_and_batches_write_the_same(decoder: Decoder) -> None:
    model, options = Model(decoder, seed=3), SearchOptions(beam=3, limit=9)
    whole = write(model, list(range(IMAGES)), options)
    order = [3, 0, 2, 1]
    assert write(model, order, options) == [whole[image] for image in order]
    assert [write(model, [image], options)[0] for image in range(IMAGES)] == whole


@given(
    strategies.lists(strategies.integers(4, 7), min_size=1, max_size=9), strategies.integers(2, 4)
)
@settings(max_examples=60, deadline=None)
def test_forbidden_words_are_those_that_complete_an_ngram(words: list[int], size: int) -> None:
    ids, scores = torch.tensor([[BEGIN, *words]]), torch.zeros(1, 9)
    forbid_ngrams(scores, ids, size)
    whole = [BEGIN, *words]
    grams = {tuple(whole[place : place + size]) for place in range(len(whole) - size + 1)}
    for word in range(9):
        assert bool(scores[0, word] == float("-inf")) == (tuple([*whole, word][-size:]) in grams)


def test_no_ngram_stands_twice_in_any_report() -> None:
    model = Model("transformer", ends=-50.0)
    free = write(model, list(range(IMAGES)), SearchOptions(beam=3, limit=10))
    assert any(len(set(itertools.pairwise(ids))) < len(ids) - 1 for ids in free), (
        "without blocking some repeat"
    )
    for ids in write(
        model, list(range(IMAGES)), SearchOptions(beam=3, limit=10, no_repeat_ngram=2)
    ):
        assert len(set(itertools.pairwise(ids))) == max(0, len(ids) - 1)


def test_length_penalty_prefers_longer_reports() -> None:
    model = Model("transformer", seed=5)
    short, long = (
        write(model, list(range(IMAGES)), SearchOptions(beam=4, limit=10, length_penalty=p))
        for p in (0.0, 3.0)
    )
    assert sum(map(len, long)) > sum(map(len, short))


def test_an_image_may_say_nothing() -> None:
    class Silent:
        def start(self, batch: dict[Any, Any], beams: int) -> Silent:
            return self

        def keep(self, images: torch.Tensor) -> None:
            pass

        def reorder(self, rows: torch.Tensor) -> None:
            pass

        def step(self, ids: torch.Tensor, state: Silent) -> torch.Tensor:
            logits = torch.zeros(len(ids), 8)
            logits[:, END] = 50.0
            return logits

    assert search(Silent(), {}, 3, SearchOptions(beam=1, limit=5)) == [[], [], []]
    assert search(Silent(), {}, 3, SearchOptions(beam=2, limit=5)) == [[], [], []]
