"""Front doors and mediators of VLCI: module by module as the published code computes them, and
against the equations in float64."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tasks.report_generation.front_door import (
    GlobalFeatures,
    LanguageMediator,
    LocalFeatures,
    Sizes,
    TwoPaths,
    VisualMediator,
    causal_front_door,
    front_door,
    looked_at,
    newest_front_door,
    rollout,
)
from tasks.report_generation.layers import R2GenNorm

FOLDER = Path(__file__).parents[2] / "parity" / "vlci"
CASES: dict[str, Any] = torch.load(FOLDER / "modules.pt", weights_only=True)
SIZES = Sizes(16, 8, 64, 0.1, published=True)
PARTS = {"0": "query", "1": "key", "2": "value", "3": "out"}
LAYER = {
    "attn.linears": "attention",
    "feed_forward.w_1": "rest.feedforward.0",
    "feed_forward.w_2": "rest.feedforward.3",
    "sublayer_attn.norm": "norm",
    "sublayer_ff.norm": "rest.norm",
}
FUSE = {
    "norm_l": "norm_local",
    "norm_g": "norm_global",
    "llf.linears": "to_local",
    "lgf.linears": "to_global",
    "proj": "project",
    "fc": "linear",
    "norm": "norm",
}


def renamed(state: dict[str, Tensor], names: dict[str, str], prefix: str = "") -> dict[str, Tensor]:
    """Return the published weights under our names."""
    weights = {}
    for published, value in state.items():
        module = published.removeprefix(prefix)
        fits = [name for name in names if module.startswith(f"{name}.")]
        if not published.startswith(prefix) or not fits:
            continue
        name = max(fits, key=len)
        rest = module.removeprefix(f"{name}.").split(".")
        if rest[0] in PARTS and name.endswith("linears"):
            rest[0] = PARTS[rest[0]]
        end = {"gamma": "weight", "beta": "bias"}.get(rest[-1], rest[-1])
        weights[".".join([names[name], *rest[:-1], end])] = value
    return weights


def loaded(module: nn.Module, weights: dict[str, Tensor]) -> nn.Module:
    module.load_state_dict(weights)
    return module.eval()


def close(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


# --------------------------------------------------------------------------------- published modules
def test_layer_norm_is_the_published_one() -> None:
    close(R2GenNorm(16)(CASES["layer_norm"]["input"]), CASES["layer_norm"]["output"])


def test_front_door_is_the_published_one() -> None:
    case = CASES["front_door"]
    close(front_door(case["feature"], case["mediator"]), case["output"])


@torch.no_grad()
def test_two_paths_are_the_published_ones() -> None:
    case = CASES["causal_attention"]
    layer = loaded(TwoPaths(SIZES), renamed(case["state"], LAYER))
    close(layer(case["input"]), case["output"])


def test_chosen_patches_are_the_published_ones() -> None:
    case = CASES["rollout_top_k"]
    chosen = looked_at(case["attention"], case["k"])
    assert torch.equal(chosen, case["indices"])
    seen = rollout(case["attention"])[:, :, 0, 1:].flatten(1)
    head = torch.arange(16) // case["k"] * 9
    close(seen.gather(1, chosen + head), case["values"])


@torch.no_grad()
def test_local_features_are_the_published_ones() -> None:
    case = CASES["local_features"]
    weights = renamed(case["state"], LAYER, "causal_layer.")
    weights = {f"layers.0.{name}": value for name, value in weights.items()}
    local = loaded(LocalFeatures(SIZES, 1), weights)
    close(local(case["tokens"], looked_at(case["attention"], case["k"])), case["output"])


@torch.no_grad()
def test_the_visual_mediator_is_the_published_one() -> None:
    case = CASES["local_global_fusion"]
    mediator = loaded(VisualMediator(SIZES), renamed(case["state"], FUSE))
    close(mediator(case["local"], case["global"]), case["output"])


@torch.no_grad()
def test_the_visual_module_is_the_published_one() -> None:
    case = CASES["visual_module"]
    mediator = loaded(VisualMediator(SIZES), renamed(case["state"], FUSE, "fuse."))
    tokens = case["tokens"]
    close(tokens + front_door(tokens, mediator(case["local"], case["global"])), case["output_on"])
    assert torch.equal(tokens, case["output_off"])


@torch.no_grad()
def test_the_linguistic_module_is_the_published_one() -> None:
    case = CASES["linguistic_module"]
    weights = {
        **{f"to_words.{k}": v for k, v in renamed(case["state"], LAYER, "fuse_t.").items()},
        **{f"to_local.{k}": v for k, v in renamed(case["state"], LAYER, "fuse_v.").items()},
        **renamed(
            {k: v for k, v in case["state"].items() if k.startswith("norm.")}, {"norm": "norm"}
        ),
    }
    mediator = loaded(LanguageMediator(SIZES), weights)
    words = case["words"]
    shared = case["vocabulary"][:1]
    assert torch.equal(case["vocabulary"], shared.expand(2, -1, -1))
    close(words + front_door(words, mediator(case["local"], shared)), case["output_on"])
    assert torch.equal(words, case["output_off"])


# ------------------------------------------------------------------------------------ the equations
def softmax(x: np.ndarray) -> np.ndarray:
    raised = np.exp(x - x.max(-1, keepdims=True))
    return raised / raised.sum(-1, keepdims=True)


def door(x: np.ndarray, mediator: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """FD(x, m) of one study: v = softmax(m xT) x, softmax(x mT) v."""
    through = softmax(scale * mediator @ x.T) @ x
    return softmax(scale * x @ mediator.T) @ through


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_front_door_equals_the_equation(scale: float) -> None:
    x, mediator = drawn(2, 9, 16), drawn(2, 5, 16)
    present = torch.ones(2, 9, dtype=torch.bool)
    present[1, 6:] = False
    found = front_door(x, mediator, present, scale)
    for study, count in ((0, 9), (1, 6)):
        wanted = door(x[study, :count].numpy(), mediator[study].numpy(), scale)
        np.testing.assert_allclose(found[study, :count].numpy(), wanted, rtol=1e-9)


@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_a_word_reads_itself_and_those_before_it(scale: float) -> None:
    words, mediator = drawn(2, 7, 16), drawn(2, 5, 16)
    found = causal_front_door(words, mediator, scale)
    for study in range(2):
        for place in range(7):
            before = words[study, : place + 1].numpy()
            wanted = door(before, mediator[study].numpy(), scale)[-1]
            np.testing.assert_allclose(found[study, place].numpy(), wanted, rtol=1e-9)
    torch.testing.assert_close(
        newest_front_door(words[:, :4], mediator, scale)[:, 0], found[:, 3], rtol=1e-9, atol=1e-12
    )


def test_large_scores_of_a_first_word_do_not_vanish() -> None:
    """Words are scaled by the root of the width and scores are not, so that they are large."""
    words = torch.stack([torch.full((16,), -9.0), torch.full((16,), 9.0)])[None]
    found = causal_front_door(words, torch.ones(1, 3, 16))
    torch.testing.assert_close(found[0, 0], words[0, 0])


def test_rollout_equals_the_product_of_the_layers() -> None:
    attention = [drawn(1, 2, 4, 4).softmax(-1), drawn(1, 2, 4, 4).flip(3).softmax(-1)]
    wanted = attention[1][0, 1].numpy() @ attention[0][0, 1].numpy()
    np.testing.assert_allclose(rollout(attention)[0, 1].numpy(), wanted, rtol=1e-12)


def test_patches_that_are_not_there_are_never_chosen() -> None:
    attention = [torch.rand(2, 3, 6, 6).softmax(-1)]
    there = torch.tensor([[[False, True, True, False, True]], [[True] * 5]])
    chosen = looked_at(attention, 3, there)
    assert chosen.shape == (2, 9) and set(chosen[0].tolist()) == {1, 2, 4}


@torch.no_grad()
def test_global_features_equal_the_equations() -> None:
    """One block: largest of four cells, attention with a bias by offset, feed-forward."""
    torch.manual_seed(0)
    whole = GlobalFeatures(Sizes(8, 2, 12, 0.1, published=False), (3, 4)).double().eval()
    nn.init.normal_(whole.bias)
    patches = drawn(1, 12, 8)
    x = patches[0].numpy().reshape(3, 4, 8)

    def normed(values: np.ndarray, norm: Any) -> np.ndarray:
        centred = values - values.mean(-1, keepdims=True)
        deviation = np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
        return centred / deviation * norm.weight.numpy() + norm.bias.numpy()

    def linear(values: np.ndarray, layer: Any) -> np.ndarray:
        return values @ layer.weight.numpy().T + layer.bias.numpy()

    def pooled(values: np.ndarray) -> np.ndarray:
        cells = [
            values[row : row + 2, column : column + 2].reshape(-1, 8).max(0)
            for row in (0, 2)
            for column in (0, 2)
        ]
        return np.stack(cells)

    y = pooled(normed(x, whole.norm))
    query, key, value = (
        linear(y, getattr(whole.attention, part)) for part in ("query", "key", "value")
    )
    places = [(0, 0), (0, 1), (1, 0), (1, 1)]
    heads = []
    for head in range(2):
        part = slice(4 * head, 4 * head + 4)
        bias = [
            [whole.bias[head, (a - c + 1) * 3 + b - d + 1].item() for c, d in places]
            for a, b in places
        ]
        heads.append(softmax(query[:, part] @ key[:, part].T / 2 + np.array(bias)) @ value[:, part])
    seen = linear(np.concatenate(heads, -1), whole.attention.out)
    z = linear(pooled(x), whole.project) + seen
    hidden = np.maximum(0, linear(normed(z, whole.rest.norm), whole.rest.feedforward[0]))
    wanted = z + linear(hidden, whole.rest.feedforward[3])
    np.testing.assert_allclose(whole(patches)[0].numpy(), wanted, rtol=1e-9)
