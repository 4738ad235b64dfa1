"""The lists of a demo whose original has no split of its own, where more of its patients test than
the harness would draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.data.split_lists import FOLDERS
from bench.data.splits import SPLITS, default_split
from tasks.demo.members import Demo
from tasks.demo.writers import manifest


class Member(NamedTuple):
    """One image: its id, its patient, the number of the patient's first study, and the label that a
    split is stratified on."""

    image: str
    patient: str
    first: int
    label: int


def write_lists(out: Path, demo: Demo, written: Sequence[Mapping[str, Any]]) -> None:
    """Write `splits/train.txt`, `val.txt` and `test.txt` where a demo of so many studies has more
    test patients than the harness would draw; elsewhere it draws them as from the original. The
    `member` of each study is its image."""
    studies = len(written)
    if not demo.has_more_test(studies):
        return
    splits = list_splits(demo, [Member(*study["member"]) for study in written], studies)
    for split in SPLITS:
        lines = [f"{image}\n" for image, name in splits.items() if name == split]
        manifest.write_bytes(out / FOLDERS[0] / f"{split}.txt", "".join(lines).encode())


def list_splits(demo: Demo, members: Sequence[Member], studies: int) -> dict[str, str]:
    """Return image -> split: the patients that a demo has beyond the original's test share test,
    all others are split as the harness splits the original."""
    import pandas as pd

    index = pd.DataFrame(
        {
            "image_id": [member.image for member in members],
            "patient_id": [member.patient for member in members],
            "label:": [member.label for member in members],
            "split": "",
        }
    )
    more = [demo.is_more_test(member.first, studies) for member in members]
    index.loc[more, "split"] = "test"
    others = default_split(index[index["split"] == ""])
    index.loc[others.index, "split"] = others["split"]
    return {
        member.image: demo.split_of(member.first, studies, str(split))
        for member, split in zip(members, index["split"], strict=True)
    }
