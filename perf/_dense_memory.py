"""Peak memory of one training step of the large dense models: `python -m perf._dense_memory`.

Prints the largest resident size of a process that does nothing else; each case is a process of its
own.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch

LIMIT_GB = 8.0


def segmentation_step(images: int) -> None:
    """Do one step of UPerNet on a frozen ViT-B/16 at 512 px, BenchX's width (eight images are its
    batch: minutes on two cores).

    In fp32, which takes more memory than its half precision: bfloat16 is emulated, at a seventh of
    the speed, on many CPUs.
    """
    from bench.contracts import BACKBONES, BackboneRequest
    from tasks.segmentation.data import pack
    from tasks.segmentation.model import build_segmentor
    from tasks.segmentation.settings import PRESETS

    backbone = BACKBONES.get("random").build(BackboneRequest("paper", "vit"))
    settings = replace(PRESETS["benchx"]["paper"], batch_size=images)
    model = build_segmentor(backbone, 1, settings, 0).train()
    pixels = torch.randn(images, 3, 512, 512)
    masks = torch.zeros(images, 1, 512, 512)
    masks[:, :, 100:200, 100:200] = 1
    batch = pack(pixels, masks)
    losses = model(**batch, mode="loss")
    model.parse_losses(losses)[0].backward()


def detection_step() -> None:
    """Do one step of MGCA's YOLOv3 on ResNet-50 at 224 px, 16 images."""
    from bench.contracts import BACKBONES, BackboneRequest
    from tasks.detection.data import samples
    from tasks.detection.model import build_detector
    from tasks.detection.settings import PRESETS

    backbone = BACKBONES.get("random").build(BackboneRequest("paper", "resnet"))
    model = build_detector(backbone, 1, PRESETS["mgca"]["paper"], 0).train()
    targets = samples([np.array([[40, 60, 120, 150, 0]], np.float32)] * 16, 224)
    losses = model(torch.randn(16, 3, 224, 224), targets, mode="loss")
    model.parse_losses(losses)[0].backward()


CASES: dict[str, Callable[[], None]] = {
    "UPerNet on ViT-B/16, 512 px, 2 images": partial(segmentation_step, 2),
    "UPerNet on ViT-B/16, 512 px, 8 images": partial(segmentation_step, 8),
    "YOLOv3 on ResNet-50, 224 px, 16 images": detection_step,
}


def main() -> None:
    """Run every case in a process of its own, or the one whose number is given."""
    if len(sys.argv) > 1:
        list(CASES.values())[int(sys.argv[1])]()
        print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f}")
        return
    for number, name in enumerate(CASES):
        command = [sys.executable, "-m", "perf._dense_memory", str(number)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        gigabytes = output.split()[-1]
        print(f"{name}: {gigabytes} GB (limit {LIMIT_GB:g})")


if __name__ == "__main__":
    main()
