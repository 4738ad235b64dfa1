"""A dataset, a task and an encoder of one's own, in one file: `place-bench --plugin stranger.py run
stranger_seg ...`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bench.contracts import (
    BackboneRequest,
    CheckResult,
    Dataset,
    Features,
    ImageEncoder,
    InputSpec,
    TaskSpec,
    backbone,
    dataset,
    task,
)

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import torch


@dataset
class Stranger(Dataset):
    """Folder with `list.csv` (columns image, patient), `images/*.png` and `masks/*.png` of the same
    names."""

    name = "stranger"
    title = "Somebody's own radiographs"
    licence = "private"
    citation = "none"
    how_to_get = "Put list.csv, images/ and masks/ into <data root>/stranger."
    marker = "list.csv"
    mask_classes = ("lesion",)

    def index(self, root: Path) -> pd.DataFrame:
        """Read list.csv; the splits are left to the harness (70/15/15 by patient)."""
        import pandas as pd

        from bench.data.tables import read_table

        table = read_table(root / "list.csv", ("image", "patient"), key="image")
        names = table["image"]
        return pd.DataFrame(
            {
                "image_id": names,
                "patient_id": table["patient"],
                "path": "images/" + names,
                "mask_paths": [(f"masks/{name}",) for name in names],
                "split": "",
            }
        )

    def validate(self, root: Path) -> list[CheckResult]:
        """Look for every listed image."""
        missing = [path for path in self.index(root)["path"] if not (root / path).is_file()]
        return [CheckResult("error", f"{root / path} is missing") for path in missing] or [
            CheckResult("ok", "all images are there")
        ]

    def mask(self, row: pd.Series, root: Path) -> np.ndarray:
        """Return the lesion mask [1, H, W]."""
        from bench.data.images import read_image

        return (read_image(root / row["mask_paths"][0]) > 127).astype("uint8")[None]


task(
    TaskSpec(
        name="stranger_seg",
        kind="segmentation",
        dataset="stranger",
        title="Lesions on somebody's own radiographs",
        main_metric="dice_per_image",
        fractions=(1.0,),
    )
)


@backbone("stranger_net", licence="private", seeded=True)
def stranger_net(request: BackboneRequest) -> ImageEncoder:
    """Build a small convolutional pyramid with random weights."""
    import torch
    from torch import nn

    class Net:
        """Four strided convolutions; everything a head may ask of an encoder."""

        name, architecture, family = "stranger_net", "four_convolutions", "resnet"
        input = InputSpec(size=128, resize=128)
        pooled_dim = patch_dim = 64
        pyramid_channels, pyramid_strides = (16, 32, 48, 64), (4, 8, 16, 32)

        def __init__(self) -> None:
            torch.manual_seed(request.seed)
            widths = (3, *self.pyramid_channels)
            steps = (4, 2, 2, 2)
            self.module = nn.ModuleList(
                nn.Conv2d(widths[i], widths[i + 1], steps[i], steps[i]) for i in range(4)
            )

        def features(self, images: torch.Tensor) -> Features:
            """Encode images [B, 3, H, W]."""
            maps = []
            for layer in self.module.children():
                images = torch.relu(layer(images))
                maps.append(images)
            patches = maps[-1].flatten(2).transpose(1, 2)
            return Features(
                patches.mean(1), patches, (maps[-1].shape[-2], maps[-1].shape[-1]), tuple(maps)
            )

    return Net()
