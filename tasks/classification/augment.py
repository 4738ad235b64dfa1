"""Augmentation of grey image batches; every draw comes from the generator given."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from bench.core.errors import DataError


def augment(grey: Tensor, size: int, name: str, rng: np.random.Generator) -> Tensor:
    """Return images [n, 1, S, S] in 0..1 as [n, 1, size, size], augmented as `name` says."""
    if grey.shape[-1] < size:
        raise DataError(
            f"images of {grey.shape[-1]} px cannot be cropped to {size} px.",
            "The encoder's resize is too small.",
        )
    return _AUGMENTATIONS[name](grey, size, rng)


def random_crop(grey: Tensor, size: int, rng: np.random.Generator) -> Tensor:
    """Cut a window of `size` anywhere, one per image (MGCA, GLoRIA)."""
    room = grey.shape[-1] - size + 1
    top, left = rng.integers(0, room, (2, len(grey))).tolist()
    windows = []
    for image, y, x in zip(grey, top, left, strict=True):
        windows.append(image[:, y : y + size, x : x + size])
    return torch.stack(windows)


def jitter(grey: Tensor, size: int, rng: np.random.Generator) -> Tensor:
    """Crop; with p 0.8 change brightness and contrast by +-40%; with p 0.5 blur (sigma 0.1..2);
    with p 0.5 flip (MGCA, CheXpert).

    The saturation, hue and grey-scale steps of the reference change nothing in a grey image.
    """
    images = random_crop(grey, size, rng)
    n = len(grey)
    is_changed = rng.random(n) < 0.8
    strength = np.where(is_changed, rng.uniform(0.6, 1.4, (2, n)), 1.0)
    brightness, contrast = (images.new_tensor(values)[:, None, None, None] for values in strength)
    images = (images * brightness).clamp(0, 1)
    middle = images.mean(dim=(1, 2, 3), keepdim=True)
    images = (middle + (images - middle) * contrast).clamp(0, 1)
    is_blurred = rng.random(n) < 0.5
    sigma = np.where(is_blurred, rng.uniform(0.1, 2.0, n), 0.0)
    return _flip(_blur(images, sigma), rng)


def _blur(images: Tensor, sigma: np.ndarray) -> Tensor:
    """Blur image i by a Gaussian of sigma[i] px; 0 leaves it."""
    offsets = images.new_tensor(np.arange(-6, 7))
    widths = images.new_tensor(np.maximum(sigma, 1e-3))[:, None]
    kernel = torch.exp(-(offsets**2) / (2 * widths**2))
    kernel = (kernel / kernel.sum(dim=1, keepdim=True))[:, None]
    n = len(images)
    flat = functional.pad(images.transpose(0, 1), (6, 6, 6, 6), mode="reflect")
    flat = functional.conv2d(flat, kernel[:, :, None, :], groups=n)
    return functional.conv2d(flat, kernel[:, :, :, None], groups=n).transpose(0, 1)


def _flip(images: Tensor, rng: np.random.Generator) -> Tensor:
    mirrored = torch.from_numpy(rng.random(len(images)) < 0.5).to(images.device)
    return torch.where(mirrored[:, None, None, None], images.flip(-1), images)


def resized_crop(grey: Tensor, size: int, rng: np.random.Generator) -> Tensor:
    """Cut a window of 8% to 100% of the area, sides 3:4 to 4:3, scaled to `size`; flip with p 0.5
    (BenchX)."""
    n = len(grey)
    area = rng.uniform(0.08, 1.0, n)
    aspect = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3), n))
    width = np.minimum(1.0, np.sqrt(area * aspect))
    height = np.minimum(1.0, np.sqrt(area * (1 / aspect)))
    x = rng.uniform(-1, 1, n) * (1 - width)
    y = rng.uniform(-1, 1, n) * (1 - height)
    zero = np.zeros(n)
    across = np.stack([width, zero, x], 1)
    down = np.stack([zero, height, y], 1)
    theta = grey.new_tensor(np.stack([across, down], axis=1))
    grid = functional.affine_grid(theta, [n, 1, size, size], align_corners=False)
    windows = functional.grid_sample(
        grey, grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    return _flip(windows, rng)


_AUGMENTATIONS: Mapping[str, Callable[[Tensor, int, np.random.Generator], Tensor]] = {
    "crop": random_crop,
    "jitter": jitter,
    "resized_crop": resized_crop,
}
