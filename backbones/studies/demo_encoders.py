"""Make the demo encoders that come with the package: `python -m backbones.studies.demo_encoders`.

One corpus of rendered studies, whose seed no demo of a task has, is rendered; every method is then
trained on it with each learning rate for one epoch, and with the best of them for six at most, of
which the best is kept. Both are judged by retrieval on the validation studies; test data plays no
part. What has been rendered or trained is found again: a killed run goes on.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from backbones.shared.pretraining.command import print_page
from backbones.shared.pretraining.shipped import HOME, ship
from bench.cells.encoders import PretrainRequest, train_encoder
from bench.contracts import BACKBONES, DATASETS, DEMO_NOTE, Progress
from bench.core.cards import CARD
from bench.core.checkpoints import CURVE, Checkpoint
from bench.core.errors import PlaceBenchError, SettingError
from bench.core.machine import default_threads
from bench.core.progress import default_progress
from bench.core.registry import suggest
from bench.core.settings import parse_list, parse_pairs
from bench.core.storage import write_atomically
from bench.data.roots import DemoSize, demo_root, read_demo_card

DATASET = "mimic_cxr"
CORPUS = DemoSize(studies=24_000, size=256, seed=2025)
"""What is rendered: nine in ten patients train, one in twenty validates; the rest is left alone."""
RATES = ("5e-4", "1e-3")
TRIAL: Mapping[str, str] = {"epochs": "1", "amp": "bf16", "max_tokens": "80"}
WHOLE: Mapping[str, str] = {**TRIAL, "epochs": "6", "monitor": "rank", "patience": "3"}
PAGE = "README.md"


@dataclass(frozen=True)
class Making:
    """What is made: which methods, on which corpus, with which learning rates to choose from."""

    methods: tuple[str, ...]
    corpus: DemoSize
    rates: tuple[str, ...]
    trial: Mapping[str, str]
    whole: Mapping[str, str]
    threads: int
    home: Path


def make(making: Making, progress: Progress) -> Path:
    """Render, train and ship; return the page that lists the demo encoders of `making.home`."""
    root = demo_root(
        DATASETS.get(DATASET), making.corpus, workers=making.threads, progress=progress
    ).path
    for method in making.methods:
        request = PretrainRequest(
            method, dataset=DATASET, data_root=root, threads=making.threads, device="cpu"
        )
        _make_one(request, making, read_demo_card(root), progress)
    page = making.home / PAGE
    write_atomically(page, table(making.home))
    return page


def _make_one(
    request: PretrainRequest, making: Making, corpus: Mapping[str, Any], progress: Progress
) -> None:
    """Train one method as the docstring of this module says and ship it."""
    trials = {}
    for rate in making.rates:
        progress.say(f"{request.method}: learning rate {rate}, a trial")
        trials[rate] = _rank(_trained(request, {**making.trial, "lr": rate}, progress))
    best = max(trials, key=lambda rate: trials[rate])
    progress.say(f"{request.method}: learning rate {best}, to the end")
    checkpoint = _trained(request, {**making.whole, "lr": best}, progress)
    facts = {
        "rendered": {name: corpus[name] for name in ("studies", "size", "seed")},
        "learning_rates_tried": {
            "settings": dict(making.trial),
            "validation_rank": {rate: round(rank, 4) for rate, rank in trials.items()},
        },
    }
    shipped = ship(checkpoint, making.home, facts)
    progress.say(f"{request.method}: {shipped.folder}")


def _trained(
    request: PretrainRequest, settings: Mapping[str, str], progress: Progress
) -> Checkpoint:
    encoder = train_encoder(replace(request, settings=settings), progress)
    if encoder.checkpoint is None:
        raise PlaceBenchError("a pre-trained encoder has no checkpoint.", "Train it again.")
    return Checkpoint.open(encoder.checkpoint)


def _rank(checkpoint: Checkpoint) -> float:
    """Return the validation rank of the epoch that was kept."""
    return float(_kept_row(checkpoint)["val/rank"])


def _kept_row(checkpoint: Checkpoint) -> Mapping[str, float]:
    rows = (checkpoint.folder / CURVE).read_text(encoding="utf-8").splitlines()
    return json.loads(rows[checkpoint.card["kept_epoch"] - 1])


def table(home: Path) -> str:
    """Return the page of the demo encoders in a folder, in Markdown."""
    heads = (
        "method",
        "architecture",
        "size",
        "training pairs",
        "learning rate (tried: rank)",
        "epochs, kept",
        "rank",
        "recall_5",
        "sha256 of the weights",
    )
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    checkpoints = [Checkpoint.open(card.parent) for card in sorted(home.glob(f"*/{CARD}"))]
    lines += ["| " + " | ".join(_row(checkpoint)) + " |" for checkpoint in checkpoints]
    return f"{_HEAD}\n\n" + "\n".join(lines) + "\n"


def _row(checkpoint: Checkpoint) -> tuple[str, ...]:
    card = checkpoint.card
    best_epoch = _kept_row(checkpoint)
    tried = card["learning_rates_tried"]["validation_rank"]
    ranks = ", ".join(f"{rate}: {rank:.3f}" for rate, rank in tried.items())
    return (
        card["method"],
        card["architecture"],
        f"{checkpoint.weights.stat().st_size / 1e6:.1f} MB",
        f"{card['data']['train_pairs']:,}",
        f"{card['settings']['lr']:g} ({ranks})",
        f"{card['epochs']}, {card['kept_epoch']}",
        f"{best_epoch['val/rank']:.3f}",
        f"{best_epoch['val/recall_5']:.3f}",
        f"`{card['weights_sha256'][:12]}`",
    )


_HEAD = f"""# Demo encoders

