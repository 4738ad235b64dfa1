"""What a task says of its labels: which they are, what they are to each other, and what an
uncertain one is taken for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.contracts import DATASETS, TaskSpec
from bench.core.errors import SettingError
from tasks.labelling.settings import Mode, Policy

MODES = ("binary", "multiclass", "multilabel")
POLICIES = ("ones", "zeros", "ignore")


@dataclass(frozen=True)
class LabelOptions:
    """What `TaskSpec.options` of a classification task may hold.

    `labels` default to all of the dataset, `mode` to binary for one label and multilabel for
    several; `uncertain` is one policy, or {class: policy}; `gap` is (group, one, other): two
    subgroups, the difference of whose AUROC is a metric.
    """

    labels: tuple[str, ...] = ()
    mode: Mode | None = None
    uncertain: Policy | Mapping[str, Policy] = "zeros"
    views: tuple[str, ...] = ()
    gap: tuple[str, str, str] | None = None


def task_values(task: TaskSpec) -> dict[str, Any]:
    """Return what the options of a task set: labels, mode, uncertain policy, views."""
    options = task.options
    labels = task_labels(task)
    mode = options.get("mode", "binary" if len(labels) == 1 else "multilabel")
    if mode not in MODES or (mode == "binary") != (len(labels) == 1):
        raise SettingError(
            f"task '{task.name}' has mode '{mode}' and {len(labels)} labels.",
            f"Modes: {', '.join(MODES)}.",
        )
    uncertain = options.get("uncertain", "zeros")
    words = (
        (uncertain,)
        if isinstance(uncertain, str)
        else tuple(f"{name}={rule}" for name, rule in uncertain.items())
    )
    return {
        "labels": labels,
        "mode": mode,
        "uncertain": words,
        "views": tuple(options.get("views", ())),
    }


def task_labels(task: TaskSpec) -> tuple[str, ...]:
    """Return the labels of a task: its option `labels`, else all of its dataset; raise SettingError
    where there are none."""
    labels = tuple(task.options.get("labels", ())) or DATASETS.get(task.dataset).label_names
    if not labels:
        raise SettingError(
            f"task '{task.name}' has no labels.", "Name them in TaskSpec.options['labels']."
        )
    return labels


def expand_policies(words: Sequence[str], labels: Sequence[str]) -> tuple[str, ...]:
    """Return one `class=policy` per label; a policy alone is for all, a class not named gets
    zeros."""
    policy_of = dict.fromkeys(labels, "zeros")
    for word in words:
        name, _, policy = word.rpartition("=")
        if policy not in POLICIES or (name and name not in policy_of):
            raise SettingError(
                f"uncertain policy '{word}'.",
                f"Write class=policy, policies {', '.join(POLICIES)}, classes {', '.join(labels)}.",
            )
        policy_of |= {name: policy} if name else dict.fromkeys(labels, policy)
    return tuple(f"{name}={policy}" for name, policy in policy_of.items())
