"""The demo data: time to write it with one and with two processes, the same bytes both times.

`python -m perf.demo_data --auroc` asks how hard the findings are: AUROC of a linear
classifier on raw pixels and of a small network that is trained on the masks.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from bench.core.progress import default_progress
from tasks.datasets.demos import mimic_cxr, siim
from tasks.demo.beam.render import render
from tasks.demo.body.patient import PATHOLOGY, sample_study
from tasks.demo.writers import manifest

STUDIES = {"siim": 40, "mimic_cxr": 120}
"""A few of what the demos have by default."""
WANTED_SECONDS = 90.0
PIXELS = 128
MAP = 32
SHARE_OF_TRAINING = 0.7
EPOCHS = 24
BATCH = 32


def _written(workers: int) -> tuple[float, str]:
    """Write both data sets; return the seconds it took and a hash of every byte."""
    with TemporaryDirectory() as folder:
        start = time.perf_counter()
        for name, module in (("siim", siim), ("mimic_cxr", mimic_cxr)):
            module.write(
                Path(folder) / name, studies=STUDIES[name], size=256, seed=0, workers=workers
            )
        seconds = time.perf_counter() - start
        files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
        return seconds, sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def run() -> list[dict[str, Any]]:
    """Return one row: a small part of two demos, written by one process and by two."""
    one_s, bytes_of_one = _written(1)
    two_s, bytes_of_two = _written(2)
    size = " + ".join(f"{count} {name}" for name, count in STUDIES.items())
    return [
        {
            "name": "write the demo",
            "size": size,
            "usual_s": one_s,
            "ours_s": two_s,
            "ratio": one_s / two_s,
            "equal": bytes_of_one == bytes_of_two,
        }
    ]


def example(number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (image uint8 [PIXELS, PIXELS], masks uint8 0..255 [F, MAP, MAP], labels bool [F]) of
    one patient."""
    import cv2

    study = sample_study(np.random.default_rng((20, number)), number)
    rendering = render(study, PIXELS)
    empty = np.zeros((PIXELS, PIXELS), np.uint8)
    masks = [
        cv2.resize(rendering.masks.get(name, empty) * 255, (MAP, MAP), interpolation=cv2.INTER_AREA)
        for name in PATHOLOGY
    ]
    return rendering.image, np.stack(masks), np.array([study.has(name) for name in PATHOLOGY])


def linear_auroc(images: np.ndarray, labels: np.ndarray, train: int) -> list[float]:
    """Return the AUROC per finding of logistic regression on 32x32 pixels, at the best
    regularisation *for the test images*."""
    import cv2
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.preprocessing import StandardScaler

    small = np.stack(
        [cv2.resize(image, (32, 32), interpolation=cv2.INTER_AREA).ravel() for image in images]
    ).astype(float)
    x = StandardScaler().fit(small[:train]).transform(small)
    best = []
    for truth in labels.T:
        fits = [
            LogisticRegression(C=c, max_iter=300).fit(x[:train], truth[:train])
            for c in (1e-5, 1e-4, 1e-3, 1e-2)
        ]
        best.append(
            max(roc_auc_score(truth[train:], fit.decision_function(x[train:])) for fit in fits)
        )
    return best


def network(findings: int) -> Any:
    """Return a small convolutional network: images [B, 1, 128, 128] -> finding maps [B, F, 32, 32]
    (logits)."""
    from torch import nn

    def block(before: int, after: int, stride: int) -> Any:
        """Return a convolution with its normalisation, from `before` channels to `after`."""
        convolution = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        return nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU())

    widths = ((1, 16, 2), (16, 32, 1), (32, 32, 2), (32, 48, 2), (48, 64, 2), (64, 64, 1))
    down = nn.Sequential(*(block(*width) for width in widths))
    up = nn.Sequential(nn.Upsample(scale_factor=4, mode="bilinear"), nn.Conv2d(64, findings, 1))
    return nn.ModuleDict(
        {
            "fine": down[:3],
            "coarse": down[3:],
            "head_fine": nn.Conv2d(32, findings, 1),
            "head_coarse": up,
        }
    )


