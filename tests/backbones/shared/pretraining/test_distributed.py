"""Two processes with half of every batch each train what one process does with the whole of it."""

from __future__ import annotations

import itertools
import json
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from backbones.shared.alignment.sync_norm import synchronise_norms
from backbones.shared.pretraining.trainer import pretrain
from bench.contracts import PairData
from bench.core.errors import SettingError
from bench.core.progress import Silent
from bench.training.processes import mean
from tests.support.pairs import make_subset, pair_loader, recipe
from tests.support.tiny import tiny

METHODS = ("convirt", "place", "gloria", "mgca", "egma", "medtrim", "mlip_reimpl")
WHOLE = {"mlip_reimpl": {"matching": "1", "swap": "1"}}
"""Settings that turn on what a method has off."""


def pairs() -> PairData:
    return PairData("squares", "demo", make_subset(8, 144, 1), make_subset(4, 144, 2), "0123abcd")


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def gradients(name: str) -> dict[str, torch.Tensor]:
    """Return what one step's gradients are after DDP has averaged them, this process having its
    part of the batch."""
    method = synchronise_norms(tiny(name, **WHOLE.get(name, {})))
    torch.manual_seed(3)
    loader = pair_loader(method, regions=0.5)  # three of eight images keep theirs
    losses = method.losses(next(loader.batches(np.random.default_rng(0))))
    torch.stack([value for key, value in losses.items() if "loss" in key]).sum().backward()
    found = {key: mean(p.grad) for key, p in method.named_parameters() if p.grad is not None}
    return found | {key: value for key, value in method.named_buffers() if "running" in key}


def _train(rank: int, port: int, folder: str) -> None:
    import os

    torch.set_num_threads(1)
    os.environ |= {
        "RANK": str(rank),
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    pretrain(recipe("place", monitor="rank"), pairs(), progress=Silent(), out=Path(folder) / "two")
    for name in METHODS:
        torch.save(gradients(name), f"{folder}/{name}-{rank}.pt")
    _norms(Path(folder), rank)
    torch.distributed.destroy_process_group()


def _norms(folder: Path, rank: int) -> None:
    """Normalise unequal parts of one batch, and share out a batch that cannot be shared."""
    x, parts = norm_input(), (slice(0, 2), slice(2, 7))
    own = x[parts[rank]].clone().requires_grad_()
    layer = synchronise_norms(nn.Sequential(nn.BatchNorm1d(3)))
    (layer(own) * torch.arange(21.0).view(7, 3)[parts[rank]].sin()).sum().backward()
    torch.save({"grad": own.grad, **layer.state_dict()}, folder / f"norm{rank}.pt")
    with pytest.raises(SettingError, match="batch of 3 on 2 processes"):
        pair_loader(tiny("convirt"), 3)


def norm_input() -> torch.Tensor:
    return torch.randn(7, 3, generator=torch.Generator().manual_seed(0)) * 3 + 1


def test_two_processes_train_what_one_does(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(_train, (free_port(), str(tmp_path)), nprocs=2)
    for name, rank in itertools.product(METHODS, (0, 1)):
        found = torch.load(tmp_path / f"{name}-{rank}.pt", weights_only=True)
        for key, value in gradients(name).items():
            if key.endswith("_head.0.bias"):
                continue  # BatchNorm takes it away again: its gradient is rounding alone
            off = float(
                (found[key] - value).norm()
            )  # sums in another order: a gradient left ungathered would be half
            assert off <= 0.01 * float(value.norm()) + 1e-3, (
                f"{name} {key}: {off} of {float(value.norm())}"
            )
    pretrain(recipe("place", monitor="rank"), pairs(), progress=Silent(), out=tmp_path / "one")
    curves = [
        [json.loads(line) for line in (tmp_path / which / "curve.jsonl").read_text().splitlines()]
        for which in ("one", "two")
    ]
    for one, two in zip(*curves, strict=True):
        assert two == pytest.approx(
            one, rel=1e-2, abs=1e-2
        )  # Adam makes much of rounding where a gradient is near 0
    _check_norms(tmp_path)


def _check_norms(tmp_path: Path) -> None:
    x = norm_input().requires_grad_()
    layer = nn.BatchNorm1d(3)
    (layer(x) * torch.arange(21.0).view(7, 3).sin()).sum().backward()
    ranks = [torch.load(tmp_path / f"norm{rank}.pt", weights_only=True) for rank in (0, 1)]
    torch.testing.assert_close(torch.cat([found["grad"] for found in ranks]), x.grad)
    for found in ranks:
        torch.testing.assert_close(found["0.running_var"], layer.running_var)
        torch.testing.assert_close(found["0.running_mean"], layer.running_mean)
