"""The trainer: a resumed run equals an uninterrupted one, the best weights are kept, broken runs
end in a sentence."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from bench.core.errors import SettingError
from bench.core.progress import Silent
from bench.training.plan import (
    TrainingError,
    TrainPlan,
    TrainSummary,
    batch_slices,
    learning_rate,
    train,
)

PLAN = TrainPlan(epochs=5, lr=1e-2, warmup=0.2, seed=3)


class Points:
    """48 points in batches of 8, shuffled by the generator, which also adds noise."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.x = torch.randn(48, 4, generator=generator)
        self.y = self.x[:, :1] * 2 + 1

    def __len__(self) -> int:
        return 6

    def batches(self, generator: np.random.Generator) -> Iterator[dict[str, torch.Tensor]]:
        order = torch.from_numpy(generator.permutation(48))
        for rows in order.split(8):
            yield {"x": self.x[rows] + 0.01 * float(generator.normal()), "y": self.y[rows]}


class Net(nn.Module):
    """A small net with the parts that break a resume: BatchNorm statistics and dropout."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layers = nn.Sequential(
                nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, 1)
            )

    def losses(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        error = (self.layers(batch["x"]) - batch["y"]).square().mean()
        return {"loss_mse": error, "watched": error.detach() + 1}


class Killed(Exception):
    """Stands for a kill in the middle of an epoch."""


class Killing(Points):
    """Stops in the middle of pass `after` (from 0)."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after, self.passes = after, 0

    def batches(self, generator: np.random.Generator) -> Iterator[dict[str, torch.Tensor]]:
        current, self.passes = self.passes, self.passes + 1
        for number, batch in enumerate(super().batches(generator)):
            if current == self.after and number == 3:
                raise Killed
            yield batch


def run(
    folder: Path, plan: TrainPlan = PLAN, loader: Points | None = None, **options: object
) -> tuple[Net, TrainSummary]:
    net = Net()
    return net, train(net, loader or Points(), plan, folder, progress=Silent(), **options)  # type: ignore[arg-type]


def evaluate(model: nn.Module) -> dict[str, float]:
    points = Points()
    assert not model.training
    return {"mse": float((model.layers(points.x) - points.y).square().mean())}  # type: ignore[operator,union-attr]


def same_weights(first: nn.Module, second: nn.Module) -> bool:
    other = second.state_dict()
    return all(torch.equal(value, other[name]) for name, value in first.state_dict().items())


@pytest.mark.parametrize("ema", [None, 0.9])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_resumed_run_equals_uninterrupted(
    tmp_path: Path, ema: float | None, accumulate: int
) -> None:
    plan = TrainPlan(
        epochs=5,
        lr=1e-2,
        warmup=0.2,
        seed=3,
        ema=ema,
        accumulate=accumulate,
        monitor="mse",
        mode="min",
    )
    whole, summary = run(tmp_path / "whole", plan, evaluate=evaluate)
    with pytest.raises(Killed):
        run(tmp_path / "cut", plan, Killing(2), evaluate=evaluate)
    torch.manual_seed(999)
    resumed, again = run(tmp_path / "cut", plan, evaluate=evaluate)
    assert again.resumed and not summary.resumed
    assert again.curve == summary.curve
    assert same_weights(whole, resumed)
    lines = (tmp_path / "cut" / "curve.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3, 4, 5]


def test_kill_minus_9_loses_at_most_the_epoch(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys\nsys.path[:0] = [sys.argv[2]]\nfrom pathlib import "
        "Path\nimport test_trainer as t\n"
        "class Dies(t.Killing):\n"
        "    def batches(self, generator):\n"
        "        try:\n            yield from super().batches(generator)\n"
        "        except t.Killed:\n            os.kill(os.getpid(), signal.SIGKILL)\n"
        "t.run(Path(sys.argv[1]), loader=Dies(3))\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "cut"), str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    (tmp_path / "cut" / "writing.pth").write_bytes(b"half a checkpoint")
    resumed, summary = run(tmp_path / "cut")
    whole, uninterrupted = run(tmp_path / "whole")
    assert summary.resumed
    assert summary.curve == uninterrupted.curve
    assert same_weights(whole, resumed)


def test_damaged_newest_checkpoint_falls_back_to_the_one_before(tmp_path: Path) -> None:
    whole, _ = run(tmp_path)
    newest = tmp_path / "epoch_5.pth"
    newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])
    resumed, summary = run(tmp_path)
    assert summary.resumed and summary.epochs == 5
    assert same_weights(whole, resumed)