def maps(net: Any, images: Any) -> Any:
    """Return the finding maps of a batch: a fine and a coarse path added."""
    fine = net["fine"](images)
    return net["head_fine"](fine) + net["head_coarse"](net["coarse"](fine))


def image_score(logits: Any) -> Any:
    """Return one score per image and finding: the mean of the 12 highest pixels."""
    return logits.flatten(2).topk(12, dim=2).values.mean(2)


def network_auroc(
    images: np.ndarray,
    masks: np.ndarray,
    labels: np.ndarray,
    train: int,
    advance: Callable[..., None],
) -> list[float]:
    """Return the AUROC per finding of the small network on the images after the first `train`."""
    import torch
    from sklearn.metrics import roc_auc_score
    from torch.nn import functional

    torch.manual_seed(0)
    x = (torch.from_numpy(images).float() / 255 - 0.5)[:, None] / 0.25
    target = torch.from_numpy(masks).float() / 255
    truth = torch.from_numpy(labels).float()
    net = network(labels.shape[1])
    steps = EPOCHS * (train // BATCH)
    optimizer = torch.optim.AdamW(net.parameters(), 3e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    whole_batches = train // BATCH * BATCH
    order = torch.cat([torch.randperm(train)[:whole_batches] for _ in range(EPOCHS)])
    for rows in order.view(-1, BATCH):
        cells = torch.randint(-2, 3, (2,))
        shifted = torch.roll(x[rows], (cells * (PIXELS // MAP)).tolist(), (2, 3))
        shifted_target = torch.roll(target[rows], cells.tolist(), (2, 3))
        logits = maps(net, shifted)
        pixel_loss = functional.binary_cross_entropy_with_logits(
            logits, shifted_target, pos_weight=torch.tensor(4.0)
        )
        image_loss = functional.binary_cross_entropy_with_logits(image_score(logits), truth[rows])
        optimizer.zero_grad()
        (pixel_loss + 0.3 * image_loss).backward()
        optimizer.step()
        schedule.step()
        advance(1)
    net.eval()
    with torch.no_grad():
        batches = [image_score(maps(net, batch)) for batch in x[train:].split(64)]
    scores = torch.cat(batches).numpy()
    return [float(roc_auc_score(labels[train:, n], scores[:, n])) for n in range(labels.shape[1])]


def difficulty(studies: int, workers: int) -> list[dict[str, Any]]:
    """Return a row per finding: prevalence, AUROC of the linear classifier, AUROC of the
    network."""
    progress = default_progress()
    examples: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
    numbers = range(studies)
    manifest.run(example, numbers, workers, progress, "rendering", examples.__setitem__)
    images, masks, labels = (np.stack(arrays) for arrays in zip(*examples.values(), strict=True))
    train = int(SHARE_OF_TRAINING * studies)
    linear = linear_auroc(images, labels, train)
    with progress.track("training", total=EPOCHS * (train // BATCH)) as advance:
        learned = network_auroc(images, masks, labels, train, partial(advance))
    rows = []
    for number, name in enumerate(PATHOLOGY):
        share = labels[:, number].mean()
        row = {"finding": name, "share": share}
        rows.append({**row, "linear": linear[number], "network": learned[number]})
    return rows


def main() -> None:
    """Print the rows of `run`, or with --auroc the table of difficulties."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--auroc", action="store_true")
    parser.add_argument("--studies", type=int, default=2400)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    if not arguments.auroc:
        print(run())
        return
    print("| finding | share | linear, 32x32 pixels | small network, 128x128 |\n|---|---|---|---|")
    for row in difficulty(arguments.studies, arguments.workers):
        print(
            f"| {row['finding']} | {row['share']:.2f} | {row['linear']:.2f} | "
            f"{row['network']:.2f} |"
        )


if __name__ == "__main__":
    main()
