"""Decoder `r2gen` against a small float64 network written from the equations of Chen et al. 2020:
no layer, cache or search of ours is used in it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from bench.core.errors import SettingError
from tasks.report_generation.data import framed
from tasks.report_generation.decoder import ReportDecoder, TrainedReporter
from tasks.report_generation.decoders.r2gen import R2GenSettings
from tasks.report_generation.decoding import SearchOptions, search
from tasks.report_generation.layers import ConditionalNorm, R2GenEncoder, R2GenNorm
from tasks.report_generation.settings import ReportSettings
from tasks.report_generation.visual import VisualMemory, VisualShape
from tasks.report_generation.vocabulary import BEGIN, END, PAD, UNKNOWN

WORDS, STUDIES, HEADS, SLOTS, WIDTH = 13, 4, 2, 3, 16
SETTINGS = R2GenSettings(
    decoder="r2gen", width=WIDTH, heads=HEADS, layers=2, encoder_layers=2, feedforward=24,
    memory_slots=SLOTS, max_words=12, images=2, reference="decoded", length_penalty=0.0,
)  # fmt: skip
IDS = [
    [BEGIN, 5, 5, 7, END],
    [BEGIN, 8, END, PAD, PAD],
    [BEGIN, 9, 4, END, PAD],
    [BEGIN, 4, 4, 4, 4],
]


def norm(x: np.ndarray, weight: Any = 1.0, bias: Any = 0.0) -> np.ndarray:
    """Layer normalisation: sample deviation, 1e-6 added to it."""
    centred = x - x.mean(-1, keepdims=True)
    deviation = np.sqrt((centred**2).sum(-1, keepdims=True) / (x.shape[-1] - 1))
    return weight * centred / (deviation + 1e-6) + bias


def softmax(x: np.ndarray) -> np.ndarray:
    raised = np.exp(x - x.max(-1, keepdims=True))
    return raised / raised.sum(-1, keepdims=True)


class Network:
    """One study at a time; `weights` are the numbers of a trained model, by name."""

    def __init__(self, model: TrainedReporter) -> None:
        self.weights = {name: value.double().numpy() for name, value in model.state_dict().items()}

    def linear(self, name: str, x: np.ndarray) -> np.ndarray:
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def norm(self, name: str, x: np.ndarray) -> np.ndarray:
        return norm(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def two_layers(self, name: str, x: np.ndarray, second: int) -> np.ndarray:
        return self.linear(f"{name}.{second}", np.maximum(0, self.linear(f"{name}.0", x)))

    def attention(
        self, name: str, x: np.ndarray, seen: np.ndarray, causal: bool = False
    ) -> np.ndarray:
        query = self.linear(f"{name}.query", x)
        keys, values = (self.linear(f"{name}.{part}", seen) for part in ("key", "value"))
        size = WIDTH // HEADS
        heads = []
        for head in range(HEADS):
            part = slice(head * size, (head + 1) * size)
            scores = query[:, part] @ keys[:, part].T / math.sqrt(size)
            if causal:
                scores = np.where(np.tri(len(x), dtype=bool), scores, -np.inf)
            heads.append(softmax(scores) @ values[:, part])
        return self.linear(f"{name}.out", np.concatenate(heads, -1))

    def encoded(self, patches: np.ndarray) -> np.ndarray:
        """Patches [M, D] of all images of a study to visual tokens."""
        x = np.maximum(0, self.linear("visual.patches.0", patches))
        for layer in range(SETTINGS.encoder_layers):
            name = f"decoder.encoder.layers.{layer}"
            y = self.norm(f"{name}.norms.0", x)
            x = x + self.attention(f"{name}.own", y, y)
            x = x + self.two_layers(f"{name}.feedforward", self.norm(f"{name}.norms.1", x), 3)
        return self.norm("decoder.encoder.norm", x)

    def words(self, ids: list[int]) -> np.ndarray:
        """Embeddings times the root of the width, plus sine and cosine of the position."""
        words = self.weights["decoder.embedding.weight"][ids] * math.sqrt(WIDTH)
        for place in range(len(ids)):
            for pair in range(0, WIDTH, 2):
                angle = place / 10000 ** (pair / WIDTH)
                words[place, pair] += math.sin(angle)
                words[place, pair + 1] += math.cos(angle)
        return words

    def memories(self, words: np.ndarray) -> np.ndarray:
        """The relational memory after each word [L, SLOTS * D]."""
        name, memory, after = "decoder.relational", np.eye(SLOTS, WIDTH), []
        for word in words:
            seen = np.concatenate([memory, word[None]])
            new = memory + self.attention(f"{name}.attention", memory, seen)
            new = new + np.maximum(0, self.two_layers(f"{name}.mlp", new, 2))
            gates = self.linear(f"{name}.from_word", word[None])
            gates = gates + self.linear(f"{name}.from_memory", np.tanh(memory))
            take, keep = np.split(1 / (1 + np.exp(-gates)), 2, axis=-1)
            memory = take * np.tanh(new) + keep * memory
            after.append(memory.ravel())
        return np.array(after)

    def driven_norm(self, name: str, x: np.ndarray, memory: np.ndarray) -> np.ndarray:
        weight = self.weights[f"{name}.norm.weight"] + self.two_layers(f"{name}.scale", memory, 2)
        bias = self.weights[f"{name}.norm.bias"] + self.two_layers(f"{name}.shift", memory, 2)
        return norm(x, weight, bias)

    def log_probabilities(self, patches: np.ndarray, ids: list[int]) -> np.ndarray:
        """The log-probability of every word after each of `ids`, [L, V]."""
        seen, x = self.encoded(patches), self.words(ids)
        memory = self.memories(x)
        for layer in range(SETTINGS.layers):
            name = f"decoder.layers.{layer}"
            y = self.driven_norm(f"{name}.norms.0", x, memory)
            x = x + self.attention(f"{name}.own", y, y, causal=True)
            y = self.driven_norm(f"{name}.norms.1", x, memory)
            x = x + self.attention(f"{name}.cross", y, seen)
            y = self.driven_norm(f"{name}.norms.2", x, memory)
            x = x + self.two_layers(f"{name}.feedforward", y, 3)
        logits = self.linear("decoder.out", self.norm("decoder.norm", x))
        return np.log(softmax(logits))


class Case:
    """A model with random weights, every norm's among them, and four studies of one or two
    images."""

    def __init__(self, seed: int = 0, sharp: float = 2.0, ends: float = 1.0) -> None:
        torch.manual_seed(seed)
        visual = VisualMemory(VisualShape(6, (2, 2), 0, 2), SETTINGS)
        self.model = TrainedReporter(visual, ReportDecoder(WORDS, SETTINGS, SLOTS)).double().eval()
        with torch.no_grad():
            for parameter in self.model.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
            self.model.decoder.out.weight.mul_(sharp)
            self.model.decoder.out.bias[END] += ends
        present = torch.tensor([[True, True], [True, False], [True, True], [True, False]])
        patches = torch.randn(STUDIES, 2, 4, 6, dtype=torch.float64) * present[:, :, None, None]
        self.batch = {"patches": patches, "present": present, "ids": torch.tensor(IDS)}
        self.patches = [
            study[there].flatten(0, 1).numpy()
            for study, there in zip(patches, present, strict=True)
        ]
        self.network = Network(self.model)


def beam(network: Network, patches: np.ndarray, width: int, limit: int) -> list[int]:
    """Return the words that R2Gen's search finds: an ended hypothesis keeps its seat in the beam
    and cannot go on; the highest sum of log-probabilities wins."""
    forbidden = [PAD, BEGIN]  # ids that R2Gen does not have: its 0 is begin, end and padding
    living, ended = [(0.0, [BEGIN])], []
    for step in range(limit):
        candidates = []
        for score, ids in living:
            for word, value in enumerate(network.log_probabilities(patches, ids)[-1]):
                if word not in forbidden:
                    candidates.append((score + value, [*ids, word]))
        top = sorted(candidates, key=lambda item: -item[0])[:width]
        ended += [item for item in top if item[1][-1] == END or step == limit - 1]
        living = [item for item in top if item[1][-1] != END]
        if not living:
            break
    words = max(ended, key=lambda item: item[0])[1][1:]
    return words[:-1] if words[-1] == END else words


def test_log_probabilities_equal_the_equations() -> None:
    case = Case()
    with torch.no_grad():
        tokens, mask = case.model.tokens(case.batch)
        ours = case.model.decoder(case.batch["ids"], tokens, mask).log_softmax(-1).numpy()
    for study, ids in enumerate(IDS):
        wanted = case.network.log_probabilities(case.patches[study], ids)
        np.testing.assert_allclose(ours[study], wanted, atol=1e-6)


def test_loss_equals_the_equations() -> None:
    case = Case(seed=1)
    losses = []
    for patches, ids in zip(case.patches, IDS, strict=True):
        values = case.network.log_probabilities(patches, ids[:-1])
        losses += [-values[place, word] for place, word in enumerate(ids[1:]) if word != PAD]
    with torch.no_grad():
        loss = float(case.model.losses(case.batch)["loss"])
    assert loss == pytest.approx(np.mean(losses), abs=1e-6)


@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize("seed", range(3))
def test_search_writes_what_the_equations_do(width: int, seed: int) -> None:
    case = Case(seed=seed)
    options = SearchOptions(beam=width, limit=8, length_penalty=0.0, forbid_unknown=False)
    wanted = [beam(case.network, patches, width, 8) for patches in case.patches]
    assert search(case.model, case.batch, STUDIES, options) == wanted


# -------------------------------------------------------------------------------------------- rules
def test_norms_divide_by_the_sample_deviation() -> None:
    """0 1 2 3: the deviation with n - 1 is 1.2910, with n it would be 1.1180."""
    wanted = [-1.1619, -0.3873, 0.3873, 1.1619]
    x = torch.arange(4.0)[None, None]
    driven = ConditionalNorm(4, 6)
    for linear in (*driven.scale, *driven.shift):
        if isinstance(linear, torch.nn.Linear):
            torch.nn.init.zeros_(linear.weight)
            torch.nn.init.zeros_(linear.bias)
    for found in (R2GenNorm(4)(x), driven(x, torch.zeros(1, 1, 6))):
        assert found.flatten().tolist() == pytest.approx(wanted, abs=1e-4)


def test_norm_adds_its_epsilon_to_the_deviation() -> None:
    x = torch.tensor([0.0, 2e-6], dtype=torch.float64)
    deviation = math.sqrt(2e-12)
    wanted = 1e-6 / (deviation + 1e-6)
    assert R2GenNorm(2).double()(x).tolist() == pytest.approx([-wanted, wanted])


def test_every_norm_of_r2gen_is_its_own() -> None:
    model = Case().model
    kinds = [type(module).__name__ for module in model.modules() if "Norm" in type(module).__name__]
    assert sorted(set(kinds)) == ["ConditionalNorm", "R2GenNorm"]
    assert kinds.count("ConditionalNorm") == 3 * SETTINGS.layers
    assert kinds.count("R2GenNorm") == 3 * SETTINGS.layers + 2 * SETTINGS.encoder_layers + 2


def _memory_inputs(run: Callable[..., Any]) -> list[torch.Tensor]:
    """Return the words [B, D] that the relational memory read in `run(case)`."""
    case = Case()
    read: list[torch.Tensor] = []
    relational: Any = case.model.decoder.relational
    step = relational.step

    def watched(word: torch.Tensor, memory: torch.Tensor) -> Any:
        read.append(word.detach().clone())
        return step(word, memory)

    relational.step = watched
    with torch.no_grad():
        run(case)
    return read


def test_the_memory_reads_words_with_their_positions() -> None:
    """The same word twice is read as two vectors, in training and in every step of the search."""

    def whole(case: Case) -> None:
        tokens, mask = case.model.tokens(case.batch)
        case.model.decoder(torch.tensor([[BEGIN, 5, 5]]), tokens[:1], mask[:1])

    def by_steps(case: Case) -> None:
        state = case.model.decoder.start(*case.model.tokens(case.batch), 1)
        for word in (BEGIN, 5, 5):
            case.model.step(torch.full((STUDIES,), word), state)

    wanted = Case().network.words([BEGIN, 5, 5])
    for run in (whole, by_steps):
        read = torch.stack([words[0] for words in _memory_inputs(run)]).numpy()
        np.testing.assert_allclose(read, wanted, atol=1e-6)
        assert np.abs(read[1] - read[2]).max() > 0.1


def test_training_drops_the_words_of_memory_and_layers_apart() -> None:
    """R2Gen embeds the words once for the memory and once for the layers, each with its dropout."""
    case = Case()
    decoder = case.model.decoder.train()
    calls = []
    decoder.dropout.register_forward_hook(lambda *seen: calls.append(seen[2]))
    decoder(torch.tensor([[BEGIN, 5, 5]]), *(part[:1] for part in case.model.tokens(case.batch)))
    assert len(calls) == 2 and not torch.equal(calls[0], calls[1])


def test_masked_tokens_are_not_seen_by_the_encoder() -> None:
    torch.manual_seed(0)
    encoder = R2GenEncoder(WIDTH, HEADS, 24, 0.1, 2).eval()
    tokens, absent = torch.randn(1, 5, WIDTH), torch.tensor([[False, False, True, True, True]])
    with torch.no_grad():
        short = encoder(tokens[:, :2], absent[:, :2])
        torch.testing.assert_close(encoder(tokens, absent)[:, :2], short)


def test_matrices_start_as_in_r2gen() -> None:
    """Glorot's uniform bounds for all but the last layer: its matrix has those of a plain
    linear."""
    torch.manual_seed(0)
    decoder = ReportDecoder(WORDS, SETTINGS, SLOTS)
    for name, parameter in decoder.named_parameters():
        if parameter.dim() > 1:
            bound = math.sqrt(6 / sum(parameter.shape)) if name != "out.weight" else WIDTH**-0.5
            assert 0.8 * bound < float(parameter.detach().abs().max()) <= bound, name


@pytest.mark.parametrize(
    ("words", "ids", "ended"),
    [(57, 59, True), (58, 60, True), (59, 60, False), (60, 60, False), (80, 60, False)],
)
def test_r2gen_counts_begin_among_the_ids(words: int, ids: int, ended: bool) -> None:
    """With `max_words` 60 a report of 60 words is begin and 59 words, without an end."""
    cut = framed([4] * words, R2GenSettings(decoder="r2gen", max_words=60))
    assert cut[0] == BEGIN and len(cut) == ids
    assert (cut[-1] == END) == ended


def test_other_decoders_read_every_word_and_the_end() -> None:
    cut = framed([4] * 60, ReportSettings(max_words=60))
    assert cut == [BEGIN, *[4] * 60, END]
    assert framed([4] * 61, ReportSettings(max_words=60)) == [BEGIN, *[4] * 60]


def test_r2gen_needs_room_for_a_word_beside_begin() -> None:
    with pytest.raises(SettingError, match="max_words is 1 with decoder=r2gen"):
        R2GenSettings(decoder="r2gen", max_words=1)
    assert ReportSettings(max_words=1).words_read == 1


def test_ids_that_r2gen_does_not_have_are_never_written() -> None:
    """Its 0 is begin, end and padding; here they are three, and the search leaves two out."""
    case = Case()
    with torch.no_grad():
        case.model.decoder.out.bias[[PAD, BEGIN, UNKNOWN]] += 50.0
    options = SearchOptions(beam=3, limit=8, forbid_unknown=False)
    written = {word for ids in search(case.model, case.batch, STUDIES, options) for word in ids}
    assert written == {UNKNOWN}


def test_the_transformer_decoder_keeps_its_numbers() -> None:
    """Loss in training and in evaluation, and what beam 3 writes, for fixed seeds."""
    settings = ReportSettings(
        width=16, heads=2, layers=2, feedforward=32, encoder_layers=2, max_words=12, images=2
    )
    torch.manual_seed(7)
    visual = VisualMemory(VisualShape(6, (2, 2), 0, 2), settings)
    model = TrainedReporter(visual, ReportDecoder(WORDS, settings), 0.1)
    present = torch.tensor([[True, True], [True, False], [True, True]])
    ids = torch.tensor([[1, 4, 5, 6, 2], [1, 7, 8, 2, 0], [1, 9, 9, 9, 9]])
    batch = {"patches": torch.randn(3, 2, 4, 6), "present": present, "ids": ids}
    torch.manual_seed(3)
    with torch.no_grad():
        assert float(model.train().losses(batch)["loss"]) == pytest.approx(3.01556, abs=1e-5)
        assert float(model.eval().losses(batch)["loss"]) == pytest.approx(3.09480, abs=1e-5)
        model.decoder.out.weight.mul_(5)
    words = search(model, batch, 3, SearchOptions(beam=3, limit=9))
    assert words[0] == [12, 11, 7, 9, 5, 12, 9, 12, 9]
