"""Render a study: patient, findings and devices in one pose, through the beam, with masks and
boxes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from tasks.demo.beam import imaging
from tasks.demo.body import atlas
from tasks.demo.body.anatomy import SIDES, Body, assemble
from tasks.demo.body.devices import add_device
from tasks.demo.body.findings import add_finding, heart_outline
from tasks.demo.body.patient import Study

BONES = ("ribs_back", "ribs_front", "spine", "sternum", "clavicles", "shoulders")
POSES = {"PA": ("pa_0", "pa_left", "pa_right"), "AP": ("ap_0", "ap_left"), "LL": ("lateral",)}
FRONTAL_ONLY = ("pneumothorax", "fracture", "edema", "device", "atelectasis")
Box = tuple[int, int, int, int]
LEAST_SIDE = 3
"""A box is at least this many pixels wide and high: no reader draws a smaller one."""


@dataclass(frozen=True)
class Rendering:
    """One image: `image` uint8 [H, W] (bone is bright); `masks`: finding -> uint8 0/1 [H, W], union
    over its parts; `parts`: finding -> list of masks; `boxes`: finding -> [(x, y, width, height)]
    in pixels; `ratio`: heart to chest width."""

    image: np.ndarray
    masks: dict[str, np.ndarray]
    parts: dict[str, list[np.ndarray]]
    boxes: dict[str, list[Box]]
    lungs: np.ndarray
    ratio: float


def render(study: Study, size: int, view: str = "") -> Rendering:
    """Render one image of a study at `size` px; `view` is PA, AP or LL (default: the study's
    frontal view)."""
    view = view or study.view
    rng = np.random.default_rng((study.seed, len(view) + ord(view[0])))
    pose = str(rng.choice(POSES[view]))
    body = _compose(study, pose, view)
    exposure = imaging.sample_exposure(rng, view)
    x, y = imaging.frame(study, exposure, size, view)
    path = cv2.remap(
        _line_integral(body, study), x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    image = imaging.finish(imaging.expose(path, exposure), exposure, view)
    parts = {name: [_place(mask, x, y) for mask in masks] for name, masks in body.masks.items()}
    parts = {
        name: visible
        for name, masks in parts.items()
        if (visible := [mask for mask in masks if mask.sum() > 3])
    }
    boxes = {name: [_box(mask) for mask in masks] for name, masks in parts.items()}
    return Rendering(
        image=np.round(image * 255).astype(np.uint8),
        masks={name: np.maximum.reduce(masks) for name, masks in parts.items()},
        parts=parts,
        boxes=boxes,
        lungs=_place(body.lungs(), x, y),
        ratio=_cardiothoracic_ratio(body),
    )


def _compose(study: Study, pose: str, view: str) -> Body:
    """Build the body with its findings, anatomy first, then lungs, then what lies in or on them."""
    patient = study.patient
    heart = study.patient.heart
    if study.has("cardiomegaly"):
        heart = max(1.15 + 0.27 * f.amount for f in study.named("cardiomegaly"))
        shape = float(np.clip(patient.heart_shape, 1, 1.1))
        patient = replace(patient, heart_shape=shape, heart_shift=min(patient.heart_shift, 3.0))
    lift = {
        side: sum(
            6 + 12 * f.amount
            for f in study.named("atelectasis")
            if f.side == side and f.kind == "patchy"
        )
        for side in SIDES
    }
    body = assemble(atlas.load()[pose], patient, heart, (-lift["right"], -lift["left"]))
    order = sorted(study.findings, key=lambda finding: finding.name != "pneumothorax")
    for finding in order:
        if view == "LL" and finding.name in FRONTAL_ONLY:
            continue
        if finding.name == "device":
            add_device(body, finding)
        else:
            add_finding(body, finding)
    return body


def _line_integral(body: Body, study: Study) -> np.ndarray:
    """Add everything the beam meets, in mm of water."""
    layers = body.layers
    bones = sum(layers[name] for name in BONES) * np.float32(1.9 * study.patient.bones)
    air = sum(body.air[side] - 1.5 * body.vessels[side] for side in SIDES)
    gas = layers["airway"] + layers["gas"]
    inside = 0.04 * (layers["heart"] + layers["great_vessels"])
    return np.maximum(layers["body"] - air - gas + bones + inside, 0) + body.extra


def _place(mask: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    share = cv2.remap(mask.astype(np.float32), x, y, cv2.INTER_LINEAR)
    return (share > 0.5).astype(np.uint8)


def _box(mask: np.ndarray) -> Box:
    return tuple(cv2.boundingRect(mask))  # type: ignore[return-value]


def _cardiothoracic_ratio(body: Body) -> float:
    heart = np.flatnonzero(heart_outline(body).any(0))
    lungs = np.flatnonzero(body.lungs().any(0))
    if not len(lungs) or not len(heart):
        return 0.0
    return float((heart[-1] - heart[0]) / (lungs[-1] - lungs[0]))