def _flip_a_weight(path: Path) -> None:
    content = bytearray(path.read_bytes())
    weights = torch.load(path, weights_only=True)["state_dict"]
    weight = next(value for name, value in weights.items() if name.endswith("layers.0.weight"))
    place = content.find(weight.numpy().tobytes())
    assert place > 0
    content[place + 3] ^= 1
    path.write_bytes(content)


def _without(name: str) -> Callable[[Path], None]:
    def remove(path: Path) -> None:
        state = torch.load(path, weights_only=True)
        holder = state if name in state else state["meta"]
        del holder[name]
        torch.save(state, path)

    return remove


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a flipped bit": _flip_a_weight,
    "empty": lambda path: path.write_bytes(b""),
    "a number": lambda path: torch.save(7, path),
    "a list": lambda path: torch.save([{}], path),
    "nothing in it": lambda path: torch.save({}, path),
}
DAMAGE |= {f"no {name}": _without(name) for name in ("meta", "state_dict", "optimizer")}
DAMAGE |= {f"meta without {name}": _without(name) for name in ("curve", "epoch", "iter")}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_checkpoint_that_is_not_as_written_is_passed_over(tmp_path: Path, damage: str) -> None:
    whole, _ = run(tmp_path)
    DAMAGE[damage](tmp_path / "epoch_5.pth")
    (tmp_path / "epoch_of_mine.pth").touch()
    resumed, summary = run(tmp_path)
    assert summary.resumed and summary.epochs == 5 and len(summary.curve) == 5
    assert same_weights(whole, resumed)


BEST = TrainPlan(epochs=5, lr=1e-2, seed=3, monitor="mse", mode="min")


@pytest.mark.parametrize("damage", ["a flipped bit", "gone", "nothing in it", "another model"])
def test_a_training_whose_best_weights_are_lost_begins_again(tmp_path: Path, damage: str) -> None:
    whole, before = run(tmp_path, BEST, evaluate=evaluate)
    best = tmp_path / "best.pth"
    if damage == "gone":
        best.unlink()
    elif damage == "another model":
        torch.save({"state_dict": {"weight": torch.zeros(3)}}, best)
    else:
        DAMAGE[damage](best)
    again, summary = run(tmp_path, BEST, evaluate=evaluate)
    assert not summary.resumed and summary.curve == before.curve
    assert same_weights(whole, again)


def test_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    whole, _ = run(tmp_path)
    resumed, summary = run(tmp_path, loader=Killing(0))
    assert summary.epochs == 5
    assert same_weights(whole, resumed)


def test_the_last_two_checkpoints_are_kept(tmp_path: Path) -> None:
    run(tmp_path)
    assert sorted(path.name for path in tmp_path.glob("*.pth")) == ["epoch_4.pth", "epoch_5.pth"]


def test_best_weights_are_restored_and_patience_stops(tmp_path: Path) -> None:
    scores = iter([0.2, 0.9, 0.5, 0.4, 0.3, 0.1])
    seen: list[dict[str, torch.Tensor]] = []

    def falling(model: nn.Module) -> dict[str, float]:
        seen.append({name: value.clone() for name, value in model.state_dict().items()})
        return {"auroc": next(scores)}

    plan = TrainPlan(epochs=6, lr=1e-2, monitor="auroc", patience=2)
    net, summary = run(tmp_path, plan, evaluate=falling)
    assert (summary.best_epoch, summary.best_metric, summary.epochs, summary.stopped_early) == (
        2,
        0.9,
        4,
        True,
    )
    assert all(torch.equal(value, seen[1][name]) for name, value in net.state_dict().items())
    again, repeated = run(tmp_path, plan, evaluate=falling)
    assert repeated.epochs == 4 and repeated.stopped_early
    assert same_weights(net, again)


