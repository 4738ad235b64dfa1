"""State dicts with the names and shapes of the published files; every tensor is filled with a
number of its own.

Full-size files are small on disk: a tensor is one number, expanded.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch

PARITY = Path(__file__).resolve().parents[2] / "parity"


def number(key: str) -> float:
    """Return the value every element of tensor `key` has."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:2], "big") / 65536 + 0.1


def tensor(key: str, shape: list[int]) -> torch.Tensor:
    if key.endswith("num_batches_tracked"):
        return torch.tensor(7)
    return torch.tensor(number(key)).expand(tuple(shape))


def filled(shapes: dict[str, list[int]]) -> OrderedDict:
    return OrderedDict((key, tensor(key, shape)) for key, shape in shapes.items())


def prefixed(prefix: str, shapes: dict[str, list[int]]) -> dict[str, list[int]]:
    return {prefix + key: shape for key, shape in shapes.items()}


def resnet50(stages: int = 4, fc: bool = False) -> dict[str, list[int]]:
    from torchvision.models import resnet50 as network

    with torch.device("meta"):
        state = network().state_dict()
    drop = tuple(f"layer{n}." for n in range(stages + 1, 5)) + (() if fc else ("fc.",))
    return {key: list(value.shape) for key, value in state.items() if not key.startswith(drop)}


def timm_shapes(name: str) -> dict[str, list[int]]:
    import timm

    with torch.device("meta"):
        state = timm.create_model(name, num_classes=0).state_dict()
    return {key: list(value.shape) for key, value in state.items()}


def bert(
    layers: int = 1,
    width: int = 768,
    vocabulary: int = 28996,
    pooler: bool = True,
    token_types: bool = True,
    position_ids: bool = True,
    cross: bool = False,
) -> dict[str, list[int]]:
    """Return the shapes of Hugging Face's BERT; `cross` adds BLIP's cross-attention."""
    shapes = {"embeddings.position_ids": [1, 512]} if position_ids else {}
    shapes |= {
        "embeddings.word_embeddings.weight": [vocabulary, width],
        "embeddings.position_embeddings.weight": [512, width],
    }
    shapes |= {"embeddings.token_type_embeddings.weight": [2, width]} if token_types else {}
    shapes |= norm("embeddings.LayerNorm", width)
    for n in range(layers):
        for kind in ("attention", *(("crossattention",) if cross else ())):
            for part in ("self.query", "self.key", "self.value", "output.dense"):
                shapes |= linear(f"encoder.layer.{n}.{kind}.{part}", width, width)
            shapes |= norm(f"encoder.layer.{n}.{kind}.output.LayerNorm", width)
        shapes |= linear(f"encoder.layer.{n}.intermediate.dense", 4 * width, width)
        shapes |= linear(f"encoder.layer.{n}.output.dense", width, 4 * width)
        shapes |= norm(f"encoder.layer.{n}.output.LayerNorm", width)
    return shapes | (linear("pooler.dense", width, width) if pooler else {})


def linear(name: str, out: int, into: int, bias: bool = True) -> dict[str, list[int]]:
    return {f"{name}.weight": [out, into], **({f"{name}.bias": [out]} if bias else {})}


def norm(name: str, width: int) -> dict[str, list[int]]:
    return {f"{name}.weight": [width], f"{name}.bias": [width]}


def mgca_head(
    name: str, into: int, hidden: int = 2048, out: int = 128, conv: bool = False
) -> dict[str, list[int]]:
    tail = [1] if conv else []
    shapes = {f"{name}.head.0.weight": [hidden, into, *tail], f"{name}.head.0.bias": [hidden]}
    for index, width, affine in ((1, hidden, True), (4, out, False)):
        parts = (
            ("weight", "bias", "running_mean", "running_var")
            if affine
            else ("running_mean", "running_var")
        )
        shapes |= {f"{name}.head.{index}.{part}": [width] for part in parts}
        shapes[f"{name}.head.{index}.num_batches_tracked"] = []
    return shapes | {f"{name}.head.3.weight": [out, hidden, *tail], f"{name}.head.3.bias": [out]}


