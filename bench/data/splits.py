"""Splits by patient, label fractions that nest, and the leak check that stops a run."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from bench.core.errors import DataError, SplitLeakError

if TYPE_CHECKING:
    import pandas as pd

SPLITS = ("train", "val", "test")
DEFAULT_FRACTIONS = (0.7, 0.15, 0.15)


def default_split(
    index: pd.DataFrame,
    seed: int = 0,
    fractions: Sequence[float] = DEFAULT_FRACTIONS,
    stratify: str | None = None,
) -> pd.DataFrame:
    """Return a copy of `index` with `split` filled: the official split where there is one, else
    train/val/test by patient.

    A patient stands in one split only. Patients are drawn within strata of `stratify` (a patient's
    highest value; default: the only `label:` column, where there is exactly one), in sizes
    proportional to `fractions` by largest remainder; the order of the rows plays no part. An
    official split without val (or test) keeps what it has, and val (or test) is drawn from its
    training patients in the proportion of `fractions`. Raise DataError for a partly filled or
    unknown split and for too few patients.
    """
    official = _official_splits(index)
    missing = [name for name in SPLITS if name not in official]
    result = index.copy()
    if not missing:
        return result
    pool = index if len(missing) == 3 else index[index["split"] == "train"]
    if pool.empty:
        raise DataError(
            f"the official split has {' and '.join(sorted(official))} but no train.",
            "Check the split file.",
        )
    shares = {
        name: share
        for name, share in zip(SPLITS, fractions, strict=True)
        if name == "train" or name in missing
    }
    assigned = _assign_patients(pool, shares, seed, stratify or stratify_column(index))
    result.loc[pool.index, "split"] = pool["patient_id"].map(assigned)
    return result


def _official_splits(index: pd.DataFrame) -> set[str]:
    names = set(index["split"].unique())
    unknown = names - {*SPLITS, ""}
    if unknown:
        raise DataError(
            f"unknown split {sorted(map(str, unknown))}; train, val and test were expected.",
            "Check the split file.",
        )
    if "" in names and len(names) > 1:
        count = int((index["split"] == "").sum())
        raise DataError(
            f"{count} of {len(index)} images have no official split while the others have.",
            "Complete or drop them.",
        )
    return names - {""}


def stratify_column(index: pd.DataFrame) -> str | None:
    """Return the only `label:` column, or None where there is none or more than one."""
    labels = [column for column in index.columns if str(column).startswith("label:")]
    return labels[0] if len(labels) == 1 else None


def first_label(rows: pd.DataFrame) -> str | None:
    """Return the first `label:` column, or None where there is none.

    A label fraction is drawn by it, also where there are more: 1 % must still hold both values of a
    class. A split is large enough without, so it prefers no class (`stratify_column`).
    """
    return next((name for name in map(str, rows.columns) if name.startswith("label:")), None)


def _assign_patients(
    rows: pd.DataFrame, shares: dict[str, float], seed: int, stratify: str | None
) -> dict[str, str]:
    """Return patient -> split; every split gets at least one patient."""
    strata = _strata(rows, "patient_id", stratify)
    if sum(map(len, strata)) < len(shares):
        raise DataError(
            f"{sum(map(len, strata))} patients cannot make {' / '.join(shares)}: a patient "
            f"stands in one of them, so {len(shares)} are needed.",
            "Look for lost rows or images, add patients, or give a split (docs/split_lists.md).",
        )
    assigned: dict[str, str] = {}
    for number, patients in enumerate(strata):
        order = np.random.default_rng([seed, number]).permutation(patients)
        names = np.repeat(list(shares), _sizes(len(order), list(shares.values())))
        assigned.update(zip(order.tolist(), names.tolist(), strict=True))
    return _fill_empty(assigned, list(shares))


def _sizes(count: int, shares: list[float]) -> list[int]:
    """Divide `count` in proportion to `shares` by largest remainder."""
    exact = np.array(shares, float) / sum(shares) * count
    sizes = np.floor(exact + 1e-9).astype(int)
    left = count - int(sizes.sum())
    largest_remainders = np.argsort(sizes - exact, kind="stable")[:left]
    sizes[largest_remainders] += 1
    return sizes.tolist()


def _fill_empty(assigned: dict[str, str], names: list[str]) -> dict[str, str]:
    for name in names:
        counts = {other: sum(split == other for split in assigned.values()) for other in names}
        if counts[name] == 0:
            largest = max(counts, key=lambda other: counts[other])
            moved = min(patient for patient, split in assigned.items() if split == largest)
            assigned[moved] = name
    return assigned


def _strata(rows: pd.DataFrame, unit: str, column: str | None) -> list[list[str]]:
    """Return the units (patients or images) of each value of `column`, sorted; a unit's value is
    its highest, NaN the lowest."""
    if column is None:
        return [sorted(rows[unit].astype(str).unique())]
    if column not in rows:
        raise DataError(
            f"column '{column}' to stratify on is not in the index.",
            f"Columns: {', '.join(map(str, rows.columns))}.",
        )
    values = (
        rows.assign(**{column: rows[column].fillna(-np.inf)}).groupby(unit, sort=True)[column].max()
    )
    return [sorted(units.index.astype(str)) for _, units in values.groupby(values, sort=True)]


def by_image_id(index: pd.DataFrame) -> pd.DataFrame:
    """Return the rows sorted by image id: the order of a table's rows decides no number."""
    return index.sort_values(
        "image_id", kind="stable", ignore_index=True, key=lambda ids: ids.astype(str)
    )


