"""What is known of every published checkpoint: file, layout, network, input, licence. Imports no
torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench.contracts import InputSpec

Network = Literal["resnet50", "resnet50_layer3", "vit_base", "vit_base_clip", "swin_tiny"]
TextSide = Literal["", "gloria", "mgca", "medclip"]


@dataclass(frozen=True)
class PublishedWeights:
    """One published checkpoint.

    `files` are the names it is published under; `prefixes` of the image encoder's keys, tried in
    this order; `renames` names a function of `renames.py` that turns the rest of a key into ours.
    `upsample`: px the method enlarges its images to for pooled and local features (0: not).
    `pooling`: "cls" or "mean" of the tokens of a transformer. `leaves`: patterns of further layers
    in the file that the method itself does not use. `supervision`: what it learned from beside
    images and reports, as its paper says.
    """

    name: str
    title: str
    files: tuple[str, ...]
    prefixes: tuple[str, ...]
    network: Network
    input: InputSpec
    where: str
    licence: str
    citation: str
    renames: str = ""
    pooling: Literal["cls", "mean"] = "cls"
    upsample: int = 0
    leaves: tuple[str, ...] = ()
    text: TextSide = ""
    no_text: str = "the file has no text encoder that is read here"
    supervision: tuple[str, ...] = ()

    @property
    def architecture(self) -> str:
        """Return the full name of its network, as results name it."""
        return _FULL_NAMES[self.network]

    @property
    def family(self) -> str:
        """Return "vit" or "resnet": the short name by which it may be asked for."""
        return "vit" if self.network.startswith("vit") else "resnet"


_FULL_NAMES: dict[str, str] = {
    "resnet50": "resnet50",
    "resnet50_layer3": "resnet50_layer3",
    "vit_base": "vit_base_patch16_224",
    "vit_base_clip": "vit_base_patch16_clip_11_blocks",
    "swin_tiny": "swin_tiny_patch4_window7_224",
}
_HALF = InputSpec(size=224, resize=256)
_IMAGENET = InputSpec(size=224, resize=224, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
_NIH = InputSpec(size=224, resize=224, mean=(0.4978,) * 3, std=(0.2449,) * 3)
_MEDCLIP = InputSpec(
    size=224, resize=224, mean=(0.5862785803043838,) * 3, std=(0.27950088968644304,) * 3
)
_CLIP = InputSpec(
    224,
    224,
    (0.48145466, 0.4578275, 0.40821073),
    (0.26862954, 0.26130258, 0.27577711),
    interpolation="bicubic",
)

_BENCHX = "huggingface.co/youngzhou12 (BenchX, github.com/yangzhou12/BenchX)"
_NO_LICENCE = "no licence stated for the weights"
_GLORIA = "Huang et al. GLoRIA. ICCV 2021."
_MGCA = "Wang et al. Multi-Granularity Cross-modal Alignment. NeurIPS 2022."
_MEDCLIP_PAPER = "Wang et al. MedCLIP. EMNLP 2022."
_MEDCLIP_SUPERVISION = ("labels", "knowledge")
"""Images without reports are paired by their labels, reports by the terms of a knowledge base."""

PUBLISHED: tuple[PublishedWeights, ...] = (
    PublishedWeights(
        name="gloria_published",
        title="GLoRIA, ResNet-50, CheXpert",
        files=("chexpert_resnet50.ckpt", "GLoRIA.ckpt"),
        prefixes=("gloria.img_encoder.model.",),
        network="resnet50",
        input=_HALF,
        where=f"github.com/marshuang80/gloria (link in its README), or {_BENCHX}",
        licence="Apache-2.0 (code)",
        citation=_GLORIA,
        upsample=299,
        text="gloria",
    ),
    PublishedWeights(
        name="mgca_published_r50",
        title="MGCA, ResNet-50, MIMIC-CXR",
        files=("resnet_50.ckpt", "MGCA-resnet50.ckpt"),
        prefixes=("img_encoder_q.model.",),
        network="resnet50",
        input=_HALF,
        where=f"github.com/HKU-MedAI/MGCA (link in its README), or {_BENCHX}",
        licence=_NO_LICENCE,
        citation=_MGCA,
        upsample=299,
        text="mgca",
    ),
    PublishedWeights(
        name="mgca_published_vit",
        title="MGCA, ViT-B/16, MIMIC-CXR",
        files=("vit_base.ckpt", "MGCA-vit.ckpt"),
        prefixes=("img_encoder_q.model.",),
        network="vit_base",
        input=_HALF,
        where=f"github.com/HKU-MedAI/MGCA (link in its README), or {_BENCHX}",
        licence=_NO_LICENCE,
        citation=_MGCA,
        text="mgca",
    ),
    PublishedWeights(
        name="convirt_benchx",
        title="ConVIRT re-trained by BenchX, ResNet-50, MIMIC-CXR",
        files=("ConVIRT.pth",),
        prefixes=("visual.model.",),
        network="resnet50",
        input=_NIH,
        where=_BENCHX,
        licence="MIT (BenchX)",
        citation="Zhang et al. ConVIRT. MLHC 2022; Zhou et al. BenchX. NeurIPS 2024.",
        no_text="its text encoder is a BioMed-RoBERTa whose key names are not documented",
    ),
    PublishedWeights(
        name="medclip_r50",
        title="MedCLIP, ResNet-50",
        files=("MedCLIP-resnet50.bin",),
        prefixes=("vision_model.model.",),
        network="resnet50",
        input=_MEDCLIP,
        where=f"github.com/RyanWangZf/MedCLIP (pytorch_model.bin of medclip-resnet), or {_BENCHX}",
        licence=_NO_LICENCE,
        citation=_MEDCLIP_PAPER,
        supervision=_MEDCLIP_SUPERVISION,
        text="medclip",
    ),
    PublishedWeights(
        name="medclip_vit",
        title="MedCLIP, Swin-T",
        files=("MedCLIP-vit.bin",),
        prefixes=("vision_model.model.",),
        network="swin_tiny",
        renames="swin",
        input=_MEDCLIP,
        where=f"github.com/RyanWangZf/MedCLIP (pytorch_model.bin of medclip-vit), or {_BENCHX}",
        licence=_NO_LICENCE,
        citation=_MEDCLIP_PAPER,
        supervision=_MEDCLIP_SUPERVISION,
        pooling="mean",
        text="medclip",
    ),
    PublishedWeights(
        name="medklip",
        title="MedKLIP, ResNet-50 up to layer3, MIMIC-CXR",
        files=("MedKLIP.pth",),
        prefixes=("module.res_features.", "res_features."),
        network="resnet50_layer3",
        renames="resnet_children",
        input=_IMAGENET,
        where=f"github.com/MediaBrain-SJTU/MedKLIP (link in its README), or {_BENCHX}",
        licence=_NO_LICENCE,
        citation="Wu et al. MedKLIP. ICCV 2023.",
        supervision=("knowledge",),  # descriptions of the findings that are looked for
    ),
    PublishedWeights(
        name="mflag",
        title="M-FLAG, ResNet-50, MIMIC-CXR",
        files=("M-FLAG.pth", "M-FLAG_total.pth"),
        prefixes=("encoder.",),
        network="resnet50",
        input=_HALF,
        where=f"github.com/cheliu-computation/M-FLAG-MICCAI2023, or {_BENCHX}",
        licence=_NO_LICENCE,
        citation="Liu et al. M-FLAG. MICCAI 2023.",
        no_text="its text encoder is a frozen CXR-BERT that is not in the file",
    ),
    PublishedWeights(
        name="mrm",
        title="MRM, ViT-B/16, MIMIC-CXR",
        files=("MRM.pth",),
        prefixes=("",),
        network="vit_base",
        input=_NIH,
        where=f"github.com/RL4M/MRM-pytorch (link in its README), or {_BENCHX}",
        licence=_NO_LICENCE,
        citation="Zhou et al. Masked Record Modeling. ICLR 2023.",
        pooling="mean",
        no_text="its text decoder gives no report embedding",
    ),
    PublishedWeights(
        name="refers",
        title="REFERS, ViT-B/16, MIMIC-CXR",
        files=("REFERS.pth",),
        prefixes=("visual.vit.", ""),
        network="vit_base",
        renames="refers",
        input=_IMAGENET,
        where=f"github.com/funnyzhou/REFERS (link in its README), or {_BENCHX}",
        licence=_NO_LICENCE,
        citation="Zhou et al. REFERS. Nature Machine Intelligence 2022.",
    ),
    PublishedWeights(
        name="ptunifier",
        title="PTUnifier, CLIP ViT-B/16 of 11 blocks",
        files=("PTUnifier.ckpt",),
        prefixes=("vision_encoder.visual.",),
        network="vit_base_clip",
        renames="clip",
        leaves=("blocks.11.*",),
        input=_CLIP,
        where=f"github.com/zhjohnchan/PTUnifier (link in its README), or {_BENCHX}",
        licence=_NO_LICENCE,
        citation="Chen et al. PTUnifier. ICCV 2023.",
        no_text="its text encoder is part of a fusion model, not of a dual encoder",
    ),
)


def named(name: str) -> PublishedWeights:
    """Return the declaration called `name`."""
    return {item.name: item for item in PUBLISHED}[name]