> **{DEMO_NOTE}**

These encoders stand for a pre-training in the demo profile, so that a first run needs none. All of
them were trained on the same rendered studies. `rank` and `recall_5` are image-to-text retrieval on
validation studies, by which learning rate and epoch were chosen; nothing was chosen on the test
data of a task. `make demo-encoders` makes them again.

The weights are under the Apache License 2.0, as the project is. They were trained on renderings of
an atlas that is derived from one chest CT (CC BY 3.0; NOTICE names it)."""


def parse(arguments: Sequence[str]) -> Making:
    """Return what a command line asks for."""
    able = [name for name, spec in BACKBONES.items() if spec.method and spec.trainer]
    parser = argparse.ArgumentParser(
        prog="python -m backbones.studies.demo_encoders",
        description=(__doc__ or "").splitlines()[0],
    )
    parser.add_argument("methods", nargs="*", help=f"default: all of {', '.join(able)}")
    parser.add_argument(
        "--studies", type=int, default=CORPUS.studies, help="rendered studies of the corpus"
    )
    parser.add_argument("--size", type=int, default=CORPUS.size, help="long side in px")
    parser.add_argument("--seed", type=int, default=CORPUS.seed, help="seed of the corpus")
    parser.add_argument(
        "--rates", default=",".join(RATES), help="learning rates every method chooses from"
    )
    parser.add_argument(
        "--trial",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help=f"a setting of the trials; default: {_pairs(TRIAL)}",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help=f"a setting of the training; default: {_pairs(WHOLE)}",
    )
    parser.add_argument("--threads", type=int, default=default_threads())
    parser.add_argument("--out", type=Path, default=HOME, help="folder of the encoders")
    options = parser.parse_args(arguments)
    methods = tuple(options.methods) or tuple(able)
    for name in methods:
        if name not in able:
            raise SettingError(f"no method '{name}' is trained here.", suggest(name, able))
    rates = parse_list(options.rates, str, "--rates")
    if not rates:
        raise SettingError("--rates needs one value.", "Leave it out for the default.")
    return Making(
        methods,
        DemoSize(options.studies, options.size, options.seed),
        rates,
        {**TRIAL, **parse_pairs(options.trial)},
        {**WHOLE, **parse_pairs(options.set)},
        options.threads,
        options.out,
    )


def _pairs(settings: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in settings.items())


def main() -> int:
    """Make the encoders of the command line and print their page."""
    return print_page("demo-encoders", lambda: make(parse(sys.argv[1:]), default_progress()))


if __name__ == "__main__":
    sys.exit(main())