def refers_vit() -> dict[str, list[int]]:
    shapes = {"embeddings.position_embeddings": [1, 197, 768], "embeddings.cls_token": [1, 1, 768]}
    shapes |= {
        "embeddings.patch_embeddings.weight": [768, 3, 16, 16],
        "embeddings.patch_embeddings.bias": [768],
    }
    for n in range(12):
        layer = f"encoder.layer.{n}"
        shapes |= norm(f"{layer}.attention_norm", 768) | norm(f"{layer}.ffn_norm", 768)
        shapes |= linear(f"{layer}.ffn.fc1", 3072, 768) | linear(f"{layer}.ffn.fc2", 768, 3072)
        for part in ("query", "key", "value", "out"):
            shapes |= linear(f"{layer}.attn.{part}", 768, 768)
    return prefixed("transformer.", shapes | norm("encoder.encoder_norm", 768))


def clip_visual(blocks: int = 11, positions: int = 197) -> dict[str, list[int]]:
    shapes = {
        "class_embedding": [768],
        "positional_embedding": [positions, 768],
        "conv1.weight": [768, 3, 16, 16],
    }
    shapes |= norm("ln_pre", 768) | norm("ln_post", 768)
    for n in range(blocks):
        block = f"transformer.resblocks.{n}"
        shapes |= {
            f"{block}.attn.in_proj_weight": [2304, 768],
            f"{block}.attn.in_proj_bias": [2304],
        }
        shapes |= (
            linear(f"{block}.attn.out_proj", 768, 768)
            | norm(f"{block}.ln_1", 768)
            | norm(f"{block}.ln_2", 768)
        )
        shapes |= linear(f"{block}.mlp.c_fc", 3072, 768) | linear(f"{block}.mlp.c_proj", 768, 3072)
    return shapes


def swin_tiny() -> dict[str, list[int]]:
    shapes = {
        "embeddings.patch_embeddings.projection.weight": [96, 3, 4, 4],
        "embeddings.patch_embeddings.projection.bias": [96],
    }
    shapes |= norm("embeddings.norm", 96) | norm("layernorm", 768)
    for stage, (depth, heads) in enumerate(zip((2, 2, 6, 2), (3, 6, 12, 24), strict=True)):
        width = 96 * 2**stage
        for n in range(depth):
            block = f"encoder.layers.{stage}.blocks.{n}"
            shapes |= norm(f"{block}.layernorm_before", width) | norm(
                f"{block}.layernorm_after", width
            )
            for part in ("self.query", "self.key", "self.value", "output.dense"):
                shapes |= linear(f"{block}.attention.{part}", width, width)
            shapes[f"{block}.attention.self.relative_position_bias_table"] = [169, heads]
            shapes[f"{block}.attention.self.relative_position_index"] = [49, 49]
            shapes |= linear(f"{block}.intermediate.dense", 4 * width, width) | linear(
                f"{block}.output.dense", width, 4 * width
            )
        if stage < 3:
            shapes |= linear(
                f"encoder.layers.{stage}.downsample.reduction", 2 * width, 4 * width, bias=False
            )
            shapes |= norm(f"encoder.layers.{stage}.downsample.norm", 4 * width)
    return shapes


def parity(name: str) -> dict[str, Any]:
    """Return the published key list of `name`."""
    return json.loads((PARITY / f"{name}_checkpoint_keys.json").read_text())


def gloria(
    text_width: int = 768, text_layers: int = 12, vocabulary: int = 28996
) -> dict[str, list[int]]:
    shapes = prefixed("text_encoder.model.", bert(text_layers, text_width, vocabulary))
    shapes |= prefixed("img_encoder.model.", resnet50())
    shapes |= linear("img_encoder.global_embedder", text_width, 2048)
    return prefixed(
        "gloria.", shapes | {"img_encoder.local_embedder.weight": [text_width, 1024, 1, 1]}
    )


