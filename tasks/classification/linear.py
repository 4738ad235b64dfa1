"""Linear probes over a whole path of penalties at once: closed-form ridge and logistic
regression."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tasks.classification.lbfgs import minimise
from tasks.classification.losses import SigmoidLoss, SoftmaxLoss


@dataclass(frozen=True)
class Path:
    """Linear classifiers of L penalties and C classes on raw features: weights [L, D, C], bias [L,
    C]."""

    weights: np.ndarray
    bias: np.ndarray

    def scores(self, features: np.ndarray) -> np.ndarray:
        """Return logits [L, n, C] of features [n, D]."""
        count, width, classes = self.weights.shape
        flat = features @ self.weights.transpose(1, 0, 2).reshape(width, count * classes)
        return flat.reshape(len(features), count, classes).transpose(1, 0, 2) + self.bias[:, None]


@dataclass(frozen=True)
class Basis:
    """Standardised features `x` [n, D] (float32) with the eigenvectors [D, r] and eigenvalues [r]
    of their covariance."""

    mean: np.ndarray
    scale: np.ndarray
    x: np.ndarray
    vectors: np.ndarray
    values: np.ndarray

    def path(self, coefficients: np.ndarray, bias: np.ndarray) -> Path:
        """Return coefficients [L, r, C] in the eigenbasis and bias [L, C] as a Path on raw
        features."""
        weights = (
            np.einsum("dr,lrc->ldc", self.vectors, coefficients, optimize=True)
            / self.scale[:, None]
        )
        return Path(weights, bias - self.mean @ weights)


def basis(features: np.ndarray) -> Basis:
    """Return the eigenbasis of features [n, D]: of the covariance where n >= D, else of the Gram
    matrix of the images."""
    mean = features.mean(axis=0, dtype=np.float64)
    scale = features.std(axis=0, dtype=np.float64)
    constant = scale < 1e-6 * max(1e-12, scale.max(initial=0.0))
    scale[constant] = np.inf  # it says nothing
    x = ((features - mean) / scale).astype(np.float32)
    if len(x) >= x.shape[1]:
        values, vectors = np.linalg.eigh(_moments(x) / len(x))
    else:
        wide = x.astype(np.float64)
        values, left = np.linalg.eigh(wide @ wide.T / len(x))
        vectors = wide.T @ left / np.sqrt(np.maximum(values, 1e-300) * len(x))
    informative = values > 1e-10 * max(1e-300, values.max(initial=0.0))
    return Basis(mean, scale, x, vectors[:, informative], values[informative])


def _moments(x: np.ndarray) -> np.ndarray:
    """Return x' x in float64 from blocks of rows."""
    moments = np.zeros((x.shape[1], x.shape[1]))
    for start in range(0, len(x), 8192):
        block = x[start : start + 8192].astype(np.float64)
        moments = moments + block.T @ block
    return moments


def ridge_path(features: np.ndarray, targets: np.ndarray, penalties: np.ndarray) -> Path:
    """Return ridge regression on targets of +-1 for every penalty, from one eigendecomposition.

    features [n, D]; targets [n, C] of 0/1, NaN left out (classes with other gaps need a
    decomposition of their own); a penalty is per image and in units of the standardised features'
    variance: min |Xw - y|^2 / n + penalty |w|^2 with a free intercept.
    """
    labelled = ~np.isnan(targets)
    weights = np.empty((len(penalties), features.shape[1], targets.shape[1]))
    bias = np.empty((len(penalties), targets.shape[1]))
    for columns in _same_gaps(labelled):
        rows = labelled[:, columns[0]]
        path = _ridge(
            basis(features[rows]),
            2 * targets[np.ix_(rows, columns)] - 1,
            np.asarray(penalties, dtype=float),
        )
        weights[:, :, columns] = path.weights
        bias[:, columns] = path.bias
    return Path(weights, bias)


def _same_gaps(labelled: np.ndarray) -> list[list[int]]:
    """Return the columns grouped by which rows they know."""
    columns_of: dict[bytes, list[int]] = {}
    for column in range(labelled.shape[1]):
        columns_of.setdefault(labelled[:, column].tobytes(), []).append(column)
    return list(columns_of.values())


def _ridge(space: Basis, y: np.ndarray, penalties: np.ndarray) -> Path:
    middle = y.mean(axis=0)
    product = space.x.T.astype(np.float64) @ (y - middle)
    moment = space.vectors.T @ product / len(y)
    coefficients = moment[None] / (space.values[None, :, None] + penalties[:, None, None])
    bias = np.broadcast_to(middle, (len(penalties), y.shape[1]))
    return space.path(coefficients, bias)


@dataclass(frozen=True)
class Fit:
    """A penalty path with how many of its problems had not converged when the steps ran out."""

    path: Path
    unconverged: int


def logistic_path(
    features: np.ndarray,
    targets: np.ndarray,
    penalties: np.ndarray,
    exclusive: bool,
    steps: int = 100,
) -> Fit:
    """Return logistic regression for every penalty, all of them minimised together by L-BFGS.

    features [n, D]; targets [n, C] of 0/1 with NaN left out; `exclusive`: one softmax over the
    classes, else a sigmoid each. Minimised: mean log loss + penalty / 2 |w|^2 with a free intercept
    (scikit-learn's C = 1 / (n penalty)). The problem is posed in the eigenbasis scaled by the bound
    of the Hessian (Boehning 1992), where few steps are needed.
    """
    space = basis(features)
    losses = (SoftmaxLoss if exclusive else SigmoidLoss)(
        space, targets, np.asarray(penalties, dtype=float)
    )
    solution = minimise(losses, np.zeros(losses.shape), steps=steps)
    path = space.path(*losses.coefficients(solution.x))
    return Fit(path, unconverged=int((~solution.converged).sum()))


def nearest_neighbours(
    features: np.ndarray,
    targets: np.ndarray,
    queries: np.ndarray,
    neighbours: np.ndarray,
    temperature: float = 0.07,
) -> np.ndarray:
    """Return logits [L, n, C] for every count of neighbours: positives against negatives, weighted
    by exp(cosine / temperature).

    features [m, D], targets [m, C] of 0/1 (NaN left out), queries [n, D]. One positive and one
    negative half count are added to the weights of the k neighbours, so that a unanimous vote stays
    finite (weights are relative to the nearest one).
    """
    bank = _unit(features)
    asked = _unit(queries)
    most = min(int(max(neighbours)), len(bank))
    logits = np.empty((len(neighbours), len(asked), targets.shape[1]))
    for start in range(0, len(asked), 1024):
        block = slice(start, start + 1024)
        cosine = asked[block] @ bank.T
        order = np.argsort(-cosine, axis=1, kind="stable")[:, :most]
        near = np.take_along_axis(cosine, order, axis=1)
        weight = np.exp((near - near[:, :1]) / temperature)[:, :, None]
        votes = targets[order]
        yes = np.cumsum(np.where(votes == 1, weight, 0.0), axis=1)
        no = np.cumsum(np.where(votes == 0, weight, 0.0), axis=1)
        for level, k in enumerate(neighbours):
            last = min(int(k), most) - 1
            logits[level, block] = np.log(yes[:, last] + 0.5) - np.log(no[:, last] + 0.5)
    return logits


def _unit(features: np.ndarray) -> np.ndarray:
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
