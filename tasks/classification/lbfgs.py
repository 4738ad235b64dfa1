"""L-BFGS on many small problems at once: one matrix product per step serves all that have not
converged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Objective = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
Pair = tuple[np.ndarray, np.ndarray, np.ndarray]
HALVINGS = 12
ARMIJO = 1e-4


@dataclass(frozen=True)
class Solution:
    """The minima [P, M] and which of them were reached [P]."""

    x: np.ndarray
    converged: np.ndarray


def minimise(
    objective: Objective,
    start: np.ndarray,
    *,
    steps: int = 100,
    memory: int = 8,
    tolerance: float = 1e-5,
) -> Solution:
    """Minimise P smooth convex functions of M parameters each (Liu & Nocedal 1989), step lengths
    halved per problem.

    `objective(x [Q, M], which [Q])` returns the values [Q] and gradients [Q, M] of some of the
    problems. Converged: no gradient entry above `tolerance`, or no step that lowers the value any
    more (the limit of the arithmetic).
    """
    x = start.copy()
    open_ = np.arange(len(start))
    value, gradient = objective(x, open_)
    pairs: list[Pair] = []
    for _ in range(steps):
        left = np.abs(gradient).max(axis=1, initial=0.0) > tolerance
        open_ = open_[left]
        value = value[left]
        gradient = gradient[left]
        pairs = [(step[left], change[left], inverse[left]) for step, change, inverse in pairs]
        if not len(open_):
            break
        here = x[open_]
        length, new_value, new_gradient = _search(
            objective, open_, here, value, gradient, _direction(gradient, pairs)
        )
        x[open_] = here + length
        pairs = [*pairs, _pair(length, new_gradient - gradient)][-memory:]
        stuck = np.abs(length).max(axis=1) == 0
        value = new_value
        gradient = np.where(stuck[:, None], 0.0, new_gradient)
    return Solution(x, ~np.isin(np.arange(len(start)), open_))


def _pair(step: np.ndarray, change: np.ndarray) -> Pair:
    """Return (step, change of gradient, 1 / their product); 0 in its place makes a useless pair
    count for nothing."""
    product = np.einsum("pm,pm->p", step, change)
    useful = product > 1e-12 * np.maximum(1e-300, np.einsum("pm,pm->p", change, change))
    return step, change, np.divide(1.0, product, out=np.zeros_like(product), where=useful)


def _direction(gradient: np.ndarray, pairs: list[Pair]) -> np.ndarray:
    """Return the two-loop direction of every problem, downhill always."""
    q = gradient.copy()
    alphas = []
    for step, change, inverse in reversed(pairs):
        alpha = inverse * np.einsum("pm,pm->p", step, q)
        q -= alpha[:, None] * change
        alphas.append(alpha)
    for (step, change, inverse), alpha in zip(pairs, reversed(alphas), strict=True):
        beta = inverse * np.einsum("pm,pm->p", change, q)
        q += (alpha - beta)[:, None] * step
    uphill = np.einsum("pm,pm->p", q, gradient) <= 0
    return -np.where(uphill[:, None], gradient, q)


def _search(
    objective: Objective,
    which: np.ndarray,
    x: np.ndarray,
    value: np.ndarray,
    gradient: np.ndarray,
    direction: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return steps [Q, M] that lower each value enough, halved until they do (0 where none does),
    values and gradients there."""
    slope = np.einsum("pm,pm->p", gradient, direction)
    length = np.ones(len(x))
    new_value = value.copy()
    new_gradient = gradient.copy()
    tried = np.arange(len(x))
    for _ in range(HALVINGS):
        point = x[tried] + length[tried, None] * direction[tried]
        value_there, gradient_there = objective(point, which[tried])
        good = value_there <= value[tried] + ARMIJO * length[tried] * slope[tried]
        new_value[tried[good]] = value_there[good]
        new_gradient[tried[good]] = gradient_there[good]
        tried = tried[~good]
        if not len(tried):
            break
        length[tried] /= 2
    length[tried] = 0.0
    return length[:, None] * direction, new_value, new_gradient
