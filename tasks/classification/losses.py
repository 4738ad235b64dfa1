"""Logistic losses of many penalties and classes over the same features: one matrix product serves
all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tasks.classification.linear import Basis

BLOCK = 2**21
"""Most logits held at once."""


class _Scaled:
    """P problems of one penalty each; parameters are scaled by the bound of the Hessian in the
    eigenbasis, intercept last."""

    def __init__(self, space: Basis, penalties: np.ndarray, bound: float) -> None:
        self.x = space.x
        self.vectors = space.vectors
        self.penalty = penalties[:, None]
        self.scale = np.append(
            1 / np.sqrt(bound * space.values + self.penalty),
            np.full((len(penalties), 1), bound**-0.5),
            axis=1,
        )

    def blocks(self, columns: int) -> list[slice]:
        """Return blocks of rows of at most BLOCK logits."""
        step = max(1, BLOCK // max(1, columns))
        return [slice(start, start + step) for start in range(0, len(self.x), step)]


class SigmoidLoss(_Scaled):
    """One problem per penalty and class: problem l * C + c; unknown targets (NaN) [n, C] do not
    count."""

    def __init__(self, space: Basis, targets: np.ndarray, penalties: np.ndarray) -> None:
        self.levels = len(penalties)
        self.classes = targets.shape[1]
        super().__init__(space, np.repeat(penalties, self.classes), bound=0.25)
        labelled = ~np.isnan(targets)
        self.share = (labelled / np.maximum(1, labelled.sum(axis=0))).astype(np.float32)
        self.y = np.nan_to_num(targets).astype(np.float32)

    @property
    def shape(self) -> tuple[int, int]:
        """Return (problems, parameters of each)."""
        return len(self.scale), self.scale.shape[1]

    def coefficients(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return coefficients [L, r, C] in the eigenbasis and bias [L, C]."""
        scaled = (theta * self.scale).reshape(self.levels, self.classes, -1)
        return scaled[:, :, :-1].transpose(0, 2, 1), scaled[:, :, -1]

    def __call__(self, theta: np.ndarray, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return values [Q] and gradients [Q, M] of the problems `which` at `theta` [Q, M]."""
        scaled = theta * self.scale[which]
        scale = self.scale[which]
        penalty = self.penalty[which]
        weights = (scaled[:, :-1] @ self.vectors.T).astype(np.float32)
        value = np.zeros(len(which))
        bias = np.zeros(len(which))
        gradient = np.zeros((self.x.shape[1], len(which)))
        for rows in self.blocks(len(which)):
            loss, slope = self._residual(
                self.x[rows] @ weights.T + scaled[:, -1].astype(np.float32),
                rows,
                which % self.classes,
            )
            value += loss
            bias += slope.sum(axis=0, dtype=np.float64)
            gradient += self.x[rows].T @ slope
        value += (penalty * scaled[:, :-1] ** 2).sum(axis=1) / 2
        inner = gradient.T @ self.vectors + penalty * scaled[:, :-1]
        return value, np.append(inner, bias[:, None], axis=1) * scale

    def _residual(
        self, logits: np.ndarray, rows: slice, columns: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the summed loss [Q] and d loss / d logits [b, Q]."""
        y = self.y[rows][:, columns]
        share = self.share[rows][:, columns]
        small = np.exp(-np.abs(logits))
        loss = (np.maximum(logits, 0) - logits * y + np.log1p(small)) * share
        positive = np.where(logits >= 0, 1, small) / (1 + small)
        return loss.sum(axis=0, dtype=np.float64), (positive - y) * share


class SoftmaxLoss(_Scaled):
    """One problem per penalty over all classes; targets [n, C] one-hot."""

    def __init__(self, space: Basis, targets: np.ndarray, penalties: np.ndarray) -> None:
        super().__init__(space, penalties, bound=0.5)
        self.y = targets.astype(np.float32)
        self.classes = targets.shape[1]

    @property
    def shape(self) -> tuple[int, int]:
        """Return (problems, parameters of each)."""
        return len(self.scale), self.classes * self.scale.shape[1]

    def _scaled(self, theta: np.ndarray, which: np.ndarray) -> np.ndarray:
        return theta.reshape(len(which), self.classes, -1) * self.scale[which, None]

    def coefficients(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return coefficients [L, r, C] in the eigenbasis and bias [L, C]."""
        scaled = self._scaled(theta, np.arange(len(self.scale)))
        return scaled[:, :, :-1].transpose(0, 2, 1), scaled[:, :, -1]

    def __call__(self, theta: np.ndarray, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return values [Q] and gradients [Q, M] of the problems `which` at `theta` [Q, M]."""
        scaled = self._scaled(theta, which)
        penalty = self.penalty[which, None]
        flat = scaled.reshape(-1, scaled.shape[2])
        weights = (flat[:, :-1] @ self.vectors.T).astype(np.float32)
        value = np.zeros(len(which))
        bias = np.zeros(len(flat))
        gradient = np.zeros((self.x.shape[1], len(flat)))
        for rows in self.blocks(len(flat)):
            logits = self.x[rows] @ weights.T + flat[:, -1].astype(np.float32)
            loss, slope = self._residual(logits.reshape(-1, len(which), self.classes), rows)
            value += loss
            bias += slope.sum(axis=0, dtype=np.float64).ravel()
            gradient += self.x[rows].T @ slope.reshape(len(slope), -1)
        value += (penalty * scaled[:, :, :-1] ** 2).sum(axis=(1, 2)) / 2
        inner = (gradient.T @ self.vectors).reshape(scaled[:, :, :-1].shape) + penalty * scaled[
            :, :, :-1
        ]
        whole = (
            np.append(inner, bias.reshape(len(which), self.classes, 1), axis=2)
            * self.scale[which, None]
        )
        return value, whole.reshape(theta.shape)

    def _residual(self, logits: np.ndarray, rows: slice) -> tuple[np.ndarray, np.ndarray]:
        """Return the summed loss [Q] and d loss / d logits [b, Q, C]."""
        y = self.y[rows, None]
        shifted = logits - logits.max(axis=2, keepdims=True)
        log_sum = np.log(np.exp(shifted).sum(axis=2, keepdims=True))
        loss = -((shifted - log_sum) * y).sum(axis=(0, 2), dtype=np.float64) / len(self.x)
        return loss, (np.exp(shifted - log_sum) - y) / np.float32(len(self.x))
