"""Greedy and beam search, batched over images and hypotheses; what an image does not need any more
is dropped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from tasks.report_generation.vocabulary import BEGIN, END, PAD, UNKNOWN

NEVER = float("-inf")


class State(Protocol):
    """What a writer keeps between two words."""

    def reorder(self, rows: Tensor) -> None:
        """Make hypothesis i what hypothesis `rows[i]` was."""
        ...

    def keep(self, images: Tensor) -> None:
        """Drop all images but `images`, with their hypotheses."""
        ...


@runtime_checkable
class Writer(Protocol):
    """What the search asks of a model."""

    def start(self, batch: dict[str, Any], beams: int) -> Any:
        """Return the state before the first word of `beams` hypotheses for each image."""
        ...

    def step(self, ids: Tensor, state: Any) -> Tensor:
        """Return logits [B * beams, V] after the newest `ids` [B * beams]."""
        ...


@runtime_checkable
class Reporter(Writer, Protocol):
    """What a decoder builds: a torch module that is trained, and writes."""

    def losses(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Return the losses of a batch: its visual inputs and `ids` [B, L], from begin to end.

        Those with `loss` in their name are added up; `loss` is what validation watches.
        """
        ...


@runtime_checkable
class ReadsReports(Protocol):
    """A reporter that, for its training, reads more of the reports than their words."""

    def learn(self, texts: Sequence[str]) -> list[str]:
        """Take what is needed from the training reports; return what the user should know."""
        ...

    def beside(self, texts: Sequence[str]) -> dict[str, np.ndarray]:
        """Return what a training batch has beside images and `ids`: name -> [reports, ...]."""
        ...


@dataclass(frozen=True)
class SearchOptions:
    """`beam` 1 is greedy. A finished report's score is its log-probability over its length (end
    included) to the power `length_penalty`. `no_repeat_ngram` n > 1: no n-gram twice, in any
    hypothesis. `limit`: most words. Begin, padding and (with `forbid_unknown`) unknown are never
    written."""

    beam: int = 3
    limit: int = 60
    length_penalty: float = 1.0
    no_repeat_ngram: int = 0
    forbid_unknown: bool = True

    @property
    def forbidden(self) -> list[int]:
        """Return the ids that are never written."""
        return [PAD, BEGIN, UNKNOWN] if self.forbid_unknown else [PAD, BEGIN]


@torch.no_grad()
def search(
    writer: Writer, batch: dict[str, Any], images: int, options: SearchOptions, device: str = "cpu"
) -> list[list[int]]:
    """Return the best report of each of `images` images as ids, without begin and end.

    Beam search as commonly done (transformers' rule): of the 2 * beam best continuations of an
    image, those that end among the first `beam` are finished and the best `beam` others live on; an
    image is done when `beam` are finished and the best living one would not be among them if it
    ended now, or at the limit, where what still lives counts as finished.
    """
    run = _Search(writer, batch, images, options, device)
    for _ in range(options.limit):
        if not len(run.images):
            break
        run.advance()
    run.close(torch.ones(len(run.images), dtype=torch.bool, device=device), unfinished=True)
    return run.best