def test_nan_metric_never_becomes_the_best(tmp_path: Path) -> None:
    scores = iter([float("nan"), 0.1, float("nan")])
    plan = TrainPlan(epochs=3, monitor="auroc")
    _, summary = run(tmp_path, plan, evaluate=lambda model: {"auroc": next(scores)})
    assert (summary.best_epoch, summary.best_metric) == (2, 0.1)


def test_loss_that_is_not_finite_stops_with_a_sentence(tmp_path: Path) -> None:
    class Broken(Net):
        def losses(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            return {"loss": super().losses(batch)["loss_mse"] * float("inf")}

    with pytest.raises(TrainingError, match="epoch 1, step 1"):
        train(Broken(), Points(), PLAN, tmp_path, progress=Silent())
    assert not list(tmp_path.glob("*.pth"))


def test_work_folder_of_another_run_is_refused(tmp_path: Path) -> None:
    run(tmp_path, TrainPlan(epochs=1))
    with pytest.raises(TrainingError, match="other settings"):
        run(tmp_path, TrainPlan(epochs=1, lr=0.5))


def test_steps_per_epoch_repeats_the_loader(tmp_path: Path) -> None:
    _, summary = run(tmp_path, TrainPlan(epochs=1, steps_per_epoch=10))
    assert summary.epochs == 1


def test_console_stays_quiet_and_only_the_loss_is_minimised(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    _, summary = run(tmp_path)
    assert capfd.readouterr() == ("", "")
    assert summary.curve[-1]["train/loss"] == summary.curve[-1]["train/loss_mse"]
    assert summary.curve[-1]["train/watched"] == pytest.approx(summary.curve[-1]["train/loss"] + 1)
    assert summary.curve[-1]["train/loss"] < summary.curve[0]["train/loss"]


def test_unknown_monitor_names_the_known(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="mse"):
        run(tmp_path, TrainPlan(epochs=1, monitor="dice"), evaluate=evaluate)
    with pytest.raises(SettingError, match="needs a validation"):
        run(tmp_path, TrainPlan(epochs=1, monitor="dice"))


def test_fp16_on_a_cpu_is_refused_and_bf16_trains(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="fp16"):
        run(tmp_path / "a", TrainPlan(epochs=1, amp="fp16"))
    _, summary = run(tmp_path / "b", TrainPlan(epochs=2, lr=1e-2, amp="bf16"))
    assert summary.epochs == 2


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_learning_rate_rises_then_follows_its_schedule(schedule: str) -> None:
    plan = TrainPlan(lr=1.0, warmup=0.25, schedule=schedule, min_lr=0.1)  # type: ignore[arg-type]
    rates = [learning_rate(plan, step, 100) for step in range(100)]
    assert rates[:25] == pytest.approx([(step + 1) / 25 for step in range(25)])
    assert rates[25] == 1.0
    assert rates[-1] == pytest.approx(
        {"constant": 1.0, "linear": 0.112, "cosine": 0.1}[schedule], abs=1e-3
    )
    assert all(a >= b for a, b in itertools.pairwise(rates[25:]))


@pytest.mark.parametrize(
    "from_zero, expected", [(False, [0.5, 1, 1, 0.5]), (True, [0, 0.5, 1, 0.5])]
)
def test_a_warmup_may_start_at_zero(from_zero: bool, expected: list[float]) -> None:
    plan = TrainPlan(lr=1.0, warmup=0.5, warmup_from_zero=from_zero)
    rates = [learning_rate(plan, step, 4) for step in range(4)]
    assert rates == pytest.approx(expected)


def test_impossible_plans_are_refused() -> None:
    for wrong in ({"epochs": 0}, {"lr": 0.0}, {"warmup": 1.5}, {"steps_per_epoch": 0}):
        with pytest.raises(SettingError):
            TrainPlan(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("count", "size", "batches"),
    [
        (9, 4, [4, 5]),
        (8, 4, [4, 4]),
        (10, 4, [4, 4, 2]),
        (1, 4, [1]),
        (3, 1, [1, 1, 1]),
        (0, 4, []),
    ],
)
def test_no_batch_of_one_is_left_over(count: int, size: int, batches: list[int]) -> None:
    rows = np.arange(count)
    parts = [rows[part] for part in batch_slices(count, size)]
    assert [len(part) for part in parts] == batches
    assert [int(row) for part in parts for row in part] == rows.tolist()
