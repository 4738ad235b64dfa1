"""Features of a frozen encoder, computed once per image and kept: a second probe reads no image."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bench.contracts import (
    Backbone,
    CellContext,
    GivesObservations,
    InputSpec,
    Subset,
    has_text_side,
    weights_named,
)
from bench.core.checked import clear_place, make_folder
from bench.core.errors import DataError, NotApplicableError
from bench.core.hashing import digest
from bench.core.paths import cache_home
from bench.core.storage import held
from bench.encoding.feature_store import FeatureStore

if TYPE_CHECKING:
    import torch

What = Literal["pooled", "embedding", "patches", "observations"]
BATCH = 32
"""Images encoded together. Constant, and the last batch is filled up: a feature does not depend on
what else is encoded."""
PART = 4096
"""Images per file: a killed run loses at most these."""
VERSION = 1
TOKENS_PART = 256
"""Images per file where each has many tokens."""


@dataclass(frozen=True)
class Views:
    """Several views of each image (crops, a mirror image) whose embeddings are kept.

    `draw(image, image_id)` returns the `count` views of one image: uint8 [S, S] -> squares [s, s],
    each of its own side. It depends on nothing else than these two and `facts`, which stand in the
    key; `facts` must decide `count`, too.
    """

    name: str
    count: int
    draw: Callable[[np.ndarray, str], Sequence[np.ndarray]]
    facts: Mapping[str, Any] = field(default_factory=dict)

    def inputs(
        self, images: np.ndarray, ids: Sequence[str], spec: InputSpec, device: str
    ) -> torch.Tensor:
        """Return the views of images [n, S, S] as an encoder wants them, [n * count, channels,
        size, size]. A view has no padding to be left out."""
        import torch

        plain = replace(spec, fit="letterbox")
        drawn = [
            view for image, name in zip(images, ids, strict=True) for view in self.draw(image, name)
        ]
        copies = [np.array(view)[None] for view in drawn]
        return torch.cat([to_input(copy, plain, device) for copy in copies])


def to_input(images: np.ndarray, spec: InputSpec, device: str = "cpu") -> torch.Tensor:
    """Return grey uint8 images [n, S, S] as the encoder wants them: float [n, channels, size,
    size].

    Brought to a square of `spec.resize` (the subset is square and padded already; `spec.fit`),
    centre-cropped to `spec.size`, normalised.
    """
    resized = resize(to_grey(images, device), spec)
    return normalise(centre_crop(resized, spec.size), spec)


def to_grey(images: np.ndarray, device: str = "cpu") -> torch.Tensor:
    """Return uint8 [n, S, S] as float [n, 1, S, S] in 0..1."""
    import torch

    return torch.from_numpy(images).to(device)[:, None].float() / 255


def resize(grey: torch.Tensor, spec: InputSpec) -> torch.Tensor:
    """Return images [n, 1, S, S] at side `spec.resize`; made smaller by area or with anti-aliasing.

    With another `spec.fit` than letterbox the padding is left out first: the radiograph is
    stretched, or the middle of its long side is taken.
    """
    if spec.fit == "letterbox":
        return _resize(grey, spec)
    import torch

    radiographs = [content(image, square=spec.fit == "shortest") for image in grey]
    return torch.cat([_resize(radiograph[None], spec) for radiograph in radiographs])


def content(image: torch.Tensor, *, square: bool) -> torch.Tensor:
    """Return the radiograph in a padded image [1, S, S] without its padding, [1, h, w]; with
    `square` the middle of its long side alone."""
    top, left, height, width = content_box(image, square=square)
    return image[:, top : top + height, left : left + width]


def content_box(image: torch.Tensor, *, square: bool) -> tuple[int, int, int, int]:
    """Return where the radiograph lies in a padded image [1, S, S]: top, left, height and width in
    pixels; with `square` the middle of its long side alone.

    Only one side of an image is padded: the one with the wider borders of zeros, equal but for one
    pixel. Black borders of the radiograph itself on that side are taken for padding.
    """
    borders = [_border(image.amax(dim)) for dim in (2, 1)]
    side = 0 if sum(borders[0]) >= sum(borders[1]) else 1
    corner = [0, 0]
    shape = [image.shape[1], image.shape[2]]
    corner[side] = borders[side][0]
    shape[side] -= sum(borders[side])
    if square:
        short = min(shape)
        corner = [
            start + (length - short) // 2 for start, length in zip(corner, shape, strict=True)
        ]
        shape = [short, short]
    return corner[0], corner[1], shape[0], shape[1]


def _border(profile: torch.Tensor) -> tuple[int, int]:
    """Return how much padding stands before and behind the lines of an image, from the largest
    value of each line [1, S]."""
    filled = profile[0].nonzero()[:, 0]
    if not len(filled):
        return 0, 0
    before = int(filled[0])
    behind = profile.shape[1] - 1 - int(filled[-1])
    both = min(before, behind)
    return both, both + (behind > both)  # an odd pixel of padding stands behind


def _resize(grey: torch.Tensor, spec: InputSpec) -> torch.Tensor:
    """Return images [n, 1, h, w] as [n, 1, resize, resize]."""
    from torch.nn import functional

    if grey.shape[-2:] == (spec.resize, spec.resize):
        return grey
    side = (spec.resize, spec.resize)
    if spec.interpolation == "area" and min(grey.shape[-2:]) > spec.resize:
        return functional.interpolate(grey, size=side, mode="area")
    mode = "bilinear" if spec.interpolation == "area" else spec.interpolation
    return functional.interpolate(
        grey, size=side, mode=mode, align_corners=False, antialias=True
    ).clamp(0, 1)


def centre_crop(grey: torch.Tensor, size: int) -> torch.Tensor:
    """Return the middle [..., size, size]; raise DataError where the images are smaller."""
    if grey.shape[-1] < size:
        raise DataError(
            f"images of {grey.shape[-1]} px cannot be cropped to {size} px.",
            "The encoder's resize is too small.",
        )
    start = (grey.shape[-1] - size) // 2
    return grey[..., start : start + size, start : start + size]


def normalise(grey: torch.Tensor, spec: InputSpec) -> torch.Tensor:
    """Return grey images [n, 1, H, W] in 0..1 as [n, channels, H, W], mean and deviation as the
    encoder was trained with."""
    mean = grey.new_tensor(spec.mean)[None, :, None, None]
    std = grey.new_tensor(spec.std)[None, :, None, None]
    return (grey.expand(-1, spec.channels, -1, -1) - mean) / std


def weights_hash(module: torch.nn.Module) -> str:
    """Return a hash of every parameter and buffer, their names and types included."""
    import torch

    content_hash = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(module.state_dict().items()):
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        content_hash.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        content_hash.update(flat.view(torch.uint8).numpy().data)
    return content_hash.hexdigest()


@dataclass(frozen=True)
class FeatureCache:
    """Features of one encoder, kept as half precision under the cache folder, one row per image.

    The key holds the weights, the encoder's name and settings, its input contract, the size of the
    decoded images, the hash of the data and the arithmetic (bfloat16 on a GPU). Without
    `context.data_key` nothing is kept on disk. Kept features that are damaged are made again, and
    said.
    """

    backbone: Backbone
    context: CellContext

    def pooled(self, subset: Subset) -> np.ndarray:
        """Return the pooled features of a subset, float32 [n, D]."""
        return self.get(subset, "pooled")

    def embeddings(self, subset: Subset) -> np.ndarray:
        """Return the L2-normalised image embeddings of a subset, float32 [n, d]; only where the
        encoder has a text side."""
        return self.get(subset, "embedding")

    def tokens(
        self, subset: Subset, what: Literal["patches", "observations"] = "patches"
    ) -> Tokens:
        """Return the patch tokens (or extra tokens) of every row of `subset`, read from disk only
        where they are asked for."""
        if not len(subset):
            return Tokens(np.empty((0, 1, self.backbone.patch_dim), np.float16), None)
        if not self.context.data_key:
            return Tokens(self._encode(subset, np.arange(len(subset)), what), None)
        ids = subset.index["image_id"].astype(str).to_numpy()
        return Tokens(self._filled_store(subset, what), ids)

    def views(self, subset: Subset, views: Views) -> Tokens:
        """Return the embeddings of the views of every row of `subset`: `[rows]` is [n, count, d],
        read from disk where they are asked for. Only where the encoder has a text side."""
        if not len(subset) or not self.context.data_key:
            encoded = self._encode(subset, np.arange(len(subset)), views)
            return Tokens(encoded, None)
        ids = subset.index["image_id"].astype(str).to_numpy()
        return Tokens(self._filled_store(subset, views), ids)

    def get(self, subset: Subset, what: What) -> np.ndarray:
        """Return the features of every row of `subset`; only images not seen before are read."""
        if not len(subset):
            return np.empty((0, self.backbone.pooled_dim), np.float32)
        if not self.context.data_key:
            features = self._encode(subset, np.arange(len(subset)), what)
            return features.astype(np.float32)
        ids = subset.index["image_id"].astype(str).tolist()
        return self._filled_store(subset, what).read(ids)

    def _filled_store(self, subset: Subset, what: What | Views) -> FeatureStore:
        """Return the store that holds every row of `subset`, filled where something was missing."""
        ids = subset.index["image_id"].astype(str).tolist()
        folder = self._folder(subset, what)
        store = FeatureStore(folder)
        if store.missing(ids) or store.unsound:
            make_folder(folder)
            clear_place(folder / "lock")
            with held(folder / "lock"):
                # read again under the lock: another process may have made them meanwhile
                store = FeatureStore(folder)
                store.missing(ids)
                store.mend(self.context.progress)
                self._fill(store, subset, ids, what)
        return store

    def _folder(self, subset: Subset, what: What | Views) -> Path:
        facts: dict[str, Any] = {
            "weights": weights_hash(self.backbone.module),
            "encoder": self.context.encoder_key,
            "what": {what.name: dict(what.facts)} if isinstance(what, Views) else what,
            "input": asdict(self.backbone.input),
            "size": subset.image_store.shape[-1],
            "data": self.context.data_key,
            "architecture": self.backbone.architecture,
            "precision": self.precision,
            "version": VERSION,
        }
        return cache_home() / "features" / digest(facts)

    @property
    def precision(self) -> str:
        """Return the arithmetic the encoder runs in."""
        return "bf16" if self.context.device.startswith("cuda") else "fp32"

    def _fill(
        self, store: FeatureStore, subset: Subset, ids: list[str], what: What | Views
    ) -> None:
        """Encode what `store` lacks of the images `ids` of `subset`, a file at a time."""
        first_row = {image: row for row, image in reversed(list(enumerate(ids)))}
        missing = np.array(sorted({first_row[image] for image in store.missing(ids)}), np.int64)
        size = PART if what in ("pooled", "embedding") else TOKENS_PART
        if isinstance(what, Views) and len(missing):
            self.context.progress.say(
                f"{self.backbone.name}: {what.count} views of each of {len(missing)} images are "
                f"encoded, {what.count} times the work of the images themselves."
            )
        for start in range(0, len(missing), size):
            rows = missing[start : start + size]
            store.add([ids[row] for row in rows], self._encode(subset, rows, what))

    def _encode(self, subset: Subset, rows: np.ndarray, what: What | Views) -> np.ndarray:
        """Return half-precision features of `rows`, float16 [n, ...]."""
        return np.concatenate(list(self._batches(subset, rows, what)))

    def _batches(
        self, subset: Subset, rows: np.ndarray, what: What | Views
    ) -> Iterator[np.ndarray]:
        """Yield half-precision features of `rows`, a batch at a time."""
        import torch

        module = self.backbone.module
        training = module.training
        module.eval()
        cuda = self.precision == "bf16"
        title = f"features of {self.backbone.name}"
        size = max(1, BATCH // what.count) if isinstance(what, Views) else BATCH
        with self.context.progress.track(title, total=len(rows)) as advance, torch.inference_mode():
            for start in range(0, len(rows), size):
                batch = rows[start : start + size]
                pixels = self._pixels(subset, np.resize(batch, size), what)
                with torch.autocast("cuda", torch.bfloat16, enabled=cuda):
                    features = _read(self.backbone, pixels, what)
                yield _half(features[: len(batch)].float().cpu().numpy(), self.backbone)
                advance(len(batch))
        module.train(training)

    def _pixels(self, subset: Subset, rows: np.ndarray, what: What | Views) -> torch.Tensor:
        images = subset.images(rows)
        spec = self.backbone.input
        if not isinstance(what, Views):
            return to_input(images, spec, self.context.device)
        ids = subset.index["image_id"].astype(str).to_numpy()[rows]
        return what.inputs(images, ids.tolist(), spec, self.context.device)


def _read(backbone: Backbone, pixels: torch.Tensor, what: What | Views) -> torch.Tensor:
    if isinstance(what, Views):
        return _read(backbone, pixels, "embedding").unflatten(0, (-1, what.count))
    if what == "embedding":
        if not has_text_side(backbone):
            raise NotApplicableError(
                f"encoder '{backbone.name}' has no embeddings.", "Use its pooled features."
            )
        return backbone.embed_images(pixels)
    if what == "observations":
        if not isinstance(backbone, GivesObservations):
            raise NotApplicableError(
                f"encoder '{backbone.name}' has no observations.", "Use its patches."
            )
        return backbone.observations(pixels)
    features = backbone.features(pixels)
    return features.pooled if what == "pooled" else features.patches


@dataclass(frozen=True)
class Tokens:
    """Tokens of some images, in a feature store (`ids` names them) or in memory: `tokens[rows]` is
    float32 [n, N, D]."""

    store: FeatureStore | np.ndarray
    ids: np.ndarray | None

    def __len__(self) -> int:
        if isinstance(self.store, np.ndarray):
            return len(self.store)
        return 0 if self.ids is None else len(self.ids)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Return the tokens of `rows`."""
        if isinstance(self.store, np.ndarray) or self.ids is None:
            return np.asarray(self.store)[rows].astype(np.float32)
        return self.store.read(self.ids[rows].tolist())


def _half(features: np.ndarray, backbone: Backbone) -> np.ndarray:
    largest = np.finfo(np.float16).max
    if not np.isfinite(features).all() or np.abs(features).max(initial=0) > largest:
        raise DataError(
            f"encoder '{backbone.name}'{weights_named(backbone)} gives features that are not "
            f"finite or beyond {largest:.0f}.",
            "Check its weights.",
        )
    return features.astype(np.float16)
