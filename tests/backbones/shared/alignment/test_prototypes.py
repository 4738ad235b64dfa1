"""Prototypes: Sinkhorn against its definition, even use, two processes against one, and the swapped
loss."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from backbones.shared.alignment.prototypes import Prototypes, balance, prototype_loss, sinkhorn

ROOT = Path(__file__).parents[4]
TWO_RANKS = """
import sys, torch, torch.distributed as dist, torch.multiprocessing as mp
from backbones.shared.alignment.prototypes import sinkhorn

def work(rank, store, out):
    dist.init_process_group("gloo", init_method="file://" + store, rank=rank, world_size=2)
    scores = torch.randn(10, 6, generator=torch.Generator().manual_seed(3))
    torch.save(sinkhorn(scores[rank * 5:][:5], distributed=True), f"{out}/{rank}.pt")
    dist.destroy_process_group()

if __name__ == "__main__":
    mp.spawn(work, (sys.argv[1] + "/store", sys.argv[1]), nprocs=2)
"""


def test_rows_are_assignments_and_prototypes_are_used_evenly() -> None:
    scores = torch.randn(60, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    codes = sinkhorn(scores, iterations=200, epsilon=0.5)
    torch.testing.assert_close(codes.sum(1), torch.ones(60, dtype=torch.float64))
    torch.testing.assert_close(codes.sum(0), torch.full((5,), 12.0, dtype=torch.float64))


def test_equals_the_definition() -> None:
    matrix = torch.rand(4, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 0.1
    q = matrix / matrix.sum()
    for _ in range(3):
        for row in range(4):
            q[row] *= (1 / 4) / q[row].sum()
        for col in range(7):
            q[:, col] *= (1 / 7) / q[:, col].sum()
    torch.testing.assert_close(balance(matrix), (q / q.sum(0)).T)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_scores_of_any_size_give_finite_codes(scale: float) -> None:
    scores = scale * torch.randn(9, 6, generator=torch.Generator().manual_seed(2))
    assert sinkhorn(scores).isfinite().all()


def test_two_processes_equal_one(tmp_path: Path) -> None:
    script = tmp_path / "ranks.py"
    script.write_text(TWO_RANKS)
    subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        cwd=ROOT,
        env=_environment(),
        check=True,
        timeout=120,
    )
    whole = sinkhorn(torch.randn(10, 6, generator=torch.Generator().manual_seed(3)))
    torch.testing.assert_close(
        torch.cat([torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]),
        whole,
    )


def test_codes_have_no_gradient_and_agreement_lowers_the_loss() -> None:
    torch.manual_seed(0)
    layer = Prototypes(8, 6)
    torch.testing.assert_close(layer.weight.norm(dim=1), torch.ones(6))
    images = torch.nn.functional.normalize(torch.randn(12, 8), dim=1)
    scores = layer(images)
    assert not sinkhorn(scores).requires_grad
    agreeing, mixed = prototype_loss(scores, scores), prototype_loss(scores, scores.roll(1, 0))
    assert agreeing < mixed
    agreeing.backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.any()


def _environment() -> dict[str, str]:
    import os

    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