class _Search:
    """Living hypotheses `ids` [B, K, T] with log-probabilities `scores` [B, K]; finished ones with
    their final scores."""

    def __init__(
        self,
        writer: Writer,
        batch: dict[str, Any],
        images: int,
        options: SearchOptions,
        device: str,
    ) -> None:
        self.writer = writer
        self.options = options
        self.device = device
        self.state = writer.start(batch, options.beam)
        self.images = torch.arange(images, device=device)
        self.ids = torch.full((images, options.beam, 1), BEGIN, device=device)
        self.scores = torch.full((images, options.beam), NEVER, device=device)
        self.scores[:, 0] = 0.0
        self.finished: list[list[tuple[float, list[int]]]] = [[] for _ in range(images)]
        self.best: list[list[int]] = [[] for _ in range(images)]

    def advance(self) -> None:
        """Write one more word of every hypothesis."""
        beam = self.options.beam
        scores, places = self._continuations().topk(2 * beam, dim=1)
        parents = places // self.vocabulary
        words = places % self.vocabulary
        ends = words == END
        for image, rank in (ends[:, :beam] & (scores[:, :beam] > NEVER)).nonzero().tolist():
            self._finish(
                image,
                float(scores[image, rank]),
                self.ids[image, parents[image, rank], 1:].tolist(),
                ended=True,
            )
        live = ends.to(torch.int8).argsort(dim=1, stable=True)[:, :beam]
        parents = parents.gather(1, live)
        words = words.gather(1, live)
        self.scores = scores.gather(1, live).masked_fill(words == END, NEVER)
        self._take(parents, words)
        best = (
            self.scores.max(1).values / self.ids.shape[2] ** self.options.length_penalty
        ).tolist()
        done = [
            self._is_done(int(image), bound) for image, bound in zip(self.images, best, strict=True)
        ]
        self.close(torch.tensor(done, device=self.device), unfinished=False)

    def _is_done(self, image: int, bound: float) -> bool:
        """Say whether `beam` reports are finished and the best living one, ended now, would not be
        among the best of them."""
        best = sorted(self.finished[image], key=lambda item: -item[0])[: self.options.beam]
        self.finished[image] = best
        return len(best) >= self.options.beam and best[-1][0] >= bound

    def _continuations(self) -> Tensor:
        """Return the log-probability of every continuation [B, K * V]."""
        flat = self.ids.flatten(0, 1)
        logits = self.writer.step(flat[:, -1], self.state)
        self.vocabulary = logits.shape[-1]
        log_probabilities = logits.to(
            torch.float64 if logits.dtype == torch.float64 else torch.float32
        ).log_softmax(-1)
        log_probabilities[:, self.options.forbidden] = NEVER
        forbid_ngrams(log_probabilities, flat, self.options.no_repeat_ngram)
        return (
            self.scores.to(log_probabilities.dtype)[:, :, None]
            + log_probabilities.unflatten(0, self.scores.shape)
        ).flatten(1)

    def _finish(self, image: int, score: float, ids: list[int], *, ended: bool) -> None:
        length = max(1, len(ids) + ended)
        self.finished[int(self.images[image])].append(
            (score / length**self.options.length_penalty, ids)
        )

    def _take(self, parents: Tensor, words: Tensor) -> None:
        images, beam = parents.shape
        prefixes = self.ids.gather(1, parents[:, :, None].expand(-1, -1, self.ids.shape[2]))
        self.ids = torch.cat([prefixes, words[:, :, None]], 2)
        if beam > 1:
            self.state.reorder(
                (torch.arange(images, device=self.device)[:, None] * beam + parents).flatten()
            )

    def close(self, done: Tensor, *, unfinished: bool) -> None:
        """Choose the best report of the images that are done and drop them."""
        if not bool(done.any()):
            return
        for image in done.nonzero()[:, 0].tolist():
            if unfinished:
                for score, ids in zip(
                    self.scores[image].tolist(), self.ids[image].tolist(), strict=True
                ):
                    if score > NEVER:
                        self._finish(image, score, ids[1:], ended=False)
            number = int(self.images[image])
            if self.finished[number]:
                self.best[number] = max(self.finished[number], key=lambda item: item[0])[1]
        left = (~done).nonzero()[:, 0]
        self.images = self.images[left]
        self.ids = self.ids[left]
        self.scores = self.scores[left]
        if len(left):
            self.state.keep(left)


def forbid_ngrams(scores: Tensor, ids: Tensor, size: int) -> None:
    """Set to -inf, in `scores` [n, V], every word that would complete an n-gram that stands in
    `ids` [n, T] already.

    Begin counts as a word of its own. A hypothesis whose words would all be forbidden cannot be:
    the end never completes one.
    """
    if size < 2 or ids.shape[1] < size:
        return
    windows = ids.unfold(1, size, 1)
    same = (windows[:, :, :-1] == ids[:, None, 1 - size :]).all(2)
    rows, places = same.nonzero(as_tuple=True)
    scores[rows, windows[rows, places, -1]] = NEVER
