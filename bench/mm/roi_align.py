"""RoIAlign by average, forward and backward, as one sparse product per chunk of boxes.

Every output bin is a weighted sum of feature pixels: the weights are a sparse matrix S [bins,
pixels], the forward pass is S F and the backward pass S' G. Rows and columns are sampled apart,
because bilinear weights are a product.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from bench.core.errors import MissingDependencyError

_MAX_ENTRIES = 4_000_000


def roi_align_forward(
    input: Tensor, rois: Tensor, output: Tensor, _argmax_y: Tensor, _argmax_x: Tensor, *,
    aligned_height: int,
    aligned_width: int, spatial_scale: float, sampling_ratio: int, pool_mode: int, aligned: bool,
) -> None:  # fmt: skip
    """Write the mean of bilinear samples of `input` [B, C, H, W] per bin into `output`; `rois` [n,
    5] = image, x1, y1, x2, y2."""
    _refuse_max(pool_mode)
    pixels = input.permute(0, 2, 3, 1).reshape(-1, input.shape[1]).to(_dtype(input))
    batch, channels, height, width = input.shape
    size = (batch, height, width)
    bins = (aligned_height, aligned_width)
    boxes = rois.to(pixels.dtype)
    for rows, matrix in _matrices(boxes, size, bins, spatial_scale, sampling_ratio, aligned):
        pooled = torch.sparse.mm(matrix, pixels).reshape(-1, *bins, channels)
        output[rows] = pooled.permute(0, 3, 1, 2).to(output.dtype)


def roi_align_backward(
    grad_output: Tensor, rois: Tensor, _argmax_y: Tensor, _argmax_x: Tensor, grad_input: Tensor, *,
    aligned_height: int,
    aligned_width: int, spatial_scale: float, sampling_ratio: int, pool_mode: int, aligned: bool,
) -> None:  # fmt: skip
    """Add the gradient of `roi_align_forward` for `grad_output` [n, C, h, w] to `grad_input` [B, C,
    H, W]."""
    _refuse_max(pool_mode)
    batch, channels, height, width = grad_input.shape
    size = (batch, height, width)
    bins = (aligned_height, aligned_width)
    total = grad_output.new_zeros(batch * height * width, channels, dtype=_dtype(grad_output))
    boxes = rois.to(total.dtype)
    for rows, matrix in _matrices(boxes, size, bins, spatial_scale, sampling_ratio, aligned):
        flat = grad_output[rows].permute(0, 2, 3, 1).reshape(-1, channels).to(total.dtype)
        total += torch.sparse.mm(matrix.t(), flat)
    gradient = total.reshape(batch, height, width, channels).permute(0, 3, 1, 2)
    grad_input += gradient.to(grad_input.dtype)


def _refuse_max(pool_mode: int) -> None:
    if pool_mode != 1:
        raise MissingDependencyError(
            "RoIAlign with pool_mode 'max' needs a compiled mmcv.", "Use pool_mode='avg'."
        )


def _dtype(tensor: Tensor) -> torch.dtype:
    """Sparse products exist for single and double precision only."""
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def _matrices(
    rois: Tensor,
    size: tuple[int, int, int],
    bins: tuple[int, int],
    scale: float,
    sampling: int,
    aligned: bool,
) -> Iterator[tuple[slice, Tensor]]:
    """Yield (rows of rois, sparse [rows * h * w, B * H * W]), chunked so that the entries fit in
    memory."""
    corners = rois[:, 1:] * scale - (0.5 if aligned else 0.0)
    extent = corners[:, 2:] - corners[:, :2]
    extent = extent if aligned else extent.clamp(min=1.0)
    grids = _grid(extent, bins, sampling)
    start = 0
    while start < len(rois):
        stop = start + _chunk(grids[start:], bins)
        rows = slice(start, stop)
        image = rois[rows, 0].long()
        yield rows, _matrix(image, corners[rows, :2], extent[rows], grids[rows], size, bins)
        start = stop


def _grid(extent: Tensor, bins: tuple[int, int], sampling: int) -> Tensor:
    """Return the number of samples per bin along (x, y) [n, 2]: `sampling`, or where 0 one per
    feature pixel."""
    if sampling > 0:
        return torch.full_like(extent, sampling, dtype=torch.long)
    per_bin = extent / extent.new_tensor([bins[1], bins[0]])
    return per_bin.ceil().long().clamp(min=0)


def _chunk(grids: Tensor, bins: tuple[int, int]) -> int:
    largest = 4 * grids.clamp(min=1).cummax(dim=0).values.prod(dim=1) * bins[0] * bins[1]
    entries = largest * torch.arange(1, len(grids) + 1, device=grids.device)
    return max(1, int((entries <= _MAX_ENTRIES).sum()))


def _matrix(
    image: Tensor,
    low: Tensor,
    extent: Tensor,
    grids: Tensor,
    size: tuple[int, int, int],
    bins: tuple[int, int],
) -> Tensor:
    """Return the weight of every pixel in every bin of some rois, sparse [rows * h * w, B * H * W];
    dense, its axes are (roi, bin row, bin column, sample row, sample column)."""
    batch, height, width = size
    x, x_weight = _line(low[:, 0], extent[:, 0], grids[:, 0], width, bins[1])
    y, y_weight = _line(low[:, 1], extent[:, 1], grids[:, 1], height, bins[0])
    weight = y_weight[:, :, None, :, None] * x_weight[:, None, :, None, :]
    line = image[:, None, None] * height + y
    pixel = line[:, :, None, :, None] * width + x[:, None, :, None, :]
    bin_count = weight[..., 0, 0].numel()
    bin_index = torch.arange(bin_count, device=weight.device).reshape(*weight.shape[:3], 1, 1)
    used = weight != 0
    indices = torch.stack([bin_index.expand_as(pixel)[used], pixel[used]])
    shape = (bin_count, batch * height * width)
    return torch.sparse_coo_tensor(indices, weight[used], shape, check_invariants=False)


def _line(
    low: Tensor, extent: Tensor, grid: Tensor, length: int, bins: int
) -> tuple[Tensor, Tensor]:
    """Return the pixels and weights [n, bins, 2 * samples] of the samples of each bin along one
    axis of `length` pixels."""
    samples = grid.clamp(min=1)
    sample = torch.arange(int(samples.max()), device=low.device)
    within_bin = (sample + 0.5).to(low.dtype) / samples[:, None]
    bin_number = torch.arange(bins, device=low.device)[:, None]
    bin_length = (extent / bins)[:, None, None]
    position = low[:, None, None] + (bin_number + within_bin[:, None, :]) * bin_length
    exists = (sample < grid[:, None])[:, None, :]
    inside = (position >= -1) & (position <= length) & exists
    position = position.clamp(min=0, max=length - 1)
    left = position.floor().long()
    right = (left + 1).clamp(max=length - 1)
    share = position - left
    weight = inside.to(low.dtype) / samples[:, None, None]
    pixels = torch.cat([left, right], dim=-1)
    return pixels, torch.cat([weight * (1 - share), weight * share], dim=-1)
