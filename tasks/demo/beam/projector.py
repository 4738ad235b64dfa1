"""Maintainers: project the CT through a cone beam in one pose."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from tasks.demo.beam import ct
from tasks.demo.body.atlas import PITCH, SIZE

BESIDE = 18
"""Voxels of chest wall kept beside the lungs in the lateral view."""


@dataclass(frozen=True)
class Pose:
    """How the patient stands in the beam: `yaw`, `pitch` in degrees; `sid` (source to detector),
    `gap` (to detector) in mm."""

    name: str
    direction: str
    yaw: float
    pitch: float
    sid: float = 1800
    gap: float = 40


class Projector:
    """Project volumes of one pose through a cone beam: one similarity transform per coronal
    (lateral: sagittal) plane."""

    def __init__(self, volume: ct.Volume, pose: Pose) -> None:
        self.pose = pose
        self.spacing = volume.spacing
        lungs = np.argwhere(volume.where("lung_"))
        self.centre = (lungs.min(0) + lungs.max(0)) / 2
        self.sides = (lungs[:, 0].min() - BESIDE, lungs[:, 0].max() + BESIDE)

    def _depth(self, position: np.ndarray) -> np.ndarray:
        """Return the distance (mm) from the middle plane towards the detector."""
        axis, sign = {"PA": (1, 1), "AP": (1, -1), "LL": (0, 1)}[self.pose.direction]
        return sign * position[..., axis] * self.spacing[axis]

    def points(self, voxels: np.ndarray) -> np.ndarray:
        """Project voxel positions [n, 3] to pixels [n, 2]."""
        offset = (np.asarray(voxels, float) - self.centre) * self.spacing
        yaw, pitch = np.deg2rad([self.pose.yaw, self.pose.pitch])
        x = offset[:, 0] * np.cos(yaw) - offset[:, 1] * np.sin(yaw)
        y = offset[:, 0] * np.sin(yaw) + offset[:, 1] * np.cos(yaw)
        pitched_y = y * np.cos(pitch) - offset[:, 2] * np.sin(pitch)
        z = y * np.sin(pitch) + offset[:, 2] * np.cos(pitch)
        turned = np.stack([x, pitched_y, z], 1)
        scale = self._scale(self._depth(turned / self.spacing)) / PITCH
        across = -turned[:, 1] if self.pose.direction == "LL" else turned[:, 0]
        return np.stack([SIZE / 2 + across * scale, SIZE * 0.53 - turned[:, 2] * scale], 1)

    def _scale(self, towards: np.ndarray) -> np.ndarray:
        """Return the size relative to the middle plane of what lies `towards` mm nearer to the
        detector."""
        source = self.pose.sid - self.pose.gap - 130
        return source / (source + towards)

    def image(self, density: np.ndarray) -> np.ndarray:
        """Return the line integral in mm, float32 [SIZE, SIZE]; the lateral view leaves out arms
        and shoulders."""
        turned = self._turn(density.astype(np.float32))
        axis = 0 if self.pose.direction == "LL" else 1
        total = np.zeros((SIZE, SIZE), np.float32)
        for n in range(turned.shape[axis]):
            plane = turned[n] if axis == 0 else turned[:, n]
            if plane.any() and (axis == 1 or self.sides[0] <= n <= self.sides[1]):
                total += self._place(plane, n, axis)
        return total * self.spacing[axis]

    def _place(self, plane: np.ndarray, n: int, axis: int) -> np.ndarray:
        position = np.zeros(3)
        position[axis] = n - self.centre[axis]
        scale = float(self._scale(self._depth(position))) / PITCH
        other = 1 - axis
        sign = -1 if axis == 0 else 1
        sx = sign * self.spacing[other] * scale
        sz = -self.spacing[2] * scale
        matrix = np.array(
            [
                [sx, 0, SIZE / 2 - self.centre[other] * sx],
                [0, sz, SIZE * 0.53 - self.centre[2] * sz],
            ]
        )
        return cv2.warpAffine(
            np.ascontiguousarray(plane.T), matrix, (SIZE, SIZE), flags=cv2.INTER_LINEAR
        )

    def _turn(self, density: np.ndarray) -> np.ndarray:
        if self.pose.yaw:
            matrix = cv2.getRotationMatrix2D((self.centre[1], self.centre[0]), self.pose.yaw, 1)
            planes = [
                cv2.warpAffine(density[:, :, z], matrix, density.shape[1::-1])
                for z in range(density.shape[2])
            ]
            density = np.stack(planes, 2)
        if self.pose.pitch:
            density = np.stack([self._pitch(plane) for plane in density])
        return density

    def _pitch(self, plane: np.ndarray) -> np.ndarray:
        """Rotate one sagittal plane [Y, Z] about the centre, its pixels not being square."""
        if not plane.any():
            return plane
        angle = np.deg2rad(self.pose.pitch)
        ratio = self.spacing[2] / self.spacing[1]
        c = np.cos(angle)
        s = np.sin(angle)
        turn = np.array([[c, s / ratio], [-s * ratio, c]])
        middle = np.array([self.centre[2], self.centre[1]])
        matrix = np.hstack([turn, (middle - turn @ middle)[:, None]])
        return cv2.warpAffine(plane, matrix, plane.shape[::-1])
