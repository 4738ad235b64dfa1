"""From the key names of published files to those of timm's networks."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import torch

from backbones.shared.weights.reading import State


def _substitute(state: State, rules: Sequence[tuple[str, str]]) -> State:
    """Apply regular-expression rules to every key, in order."""
    renamed = {}
    for key, value in state.items():
        for pattern, replacement in rules:
            key = re.sub(pattern, replacement, key)  # noqa: PLW2901
        renamed[key] = value
    return renamed


def _join_qkv(state: State) -> State:
    """Join `...attn.query.weight`, key and value into `...attn.qkv.weight`; an incomplete triple is
    left as it is."""
    joined = dict(state)
    for key in state:
        triple = [key.replace(".query.", f".{name}.") for name in ("query", "key", "value")]
        if ".query." in key and all(member in state for member in triple):
            tensors = [joined.pop(member) for member in triple]
            joined[key.replace(".query.", ".qkv.")] = torch.cat(tensors)
    return joined


def resnet_children(state: State) -> State:
    """Name the children of an nn.Sequential over a ResNet (0 conv1, 1 bn1, 4.. layer1..) as in the
    ResNet (MedKLIP)."""
    rules = [
        (r"^0\.", "conv1."),
        (r"^1\.", "bn1."),
        *((rf"^{n + 3}\.", f"layer{n}.") for n in (1, 2, 3, 4)),
    ]
    return _substitute(state, rules)


def refers(state: State) -> State:
    """Rename the Vision Transformer of REFERS (jeonsworld's layout); its class token and positions
    come along."""
    rules = [
        (r"^transformer\.", ""),
        (r"^embeddings\.position_embeddings$", "pos_embed"),
        (r"^embeddings\.cls_token$", "cls_token"),
        (r"^embeddings\.patch_embeddings\.", "patch_embed.proj."),
        (r"^encoder\.layer\.", "blocks."),
        (r"^encoder\.encoder_norm\.", "norm."),
        (r"\.attention_norm\.", ".norm1."),
        (r"\.ffn_norm\.", ".norm2."),
        (r"\.attn\.out\.", ".attn.proj."),
        (r"\.ffn\.fc", ".mlp.fc"),
    ]
    return _join_qkv(_substitute(state, rules))


def clip(state: State) -> State:
    """Rename the visual transformer of OpenAI's CLIP."""
    rules = [
        (r"^conv1\.", "patch_embed.proj."),
        (r"^class_embedding$", "cls_token"),
        (r"^positional_embedding$", "pos_embed"),
        (r"^ln_pre\.", "norm_pre."),
        (r"^ln_post\.", "norm."),
        (r"^transformer\.resblocks\.", "blocks."),
        (r"\.ln_(\d)\.", r".norm\1."),
        (r"\.attn\.in_proj_", ".attn.qkv."),
        (r"\.attn\.out_proj\.", ".attn.proj."),
        (r"\.mlp\.c_fc\.", ".mlp.fc1."),
        (r"\.mlp\.c_proj\.", ".mlp.fc2."),
    ]
    renamed = _substitute(state, rules)
    leading = {"cls_token": 3, "pos_embed": 3}
    return {
        key: _with_leading(value, leading.get(key, value.ndim)) for key, value in renamed.items()
    }


def _with_leading(value: torch.Tensor, ndim: int) -> torch.Tensor:
    return value.reshape((1,) * (ndim - value.ndim) + value.shape)


def swin(state: State) -> State:
    """Rename a Swin Transformer of transformers before version 5 (MedCLIP-ViT); timm down-samples
    at the start of a stage."""
    rules = [
        (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
        (r"^embeddings\.norm\.", "patch_embed.norm."),
        (r"^layernorm\.", "norm."),
        (r"^encoder\.layers\.", "layers."),
        (r"\.layernorm_before\.", ".norm1."),
        (r"\.layernorm_after\.", ".norm2."),
        (r"\.attention\.self\.", ".attn."),
        (r"\.attention\.output\.dense\.", ".attn.proj."),
        (r"\.intermediate\.dense\.", ".mlp.fc1."),
        (r"(blocks\.\d+)\.output\.dense\.", r"\1.mlp.fc2."),
    ]
    renamed = _join_qkv(_substitute(state, rules))
    return {
        re.sub(r"^layers\.(\d+)\.downsample\.", _next_stage, key): value
        for key, value in renamed.items()
    }


def _next_stage(match: re.Match[str]) -> str:
    return f"layers.{int(match[1]) + 1}.downsample."


def unchanged(state: State) -> State:
    """Return the keys as they are."""
    return state


RENAMES: dict[str, Callable[[State], State]] = {
    "": unchanged,
    "resnet_children": resnet_children,
    "refers": refers,
    "clip": clip,
    "swin": swin,
}