def mgca(
    kind: str, text_width: int = 768, text_layers: int = 6, vocabulary: int = 28996
) -> dict[str, list[int]]:
    image, pooled, local = (
        (timm_shapes("vit_base_patch16_224"), 768, 768)
        if kind == "vit"
        else (resnet50(), 2048, 1024)
    )
    shapes = prefixed("img_encoder_q.model.", image)
    text = bert(text_layers, text_width, vocabulary, pooler=False, token_types=False, cross=True)
    shapes |= prefixed("text_encoder_q.model.", text)
    for side, (width, patch) in {
        "img_encoder_q": (pooled, local),
        "text_encoder_q": (text_width, text_width),
    }.items():
        shapes |= mgca_head(f"{side}.global_embed", width) | mgca_head(
            f"{side}.local_embed", patch, conv=True
        )
    return shapes | {"prototype_layer.weight": [500, 128]}


def medclip(
    image: dict[str, list[int]],
    text_width: int = 768,
    text_layers: int = 12,
    vocabulary: int = 28996,
    projection: bool = False,
) -> dict[str, list[int]]:
    shapes = prefixed("vision_model.model.", image) | {"logit_scale": []}
    shapes |= {"vision_model.projection_head.weight": [512, 768]} if projection else {}
    shapes |= prefixed("text_model.model.", bert(text_layers, text_width, vocabulary))
    return shapes | {"text_model.projection_head.weight": [512, text_width]}


def res_features() -> dict[str, list[int]]:
    names = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6"}
    shapes = resnet50(stages=3)
    return {
        f"{names[key.split('.')[0]]}.{key.split('.', 1)[1]}": shape for key, shape in shapes.items()
    }


def mrm() -> dict[str, list[int]]:
    decoder = {
        "mask_token": [1, 1, 512],
        "decoder_pos_embed": [1, 197, 512],
        **linear("decoder_embed", 512, 768),
    }
    return timm_shapes("vit_base_patch16_224") | decoder | prefixed("bert_encoder.model.", bert(1))


def file_of(name: str) -> dict[str, Any]:
    """Return what the published file of a backbone holds."""
    with_fc = resnet50() | {"fc.weight": [512, 2048]}
    content = {
        "gloria_published": lambda: {"state_dict": filled(gloria()), "epoch": 1},
        "mgca_published_r50": lambda: {"state_dict": filled(mgca("resnet")), "epoch": 1},
        "mgca_published_vit": lambda: {"state_dict": filled(mgca("vit")), "epoch": 1},
        "convirt_benchx": lambda: {"model": filled(_convirt()), "config": {"lr": 1e-4}},
        "medclip_r50": lambda: filled(medclip(with_fc)),
        "medclip_vit": lambda: filled(medclip(swin_tiny(), projection=True)),
        "medklip": lambda: {
            "model": filled(prefixed("module.res_features.", res_features())),
            "epoch": 60,
        },
        "mflag": lambda: filled(prefixed("encoder.", resnet50()) | linear("proj_v.0", 512, 2048)),
        "mrm": lambda: {"model": filled(mrm())},
        "refers": lambda: {
            "model": filled(
                prefixed("visual.vit.", refers_vit()) | linear("textual.output", 9, 768)
            )
        },
        "ptunifier": lambda: {
            "state_dict": filled(
                prefixed("vision_encoder.visual.", clip_visual()) | {"logit_scale": []}
            )
        },
    }
    state: Any = content[name]()
    return dict(state)


def _convirt() -> dict[str, list[int]]:
    heads = {
        name: value
        for key in ("vis_proj", "lin_proj")
        for n in (0, 2)
        for name, value in linear(f"{key}.{n}", 768, 768).items()
    }
    return prefixed("visual.model.", resnet50()) | heads
