"""An encoder of one's own: timm's ResNet-18, with its weights or those of `--checkpoint`."""

import torch
from timm import create_model

from bench.contracts import BackboneRequest, Features, InputSpec, backbone


@backbone("my_resnet", licence="that of the weights")
class MyResNet:
    """ResNet-18, an example"""

    name, architecture, family = "my_resnet", "resnet18", "resnet"
    input = InputSpec(size=224, resize=256, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    pooled_dim = patch_dim = 512
    pyramid_channels, pyramid_strides = (64, 128, 256, 512), (4, 8, 16, 32)

    def __init__(self, request: BackboneRequest) -> None:
        file = request.checkpoint
        self.module = create_model("resnet18", not file, features_only=True, checkpoint_path=file)

    def features(self, images: torch.Tensor) -> Features:
        """Return pooled features [B, D], patches [B, N, D] and maps, from fine to coarse."""
        maps = tuple(self.module(images)[1:])
        return Features(maps[-1].mean((2, 3)), maps[-1].flatten(2).mT, maps[-1].shape[2:], maps)
