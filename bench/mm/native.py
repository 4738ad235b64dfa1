"""The weights of a timm ViT under the names of mmsegmentation's own VisionTransformer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.contracts import Backbone
from bench.core.errors import SettingError

if TYPE_CHECKING:
    from timm.models.vision_transformer import VisionTransformer
    from torch import Tensor

_NAMES = (
    ("patch_embed.proj.", "patch_embed.projection."),
    ("blocks.", "layers."),
    (".norm1.", ".ln1."),
    (".norm2.", ".ln2."),
    (".attn.qkv.", ".attn.attn.in_proj_"),
    (".attn.proj.", ".attn.attn.out_proj."),
    (".mlp.fc1.", ".ffn.layers.0.0."),
    (".mlp.fc2.", ".ffn.layers.1."),
)


def timm_vit(backbone: Backbone) -> VisionTransformer:
    """Return the timm ViT inside an encoder; raise SettingError where there is none, or where it
    has a layer that mmsegmentation's lacks."""
    from timm.models.vision_transformer import VisionTransformer

    modules = backbone.module.modules()
    models = [module for module in modules if isinstance(module, VisionTransformer)]
    if not models:
        raise SettingError(
            f"encoder '{backbone.name}' ({backbone.architecture}) is not a ViT of timm.",
            "Leave --native out: the config then reads it through PlaceBenchBackbone.",
        )
    lacking = [name for name in mmseg_state(models[0]) if name not in _expected(models[0])]
    if lacking or not _is_plain(models[0]):
        names = f" ({', '.join(lacking[:3])})" if lacking else ""
        raise SettingError(
            f"encoder '{backbone.name}' has layers that mmsegmentation's VisionTransformer "
            f"lacks{names}.",
            "Leave --native out: the config then reads it through PlaceBenchBackbone.",
        )
    return models[0]


def mmseg_state(model: VisionTransformer) -> dict[str, Tensor]:
    """Return the weights of a timm ViT by mmsegmentation's names."""
    return {_renamed(name): value.cpu().clone() for name, value in model.state_dict().items()}


def mmseg_options(model: VisionTransformer, levels: int) -> dict[str, Any]:
    """Return the arguments of mmsegmentation's VisionTransformer that make the same network, with
    `levels` maps evenly apart.

    The last map is the normalised one, equal to the encoder's patches; mmsegmentation does not
    normalise the maps before it.
    """
    from torch import nn

    depth = len(model.blocks)
    block: Any = model.blocks[0]
    patches: Any = model.patch_embed
    return {
        "img_size": list(patches.img_size),
        "patch_size": patches.patch_size[0],
        "patch_bias": patches.proj.bias is not None,
        "embed_dims": model.embed_dim,
        "num_layers": depth,
        "num_heads": block.attn.num_heads,
        "mlp_ratio": block.mlp.fc1.out_features // model.embed_dim,
        "qkv_bias": block.attn.qkv.bias is not None,
        "norm_cfg": {"type": "LN", "eps": block.norm1.eps},
        "pre_norm": not isinstance(model.norm_pre, nn.Identity),
        "final_norm": True,
        "out_indices": [depth * level // levels - 1 for level in range(1, levels + 1)],
    }


def _renamed(name: str) -> str:
    for ours, theirs in (("norm.", "ln1."), ("norm_pre.", "ln_pre.")):
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    for ours, theirs in _NAMES:
        name = name.replace(ours, theirs)
    return name


def _expected(model: VisionTransformer) -> set[str]:
    """Return the names that mmsegmentation's VisionTransformer of this depth has."""
    block = [
        *("ln1.weight", "ln1.bias", "ln2.weight", "ln2.bias"),
        *("attn.attn.in_proj_weight", "attn.attn.in_proj_bias"),
        *("attn.attn.out_proj.weight", "attn.attn.out_proj.bias"),
        *("ffn.layers.0.0.weight", "ffn.layers.0.0.bias"),
        *("ffn.layers.1.weight", "ffn.layers.1.bias"),
    ]
    names = {"cls_token", "pos_embed", "ln1.weight", "ln1.bias"}
    names |= {"ln_pre.weight", "ln_pre.bias"}
    names |= {"patch_embed.projection.weight", "patch_embed.projection.bias"}
    return names | {f"layers.{n}.{name}" for n in range(len(model.blocks)) for name in block}


def _is_plain(model: VisionTransformer) -> bool:
    """Tell whether a class token and a position each for it and the patches is all that stands
    before the blocks, and the blocks are attention and GELU one after the other."""
    from torch import nn

    block: Any = model.blocks[0]
    patches: Any = model.patch_embed
    positions = patches.num_patches + 1
    exact_gelu = isinstance(block.mlp.act, nn.GELU) and block.mlp.act.approximate == "none"
    return bool(
        model.cls_token is not None
        and model.pos_embed is not None
        and model.pos_embed.shape[1] == positions
        and isinstance(model.norm, nn.LayerNorm)
        and block.attn.qkv.bias is not None
        and type(block).__name__ == "Block"
        and exact_gelu
    )
