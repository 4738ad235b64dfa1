"""What a loaded encoder gives, tried on two images: attributes, shapes and values that heads
rely on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from bench.contracts import FAMILIES, Features, ImageEncoder, InputSpec, has_text_side
from bench.core.errors import PlaceBenchError

if TYPE_CHECKING:
    import torch

_ATTRIBUTES = (
    "name",
    "architecture",
    "family",
    "input",
    "module",
    "pooled_dim",
    "patch_dim",
    "pyramid_channels",
    "pyramid_strides",
    "features",
)
_TEXTS = ("No acute findings.", "Large left effusion.")


def check_encoder_gives(encoder: ImageEncoder, device: str = "cpu") -> None:
    """Raise PlaceBenchError for the first of `encoder_faults`."""
    for fault in encoder_faults(encoder, device):
        raise fault


def encoder_faults(encoder: ImageEncoder, device: str = "cpu") -> Iterator[PlaceBenchError]:
    """Yield what an encoder lacks, and what it gives for two images (and two texts) that heads
    could not use. Its weights, its mode and the random numbers of the process stay as they are."""
    faults = list(attribute_faults(encoder))
    yield from faults
    if faults:
        return
    import torch

    title = _title(encoder)

    training = encoder.module.training
    encoder.module.eval()
    with torch.random.fork_rng(), torch.inference_mode():
        yield from _output_faults(title, encoder, device)
    encoder.module.train(training)


def _title(encoder: object) -> str:
    return f"encoder '{getattr(encoder, 'name', type(encoder).__name__)}'"


def attribute_faults(encoder: Any) -> Iterator[PlaceBenchError]:
    """Yield what an encoder lacks or says of itself that cannot be, without using it."""
    from torch import nn

    title = _title(encoder)
    missing = [name for name in _ATTRIBUTES if not hasattr(encoder, name)]
    if missing:
        yield PlaceBenchError(
            f"{title} lacks {', '.join(missing)}.",
            "bench.contracts.ImageEncoder says what each is.",
        )
        return
    if encoder.family not in FAMILIES:
        yield _fault(title, f"family is {encoder.family!r}", f"Choose {' or '.join(FAMILIES)}.")
    if not isinstance(encoder.input, InputSpec):
        yield _fault(title, f"input is {encoder.input!r}", "Give an InputSpec.")
    if not isinstance(encoder.module, nn.Module):
        problem = f"module is a {type(encoder.module).__name__}"
        yield _fault(title, problem, "Give the torch.nn.Module that holds its parameters.")
    if not callable(encoder.features):
        yield _fault(title, "features is not a method", "Write features(self, images).")
    for name in ("pooled_dim", "patch_dim"):
        if not _counts([getattr(encoder, name)]):
            problem = f"{name} is {getattr(encoder, name)!r}"
            yield _fault(title, problem, "It must be a whole number, 1 or more.")
    for name in ("pyramid_channels", "pyramid_strides"):
        if not _counts(getattr(encoder, name)):
            problem = f"{name} is {getattr(encoder, name)!r}"
            yield _fault(title, problem, "It must be a tuple of whole numbers.")
    channels = len(getattr(encoder, "pyramid_channels", ()))
    strides = len(getattr(encoder, "pyramid_strides", ()))
    if channels != strides:
        problem = f"pyramid_channels has {channels} entries and pyramid_strides {strides}"
        yield _fault(title, problem, "Both have one per map.")


def _output_faults(title: str, encoder: ImageEncoder, device: str) -> Iterator[PlaceBenchError]:
    import torch

    side = encoder.input.size
    grey = torch.linspace(-1, 1, 2 * side * side, device=device).reshape(2, 1, side, side)
    images = grey.expand(-1, encoder.input.channels, -1, -1).contiguous()
    features = encoder.features(images)
    missing = [name for name in ("pooled", "patches", "grid") if not hasattr(features, name)]
    if missing:
        problem = f"features() returns {type(features).__name__} without {', '.join(missing)}"
        hint = "Return bench.contracts.Features(pooled, patches, grid, pyramid)."
        yield _fault(title, problem, hint)
        return
    yield from _feature_faults(title, encoder, features)
    try:
        if has_text_side(encoder):
            yield from _text_faults(title, encoder, images)
    except PlaceBenchError as error:
        yield error


def _feature_faults(
    title: str, encoder: ImageEncoder, features: Features
) -> Iterator[PlaceBenchError]:
    yield from _tensor_faults(title, "pooled", features.pooled, (2, encoder.pooled_dim))
    grid = tuple(features.grid)
    if len(grid) != 2 or not _counts(grid):
        yield _fault(title, f"grid is {features.grid!r}", "Give (height, width) in tokens.")
        return
    count = grid[0] * grid[1]
    shape = (2, count, encoder.patch_dim)
    yield from _tensor_faults(title, f"patches, grid {grid},", features.patches, shape)
    if len(features.pyramid) != len(encoder.pyramid_channels):
        problem = f"pyramid has {len(features.pyramid)} maps"
        yield _fault(title, problem, f"pyramid_channels names {len(encoder.pyramid_channels)}.")
        return
    for number in range(len(features.pyramid)):
        yield from _map_faults(title, encoder, number, features.pyramid[number])


def _map_faults(
    title: str, encoder: ImageEncoder, number: int, value: torch.Tensor
) -> Iterator[PlaceBenchError]:
    """Yield the fault of one map; its sides are the image's by its stride, rounded either way."""
    side = encoder.input.size
    stride = encoder.pyramid_strides[number]
    sides = tuple(getattr(value, "shape", ())[2:])
    if sides not in [(rounded, rounded) for rounded in (side // stride, -(-side // stride))]:
        sides = (side // stride, side // stride)
    shape = (2, encoder.pyramid_channels[number], *sides)
    yield from _tensor_faults(title, f"map {number} of the pyramid", value, shape)


def _text_faults(title: str, encoder: Any, images: torch.Tensor) -> Iterator[PlaceBenchError]:
    pictures = encoder.embed_images(images)
    texts = encoder.embed_texts(list(_TEXTS))
    width = texts.shape[-1] if getattr(texts, "ndim", 0) else 0
    yield from _tensor_faults(title, "embed_texts()", texts, (2, width))
    yield from _tensor_faults(title, "embed_images()", pictures, (2, width))
    scores = encoder.similarity(images, list(_TEXTS))
    yield from _tensor_faults(title, "similarity()", scores, (2, 2))


def _tensor_faults(
    title: str, name: str, value: object, shape: tuple[int, ...]
) -> Iterator[PlaceBenchError]:
    """Yield the one fault of a tensor for two images: its type, its shape or its values."""
    import torch

    if not isinstance(value, torch.Tensor):
        yield _fault(title, f"{name} is a {type(value).__name__}", "Give a torch.Tensor.")
    elif tuple(value.shape) != shape:
        problem = f"{name} has shape {list(value.shape)} for two images of its input size"
        yield _fault(title, problem, f"{list(shape)} is expected.")
    elif not value.is_floating_point():
        yield _fault(title, f"{name} is of type {value.dtype}", "Give floating point numbers.")
    elif not bool(torch.isfinite(value).all()):
        yield _fault(title, f"{name} holds values that are not finite", "Check its weights.")


def _counts(values: Any) -> bool:
    if not isinstance(values, Sequence) or isinstance(values, str):
        return False
    return all(isinstance(value, int) and value >= 1 for value in values)


def _fault(title: str, problem: str, hint: str) -> PlaceBenchError:
    return PlaceBenchError(f"{title}: {problem}.", hint)
