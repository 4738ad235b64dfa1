"""What an encoder can do is asked for: by its methods, and by `has_text` where it has that of
before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from bench.cells.request import RunRequest, left_out, table_rows
from bench.contracts import (
    BACKBONES,
    TASKS,
    Backbone,
    BackboneRequest,
    Features,
    ImageEncoder,
    ImageTextEncoder,
    InputSpec,
    has_text_side,
)
from bench.core.errors import NotApplicableError, SettingError
from bench.encoding.similarity import need_text_side
from bench.running import check_run
from tests.tasks.fakes import Encoder


class Sees:
    """The natural image encoder: plain attributes, no text."""

    name, architecture, family = "sees", "one_layer", "resnet"
    input = InputSpec(size=16, resize=16)
    pooled_dim = patch_dim = 4
    pyramid_channels, pyramid_strides = (4,), (8,)

    def __init__(self) -> None:
        self.module = torch.nn.Conv2d(3, 4, 1)

    def features(self, images: torch.Tensor) -> Features:
        raise NotImplementedError


class Reads(Sees):
    def embed_images(self, images: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def embed_texts(self, texts: Any) -> torch.Tensor:
        raise NotImplementedError

    def similarity(self, images: torch.Tensor, texts: Any) -> torch.Tensor:
        raise NotImplementedError


class Refuses(Reads):
    """As every encoder without a text side had to be written before."""

    has_text = False


def test_an_encoder_without_a_text_side_implements_none() -> None:
    encoder = Sees()
    assert isinstance(encoder, ImageEncoder) and not isinstance(encoder, ImageTextEncoder)
    assert not has_text_side(encoder) and Backbone is ImageEncoder
    with pytest.raises(NotApplicableError, match="retrieval needs .* 'sees' has none\\."):
        need_text_side(encoder, "retrieval")


def test_an_encoder_with_a_text_side_is_told_by_its_methods() -> None:
    encoder = Reads()
    assert isinstance(encoder, ImageTextEncoder)
    assert has_text_side(encoder) and need_text_side(encoder, "retrieval") is encoder


def test_has_text_of_before_is_understood() -> None:
    assert not has_text_side(Refuses())
    assert has_text_side(Encoder(has_text=True)) and not has_text_side(Encoder(has_text=False))


def test_an_encoder_that_embeds_images_alone_has_no_text_side() -> None:
    encoder: Any = Sees()
    encoder.embed_images = lambda images: images
    assert not has_text_side(encoder)


@pytest.mark.parametrize(
    ("given", "lacking"),
    [
        ({"embed_texts": len}, "embed_images, similarity"),
        ({"embed_texts": len, "embed_images": len}, "similarity"),
        ({"has_text": True}, "embed_images, embed_texts, similarity"),
    ],
)
def test_half_a_text_side_is_named(given: dict[str, Any], lacking: str) -> None:
    encoder = Sees()
    for name, value in given.items():
        setattr(encoder, name, value)
    with pytest.raises(SettingError, match=f"'sees' has half a text side: it lacks {lacking}\\."):
        has_text_side(encoder)


def test_an_encoder_of_ours_without_a_text_side_has_no_methods_that_refuse() -> None:
    encoder = BACKBONES.get("random").build(BackboneRequest("demo"))
    assert isinstance(encoder, ImageEncoder) and not hasattr(encoder, "embed_texts")
    assert not has_text_side(encoder)


class Derived(ImageEncoder):
    """One may derive from the protocol too, and set its attributes."""

    name: str
    architecture = "one_layer"
    family = "resnet"
    input = InputSpec(size=16, resize=16)
    module: torch.nn.Module
    pooled_dim = patch_dim = 4
    pyramid_channels, pyramid_strides = (4,), (8,)

    def __init__(self) -> None:
        self.name = "derived"

    def features(self, images: torch.Tensor) -> Features:
        raise NotImplementedError


def test_an_encoder_may_derive_from_the_protocol_and_lacks_what_it_does_not_set() -> None:
    encoder = Derived()
    assert encoder.name == "derived" and not hasattr(encoder, "module")


@pytest.mark.parametrize("task", ["mimic5x200_zs", "mimic5x200_ret"])
def test_a_task_of_texts_refuses_an_encoder_of_images_before_any_data_is_read(task: str) -> None:
    for name in ("random", "imagenet", "timm:resnet18", "mrm", "gloria_published"):
        request = RunRequest((task,), (name,), data_root=Path("nowhere"))
        with pytest.raises(
            NotApplicableError,
            match=f"task '{task}' needs a text encoder, backbone '{name}' has none: .*\\. Choose",
        ):
            check_run(request)
    both = RunRequest((task,), ("random", "convirt"))
    assert table_rows(TASKS.get(task), both) == ["convirt", "baseline:random_order"]
    assert [reason.split("'")[3] for reason in left_out(TASKS.get(task), both)] == ["random"]


def test_an_encoder_is_known_to_read_texts_where_its_settings_say_so() -> None:
    named = RunRequest(("mimic5x200_zs",), ("gloria_published?text_model=FOLDER",))
    assert not left_out(TASKS.get("mimic5x200_zs"), named)
