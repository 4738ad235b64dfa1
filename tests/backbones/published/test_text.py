"""The text sides of GLoRIA, MGCA and MedCLIP against plain references, with small text encoders in
the published layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from backbones.published.loading import PublishedPair
from bench.contracts import BACKBONES, BackboneRequest, ImageTextEncoder, has_text_side
from bench.core.errors import (
    CheckpointError,
    MissingDependencyError,
    NotApplicableError,
)
from bench.encoding.similarity import need_text_side
from tests.backbones.published import layouts

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "no",
    "pleural",
    "effus",
    "##ion",
    "small",
    "left",
    "heart",
    "is",
    "large",
    "##r",
    "opacity",
]
TEXTS = ["No pleural effusion.", "Heart is larger; small left opacity"]
WIDTH, LAYERS = 64, 6


def random_state(shapes: dict[str, list[int]]) -> dict[str, torch.Tensor]:
    generator = torch.manual_seed(6)
    state = {}
    for key, shape in shapes.items():
        positive = key.endswith(("running_var", "LayerNorm.weight", ".1.weight"))
        value = torch.randn(shape, generator=generator) * 0.1
        state[key] = (
            value.abs() + 0.5 if positive else torch.tensor(1) if key.endswith("tracked") else value
        )
    return state


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bert")
    (path / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    return path


def load(
    name: str, shapes: dict[str, list[int]], folder: Path, tmp_path: Path, wrap: bool = True
) -> tuple[PublishedPair, dict[str, torch.Tensor]]:
    state = random_state(shapes)
    path = tmp_path / "weights.ckpt"
    torch.save({"state_dict": state} if wrap else state, path)
    settings = {
        "weights": str(path),
        "text_model": str(folder),
        **({"upsample": "0"} if "r50" in name or name.startswith("gl") else {}),
    }
    built = BACKBONES.get(name).build(BackboneRequest("paper", settings=settings))
    assert isinstance(built, PublishedPair)
    return built, state


def images() -> torch.Tensor:
    return torch.randn(3, 3, 64, 64, generator=torch.manual_seed(2))


def hidden(
    backbone: PublishedPair,
    ids: torch.Tensor,
    mask: torch.Tensor,
    **options: Any,
) -> torch.Tensor:
    """Return all hidden states [layers + 1, T, L, d]."""
    found = backbone.text.bert(
        input_ids=ids, attention_mask=mask, output_hidden_states=True, **options
    )
    return torch.stack(found.hidden_states)


def test_word_pieces_are_encoded(folder: Path) -> None:
    from backbones.published.text import Pieces, cleaned

    ids = Pieces(folder).encode([cleaned(text) for text in TEXTS], 97, pad_to=12)
    names = [[WORDS[i] for i in row] for row in ids.tolist()]
    assert names[0] == ["[CLS]", "no", "pleural", "effus", "##ion", "[SEP]", *["[PAD]"] * 6]
    assert names[1][1:7] == ["heart", "is", "large", "##r", "small", "left"]
    assert Pieces(folder).encode(["no " * 200], 97).shape == (1, 97)


@torch.no_grad()
def test_gloria_scores_equal_a_plain_reference(folder: Path, tmp_path: Path) -> None:
    shapes = layouts.gloria(WIDTH, LAYERS, len(WORDS))
    backbone, state = load("gloria_published", shapes, folder, tmp_path)
    ids, mask = backbone.text.tokens(TEXTS)
    assert ids.shape == (2, 97)
    layers = hidden(backbone, ids, mask)[-4:].sum(0)
    found = backbone.features(images())
    regions = found.patches @ state["gloria.img_encoder.local_embedder.weight"][:, :, 0, 0].T
    pooled = (
        found.pooled @ state["gloria.img_encoder.global_embedder.weight"].T
        + state["gloria.img_encoder.global_embedder.bias"]
    )
    expected = torch.zeros(3, 2)
    for t, groups in enumerate(
        [[[1], [2], [3, 4]], [[1], [2], [3, 4], [5], [6], [7]]]
    ):  # tokens of each word, [CLS] and [SEP] out
        words = torch.stack([layers[t, group].sum(0) for group in groups])
        sentence = layers[t, : int(mask[t].sum())].sum(0) / 97
        for i in range(3):
            attention = ((regions[i] @ words.T).softmax(1).T * 4).softmax(
                1
            )  # over words, then over regions
            cosine = torch.cosine_similarity(attention @ regions[i], words, dim=1)
            local = torch.log(torch.exp(5 * cosine).max())
            expected[i, t] = (local + torch.cosine_similarity(pooled[i], sentence, dim=0)) / 2
    assert torch.allclose(backbone.similarity(images(), TEXTS), expected, atol=1e-4)
    maps = backbone.grounding(images(), TEXTS)
    states = torch.stack([layers[0, group].sum(0) for group in [[1], [2], [3, 4]]])
    cosines = torch.cosine_similarity(regions[2][:, None], states[None], dim=2).mean(1)
    assert maps is not None and torch.allclose(maps[2, 0].flatten(), cosines, atol=1e-5)
    assert has_text_side(backbone) and isinstance(backbone, ImageTextEncoder)
    assert torch.allclose(backbone.embed_images(images()).norm(dim=1), torch.ones(3), atol=1e-5)
    assert torch.allclose(
        backbone.embed_texts(TEXTS[:1]), backbone.embed_texts(TEXTS)[:1], atol=1e-5
    )


def test_text_is_cleaned_as_glorias_and_mgcas_code_does() -> None:
    from backbones.published.text import cleaned

    report = "No effusion.\n1. Clear.\n2. Nodule of 1.5 cm."
    assert cleaned(report) == "no effusion nodule of 5 cm"


@torch.no_grad()
def test_glorias_score_at_inference_does_not_see_cls(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes = layouts.gloria(WIDTH, LAYERS, len(WORDS))
    backbone, _ = load("gloria_published", shapes, folder, tmp_path)
    side: Any = backbone.text
    features = backbone.features(images())
    texts = ["the heart", "no strange pleural effusion"]  # [UNK] is a word like others
    words, scored, sentences = side.words(texts)
    assert scored.sum(1).tolist() == [2, 4] and not scored[:, 0].any()
    before = side.similarity(features, texts)

    def changed(position: int) -> torch.Tensor:
        other = words.clone()
        other[:, position] = torch.randn(WIDTH, generator=torch.manual_seed(3))
        monkeypatch.setattr(side, "words", lambda _: (other, scored, sentences))
        return side.similarity(features, texts)

    assert torch.equal(changed(0), before)
    assert torch.equal(changed(5), before)  # [SEP] of the longer text, empty in the other
    assert not torch.allclose(changed(1), before)


@torch.no_grad()
def test_a_text_without_a_word_is_scored_by_the_cosine_alone(folder: Path, tmp_path: Path) -> None:
    shapes = layouts.gloria(WIDTH, LAYERS, len(WORDS))
    backbone, _ = load("gloria_published", shapes, folder, tmp_path)
    scores = backbone.similarity(images(), ["Normal.", "no effusion"])
    cosine = backbone.embed_images(images()) @ backbone.embed_texts(["Normal."]).T
    assert torch.allclose(scores[:, :1], cosine, atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "kind"), [("mgca_published_r50", "resnet"), ("mgca_published_vit", "vit")]
)
def test_mgca_text_is_order_blind_and_equals_a_plain_reference(
    name: str, kind: str, folder: Path, tmp_path: Path
) -> None:
    backbone, state = load(name, layouts.mgca(kind, WIDTH, LAYERS, len(WORDS)), folder, tmp_path)
    first, again = backbone.embed_texts(["small left opacity", "left opacity small"])
    assert torch.allclose(first, again, atol=1e-5)
    prefix = "text_encoder_q.global_embed.head."
    ids, mask = backbone.text.tokens(TEXTS)
    cls = hidden(backbone, ids, mask, position_ids=torch.zeros_like(ids))[-1, :, 0]
    x = cls @ state[f"{prefix}0.weight"].T + state[f"{prefix}0.bias"]
    x = (x - state[f"{prefix}1.running_mean"]) / (state[f"{prefix}1.running_var"] + 1e-5).sqrt()
    x = (x * state[f"{prefix}1.weight"] + state[f"{prefix}1.bias"]).relu() @ state[
        f"{prefix}3.weight"
    ].T + state[f"{prefix}3.bias"]
    x = (x - state[f"{prefix}4.running_mean"]) / (state[f"{prefix}4.running_var"] + 1e-5).sqrt()
    expected = torch.nn.functional.normalize(x, dim=1)
    assert torch.allclose(backbone.embed_texts(TEXTS), expected, atol=1e-4)
    scores = backbone.similarity(images(), TEXTS)
    assert torch.allclose(scores, backbone.embed_images(images()) @ expected.T, atol=1e-4)
    assert (backbone.text.bert.embeddings.token_type_embeddings.weight == 0).all()


@torch.no_grad()
def test_medclip_text_is_the_mean_of_three_layers(folder: Path, tmp_path: Path) -> None:
    shapes = layouts.medclip(
        layouts.resnet50() | {"fc.weight": [512, 2048]}, WIDTH, LAYERS, len(WORDS)
    )
    backbone, state = load("medclip_r50", shapes, folder, tmp_path, wrap=False)
    ids, mask = backbone.text.tokens(TEXTS[1:])
    layers = hidden(backbone, ids, mask)
    mean = (layers[1].mean(1) + layers[2].mean(1) + layers[-1].mean(1)) / 3
    expected = torch.nn.functional.normalize(
        mean @ state["text_model.projection_head.weight"].T, dim=1
    )
    assert torch.allclose(backbone.embed_texts(TEXTS)[1:], expected, atol=1e-5)
    image = torch.nn.functional.normalize(
        backbone.features(images()).pooled @ state["vision_model.model.fc.weight"].T, dim=1
    )
    assert torch.allclose(backbone.embed_images(images()), image, atol=1e-5)
    last = backbone.features(images()).pyramid[-1]
    places = torch.einsum("bchw,dc->bhwd", last, state["vision_model.model.fc.weight"])
    maps = backbone.grounding(images(), TEXTS[1:])
    cosines = torch.cosine_similarity(places, expected[0].expand_as(places), dim=3)
    assert maps is not None and torch.allclose(maps[:, 0], cosines, atol=1e-5)


def test_without_a_tokenizer_there_is_no_text_side(tmp_path: Path) -> None:
    path = tmp_path / "x.ckpt"
    torch.save(layouts.file_of("mflag"), path)
    backbone = BACKBONES.get("mflag").build(
        BackboneRequest("paper", settings={"weights": str(path), "text_model": str(tmp_path)})
    )
    assert not has_text_side(backbone)
    with pytest.raises(
        NotApplicableError, match="backbone 'mflag' has none here: .*frozen CXR-BER"
    ):
        need_text_side(backbone, "retrieval")


def test_a_wrong_tokenizer_is_refused(folder: Path, tmp_path: Path) -> None:
    shapes = layouts.mgca("resnet", WIDTH, 1, len(WORDS) + 1)
    with pytest.raises(
        CheckpointError, match="vocabulary has 15 pieces, the text encoder in .* 16"
    ):
        load("mgca_published_r50", shapes, folder, tmp_path)
    with pytest.raises(MissingDependencyError, match=r"no vocab\.txt"):
        load("mgca_published_r50", shapes, tmp_path, tmp_path)


def test_a_file_whose_text_encoder_is_incomplete_is_refused(folder: Path, tmp_path: Path) -> None:
    shapes = layouts.gloria(WIDTH, LAYERS, len(WORDS))
    broken = {
        key: shape
        for key, shape in shapes.items()
        if "text_encoder.model.encoder.layer.3" not in key
    }
    broken["gloria.text_encoder.model.encoder.layer.3.output.dense.bias"] = [WIDTH]
    with pytest.raises(
        CheckpointError, match=r"text encoder under gloria.*encoder\.layer\.3\.attention"
    ):
        load("gloria_published", broken, folder, tmp_path)