def label_subset(
    train: pd.DataFrame,
    fraction: float,
    seed: int,
    stratify: str | None = None,
    by: Literal["image", "patient"] = "image",
) -> pd.DataFrame:
    """Return the rows of `train` that carry labels at `fraction`, in the order of `train`.

    Nested: with one seed, 1 % lies inside 10 % inside 100 %. Stratified on the values of column
    `stratify`; at least one image (or patient) of every stratum is kept. Drawn by image, as the
    field does (`by="patient"` draws whole patients): train, val and test stay apart by patient
    either way. Raise DataError for a fraction outside (0, 1] or an empty `train`.
    """
    if not 0 < fraction <= 1:
        raise DataError(
            f"label fraction {fraction} is not in (0, 1].", "Give e.g. --fractions 0.01,0.1,1.0."
        )
    if train.empty:
        raise DataError(
            "the training split is empty, no label fraction can be drawn.", "Check the split."
        )
    unit = "image_id" if by == "image" else "patient_id"
    drawn: set[str] = set()
    for number, units in enumerate(_strata(train, unit, stratify)):
        order = np.random.default_rng([seed, number]).permutation(units)
        count = max(1, int(np.floor(fraction * len(order) + 0.5)))
        drawn.update(order[:count].tolist())
    return train[train[unit].astype(str).isin(drawn)]


def check_leaks(index: pd.DataFrame, *, allow: bool = False) -> str:
    """Check that no patient and no image (by id or path) stands in more than one split; return ""
    then.

    Raise SplitLeakError with counts and examples. With `allow` (presets that repeat a published
    split, its leaks included) return the same sentence as a warning to be kept with the result.
    """
    columns = {"patient_id": "patients", "image_id": "images", "path": "files"}
    leaks = [_leak(index, column, name) for column, name in columns.items()]
    message = "; ".join(leak for leak in leaks if leak)
    if message and not allow:
        raise SplitLeakError(f"the split leaks: {message}.", "Split by patient.")
    return f"this published split leaks: {message}." if message else ""


def _leak(index: pd.DataFrame, column: str, what: str) -> str:
    placed = index[index["split"] != ""]
    pairs = placed[[column, "split"]].drop_duplicates().sort_values([column, "split"])
    leaking = pairs[pairs[column].duplicated(keep=False)]
    if leaking.empty:
        return ""
    groups = leaking.groupby(column, sort=True)["split"].agg(" and ".join)
    named = ", ".join(f"{name} in {where}" for name, where in groups.iloc[:3].items())
    return (
        f"{len(groups)} {what} stand in more than one split "
        f"({named}{', ...' if len(groups) > 3 else ''})"
    )


def split_hash(index: pd.DataFrame) -> str:
    """Return a hash over the sorted (image_id, split) pairs: equal hashes mean equal splits."""
    lines = sorted(
        f"{image}\t{split}" for image, split in zip(index["image_id"], index["split"], strict=True)
    )
    return hashlib.blake2b("\n".join(lines).encode(), digest_size=16).hexdigest()
