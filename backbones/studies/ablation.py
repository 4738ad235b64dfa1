"""PLACE's parts and the other methods on equal terms: `python -m backbones.studies.ablation`.

Every variant has the same encoder, data, number of steps, learning rates to choose from (by
retrieval on the validation studies, first seed) and seeds; then every encoder is scored frozen, on
test patients no variant has seen. Nothing is tuned for one variant that is not tuned for all. What
has been trained or scored is found again: a killed run goes on.

In the profile demo the data are the corpus of the demo encoders, which all variants see once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from backbones.shared.pretraining.command import print_page
from backbones.studies.demo_encoders import CORPUS, DATASET, TRIAL
from bench.cells.encoders import PretrainRequest, train_encoder
from bench.cells.engines.local import Job, run_jobs
from bench.cells.prepare import EncoderRef, TaskPlan, make_cell, plan_task
from bench.cells.request import RunRequest
from bench.cells.results import ResultStore
from bench.contracts import (
    BACKBONES,
    DATASETS,
    DEMO_NOTE,
    KINDS,
    TASKS,
    DataKind,
    Profile,
    Progress,
)
from bench.core.cards import CARD, read_json_object
from bench.core.errors import PlaceBenchError, SettingError
from bench.core.machine import default_threads
from bench.core.progress import default_progress
from bench.core.settings import parse_list, parse_pairs
from bench.core.storage import write_atomically
from bench.data.roots import demo_root
from bench.metrics.bootstrap import Estimate, cluster_weights
from bench.metrics.paired import compare, holm
from bench.report.leaderboard import row_estimate
from bench.report.pairing import Result, align

ALONE = "ITA"
WHOLE = "PLACE"
CERTAIN = 0.05
VARIANTS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "ITA": ("place", {"lambda_pcma": "0", "lambda_cce": "0"}),
    "ITA+PCMA": ("place", {"lambda_cce": "0"}),
    "ITA+CCE": ("place", {"lambda_pcma": "0"}),
    "PLACE": ("place", {}),
    "PLACE, K=4": ("place", {"queries": "4"}),
    "PLACE, K=32": ("place", {"queries": "32"}),
    "PLACE, t_por=query": ("place", {"t_por": "query"}),
    "PLACE, cce_target=pixel": ("place", {"cce_target": "pixel"}),
    "PLACE, cce_loss=pearson": ("place", {"cce_loss": "pearson"}),
    "PLACE, tau2=0.05": ("place", {"tau2": "0.05"}),
    "PLACE, tau2=0.2": ("place", {"tau2": "0.2"}),
    "PLACE, duplicates by key": ("place", {"duplicate_cosine": "none"}),
    "PLACE, duplicates kept": ("place", {"mask_duplicates": "false"}),
    "PLACE, competing": ("place", {"competing": "true"}),
    "PLACE, queries without places": ("place", {"anchored": "false", "read_only": "false"}),
    "ConVIRT": ("convirt", {}),
    "GLoRIA": ("gloria", {}),
    "MGCA": ("mgca", {}),
}
"""Row -> method and its changes to the defaults. A switch ("PLACE, ...") is compared with PLACE,
all else with ITA."""

USUAL = (
    "ITA",
    "ITA+PCMA",
    "ITA+CCE",
    "PLACE",
    "PLACE, K=32",
    "PLACE, t_por=query",
    "PLACE, cce_target=pixel",
    "PLACE, queries without places",
    "ConVIRT",
    "GLoRIA",
    "MGCA",
)
"""What is trained unless `--variants` says otherwise."""
TASKS_HELP = (
    "probe, retrieval, segmentation, grounding; TASK:METRIC for another than the task's main metric"
)


@dataclass(frozen=True)
class Study:
    """What an ablation was asked for."""

    variants: tuple[str, ...]
    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    rates: tuple[str, ...]
    shared: Mapping[str, str]
    fraction: float
    results: Path
    device: str
    architecture: str
    profile: Profile
    studies: int
    """How many studies the corpus of the demo has."""

    @property
    def data(self) -> DataKind:
        """Return what is read: rendered data in the demo profile, whatever real data there is; else
        real data."""
        return "demo" if self.profile == "demo" else "real"


@dataclass(frozen=True)
class Trained:
    """A variant's encoders, one per seed, the learning rate all have, and their V-POR cosine (None:
    it has no V-PORs)."""

    encoders: Mapping[int, EncoderRef]
    rate: str
    cosine: float | None


def common_request(study: Study, progress: Progress) -> PretrainRequest:
    """Return what the trainings of all variants have in common; in the profile demo their corpus is
    rendered where it is missing."""
    request = PretrainRequest(
        "place",
        profile=study.profile,
        architecture=study.architecture,
        device=study.device,
        data=study.data,
    )
    if study.data == "real":
        return request
    corpus = replace(CORPUS, studies=study.studies)
    home = demo_root(DATASETS.get(DATASET), corpus, workers=default_threads(), progress=progress)
    return replace(request, dataset=DATASET, data_root=home.path)


def train_variant(name: str, study: Study, common: PretrainRequest, progress: Progress) -> Trained:
    """Train a variant: the first seed with every learning rate, the others with the best of
    them."""
    method, changes = VARIANTS[name]
    request = replace(common, method=method, settings={**study.shared, **changes})

    def train(seed: int, rate: str) -> EncoderRef:
        progress.say(f"{name}: seed {seed}, lr {rate}")
        settings = {**request.settings, "lr": rate}
        return train_encoder(replace(request, seed=seed, settings=settings), progress)

    first = {rate: train(study.seeds[0], rate) for rate in study.rates}
    rate = max(first, key=lambda one: _last_row(first[one])["val/rank"])
    encoders = {study.seeds[0]: first[rate]}
    encoders |= {seed: train(seed, rate) for seed in study.seeds[1:]}
    cosines = [
        row["train/observation_cosine"]
        for row in map(_last_row, encoders.values())
        if "train/observation_cosine" in row
    ]
    return Trained(encoders, rate, sum(cosines) / len(cosines) if cosines else None)


def _last_row(encoder: EncoderRef) -> Mapping[str, float]:
    if encoder.checkpoint is None:
        raise PlaceBenchError("a pre-trained encoder has no checkpoint.", "Train it again.")
    return read_json_object(encoder.checkpoint / CARD)["last_epoch"]


def score_task(
    column: str, trained: Mapping[str, Trained], study: Study, progress: Progress
) -> dict[str, Estimate]:
    """Return every variant's score by a column, "task" (its main metric) or "task:metric": mean
    over the seeds, with an interval that holds the noise of patients and of training. Two columns
    of one task share its cells. A variant that a task cannot have, such as one without maps in
    grounding, is left out."""
    task, _, asked = column.partition(":")
    request = RunRequest(
        (task,), device=study.device, profile=study.profile, results=study.results, data=study.data
    )
    plan = plan_task(task, request, progress)
    jobs = {
        name: list(_jobs(name, variant, plan, study, request)) for name, variant in trained.items()
    }
    rows = _run(jobs, request, progress)
    if not rows:
        return {}
    results, others = align([result for row in rows.values() for result in row])
    if others:
        raise PlaceBenchError(others[0])
    metric = asked or plan.task.main_metric
    by_key = {str(result.record["key"]): result for result in results}
    weights = cluster_weights(results[0].images["patient_id"].tolist())
    estimates = {}
    for name in rows:
        seeds = [by_key[job.cell.key] for job in jobs[name]]
        estimates[name] = row_estimate(plan.kind, plan.task, metric, seeds, weights)
    return estimates


def _run(
    jobs: Mapping[str, Sequence[Job]], request: RunRequest, progress: Progress
) -> dict[str, list[Result]]:
    """Run what has no result yet, and return the results of every variant that the task can
    have."""
    store = ResultStore(request.results)
    done = store.finished(job.cell.key for row in jobs.values() for job in row)
    run_jobs(
        [job for row in jobs.values() for job in row if job.cell.key not in done], request, progress
    )
    records = store.records()
    return {
        name: [
            Result(records[job.cell.key], store.load_predictions(records[job.cell.key]))
            for job in row
        ]
        for name, row in jobs.items()
        if all(job.cell.key in records for job in row)
    }


def _jobs(
    name: str, trained: Trained, plan: TaskPlan, study: Study, request: RunRequest
) -> Iterator[Job]:
    spec = BACKBONES.get(_registered(name))
    for seed, encoder in trained.encoders.items():
        yield Job(make_cell(plan, spec, encoder, study.fraction, seed, request), plan, encoder)


def _registered(name: str) -> str:
    """Register a variant as a backbone of its own, so that its results stand apart, and return the
    name."""
    registered = f"{name} (ablation)"
    if registered not in BACKBONES.names():
        BACKBONES.add(
            registered, replace(BACKBONES.get(VARIANTS[name][0]), name=registered, default=False)
        )
    return registered


def table(trained: Mapping[str, Trained], scores: Mapping[str, Mapping[str, Estimate]]) -> str:
    """Return the Markdown table: per task value [interval] and paired difference to the row's
    reference, marked where not 0."""
    pairs = {}
    for task, estimates in scores.items():
        for name in estimates:
            pair = _pair(estimates, name)
            if pair is not None:
                pairs[task, name] = pair
    p_values = [compare(row, other)[2] for row, other in pairs.values()]
    corrected = dict(zip(pairs, holm(p_values), strict=True))
    heads = ["variant", "lr", "V-POR cosine"]
    for task in scores:
        heads += [task, "difference"]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for name, variant in trained.items():
        cosine = "" if variant.cosine is None else f"{variant.cosine:.2f}"
        cells = [name, variant.rate, cosine]
        for task, estimates in scores.items():
            cells += [
                estimates[name].text if name in estimates else "-",
                _difference(pairs.get((task, name)), corrected.get((task, name), 1.0)),
            ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _pair(estimates: Mapping[str, Estimate], name: str) -> tuple[Estimate, Estimate] | None:
    """Return a row and its reference; None where it is the reference, or either is not there."""
    reference = WHOLE if name.startswith(f"{WHOLE},") else ALONE
    if name == reference or not {name, reference} <= set(estimates):
        return None
    return estimates[name], estimates[reference]


def _difference(pair: tuple[Estimate, Estimate] | None, p: float) -> str:
    if pair is None:
        return ""
    low, high, _, _ = compare(*pair)
    text = f"{pair[0].value - pair[1].value:+.3f} [{low:+.3f}, {high:+.3f}]"
    text = f"**{text}**" if low > 0 or high < 0 else text
    return f"{text} \\*" if p < CERTAIN else text


def run(study: Study, progress: Progress) -> Path:
    """Train and score all variants and return the path of the table, which is written anew after
    every task."""
    common = common_request(study, progress)
    trained = {name: train_variant(name, study, common, progress) for name in study.variants}
    scores: dict[str, Mapping[str, Estimate]] = {}
    path = study.results / "ablation.md"
    for column in study.tasks:
        scores[column] = score_task(column, trained, study, progress)
        write_atomically(path, f"{_head(study)}\n\n{table(trained, scores)}\n")
    return path


def _head(study: Study) -> str:
    note = f"**{DEMO_NOTE}**\n\n" if study.data == "demo" else ""
    data = f"{study.studies:,} studies of the demo encoders' corpus" if note else "real"
    seeds = ", ".join(map(str, study.seeds))
    return (
        f"# Ablation\n\n{note}Data: {data}. Seeds {seeds}; learning rates to choose from "
        f"{', '.join(study.rates)}; shared changes {dict(study.shared) or 'none'}; labels "
        f"{study.fraction:g}. Value: mean over the seeds with the 95% interval, of patients and of "
        "training. Difference: of a switch (PLACE, ...) to PLACE, of all else to ITA, paired over "
        "patients; bold where its interval leaves 0 out, \\* where its p-value is below "
        f"{CERTAIN:g} after Holm's correction for all differences of the table."
    )


def parse(arguments: Sequence[str]) -> Study:
    """Return the study of a command line."""
    parser = argparse.ArgumentParser(
        prog="python -m backbones.studies.ablation", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument(
        "--variants",
        default=";".join(USUAL),
        help=f"separated by ';', out of: {'; '.join(VARIANTS)} (default: {'; '.join(USUAL)})",
    )
    parser.add_argument(
        "--tasks",
        default="chexpert_cls,mimic5x200_ret,siim_seg,vindr_ground",
        help=TASKS_HELP,
    )
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument(
        "--rates", default="5e-4,1e-3", help="learning rates every variant chooses from"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting of all, e.g. epochs=4 (in the profile demo: "
        + ", ".join(f"{key}={value}" for key, value in TRIAL.items())
        + ")",
    )
    parser.add_argument(
        "--studies", type=int, default=CORPUS.studies, help="how large the corpus of the demo is"
    )
    parser.add_argument("--fraction", type=float, default=1.0, help="label fraction of the heads")
    parser.add_argument("--results", type=Path, default=Path("results/ablation"))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--arch", default="")
    parser.add_argument("--profile", default="demo", choices=("demo", "paper"))
    options = parser.parse_args(arguments)
    names = tuple(variant.strip() for variant in options.variants.split(";"))
    unknown = [name for name in names if name not in VARIANTS]
    if unknown:
        raise SettingError(f"no variant {unknown[0]!r}.", f"Known: {'; '.join(VARIANTS)}.")
    shared = {**(TRIAL if options.profile == "demo" else {}), **parse_pairs(options.set)}
    seeds = parse_list(options.seeds, int, "--seeds")
    rates = parse_list(options.rates, str, "--rates")
    tasks = parse_list(options.tasks, str, "--tasks")
    if not (seeds and rates and tasks):
        raise SettingError(
            "--seeds, --rates and --tasks need one value each.", "Leave them out for the defaults."
        )
    for column in tasks:
        _check_column(column)
    rest = (options.fraction, options.results, options.device, options.arch, options.profile)
    return Study(names, tasks, seeds, rates, shared, *rest, options.studies)


def _check_column(column: str) -> None:
    """Raise for a task or metric there is not: now, not after hours of training."""
    name, _, metric = column.partition(":")
    task = TASKS.get(name)
    metrics = {task.main_metric, *KINDS.get(task.kind).metrics}
    if metric and metric not in metrics:
        raise SettingError(
            f"task '{name}' has no metric '{metric}' to rank by.",
            f"Known: {', '.join(sorted(metrics))}.",
        )


def main() -> int:
    """Run the ablation of the command line and print its table."""
    return print_page("ablation", lambda: run(parse(sys.argv[1:]), default_progress()))


if __name__ == "__main__":
    sys.exit(main())
