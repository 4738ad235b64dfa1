"""Which images and patients an encoder learned from, so that a run can say which of its test
images it has seen. Imports no torch."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.errors import CheckpointError, DataError
from bench.core.storage import write_atomically

if TYPE_CHECKING:
    import numpy as np

    from bench.cells.prepare import EncoderRef, TaskPlan
    from bench.contracts import PairData

UNKNOWN = "unknown"
"""What a result says where nothing tells what its encoder learned from."""
FILE = "seen.npz"
"""Beside the card: sorted 8-byte digests, `images` of file contents and `patients` of ids."""


@dataclass(frozen=True)
class SeenCount:
    """How many of a task's test images and test patients an encoder was pre-trained on."""

    images: int
    patients: int
    test_images: int
    test_patients: int

    def sentence(self, encoder: str) -> str:
        """Return what a run and a table say of it."""
        return (
            f"{encoder}: {self.images} of {self.test_images} test images and {self.patients} of "
            f"{self.test_patients} test patients were seen in pre-training."
        )


def write_seen(folder: Path, pairs: PairData) -> dict[str, Any] | None:
    """Write what the training pairs were into `folder` and return the card's entry; None, writing
    nothing, where the contents of the images are not known."""
    import numpy as np

    train = pairs.train.index
    if not pairs.digests:
        return None
    images = _image_digests(train["image_id"].astype(str), pairs.digests)
    patients = _patient_digests(train["patient_id"].astype(str), pairs.name)
    buffer = io.BytesIO()
    np.savez(buffer, images=images, patients=patients)
    content = buffer.getvalue()
    write_atomically(folder / FILE, content)
    return {
        "file": FILE,
        "sha256": hashlib.sha256(content).hexdigest(),
        "images": len(images),
        "patients": len(patients),
    }


def check_seen(folder: Path, entry: Mapping[str, Any] | None) -> Path | None:
    """Return the file of a card's entry; None for a card without one. Raise CheckpointError where
    the file is missing or is another."""
    if not entry:
        return None
    if not isinstance(entry, dict) or not {"file", "sha256"} <= set(entry):
        raise CheckpointError(
            f"{folder / 'card.json'} is damaged: 'seen' names no file and sha256.",
            "Train the checkpoint again.",
        )
    path = folder / Path(str(entry["file"])).name
    if not path.is_file():
        raise CheckpointError(
            f"{path} is missing: it says which images the encoder has seen.",
            "Keep all files of a checkpoint together, or train it again.",
        )
    if hashlib.sha256(path.read_bytes()).hexdigest() != entry["sha256"]:
        raise CheckpointError(
            f"{path} is not the file that its card.json names.", "Train the checkpoint again."
        )
    return path


def count_seen(
    path: Path, image_digests: Mapping[str, str], patients: Iterable[str], dataset: str
) -> SeenCount:
    """Count the test images (id -> digest of the content, from any dataset) and the test patients
    (of the dataset of this name: ids of another are unrelated) that stand in a file of
    `write_seen`."""
    import numpy as np

    with np.load(path, allow_pickle=False) as file:
        seen_images = file["images"]
        seen_patients = file["patients"]
    test_images = np.array([_number(digest) for digest in image_digests.values()], np.uint64)
    test_patients = _patient_digests(patients, dataset)
    return SeenCount(
        images=int(np.isin(test_images, seen_images).sum()),
        patients=int(np.isin(test_patients, seen_patients).sum()),
        test_images=len(test_images),
        test_patients=len(test_patients),
    )


def seen_in(plan: TaskPlan, encoder: EncoderRef) -> SeenCount | None:
    """Return how much of a task's test set an encoder has seen; None where nobody knows."""
    if encoder.seen is None and not encoder.untrained:
        return None
    test = plan.index[plan.index["split"] == "test"]
    digests = plan.prepared.digests()
    images = {image: digests[image] for image in test["image_id"].astype(str)}
    patients = set(test["patient_id"].astype(str))
    if encoder.seen is None:
        return SeenCount(0, 0, len(images), len(patients))
    return count_seen(encoder.seen, images, patients, plan.dataset.name)


def check_unseen(plan: TaskPlan, name: str, encoder: EncoderRef, *, allowed: bool) -> str:
    """Return a sentence where an encoder was pre-trained on test images or patients of a task, ""
    where not; raise DataError with it unless that is `allowed`."""
    count = seen_in(plan, encoder)
    if count is None or not (count.images or count.patients):
        return ""
    sentence = f"{plan.task.name}: " + count.sentence(f"encoder '{name}'")
    if not allowed:
        raise DataError(
            sentence,
            "Its result would be too good. Choose another encoder or task, or run with "
            "--allow-seen: the table then says it.",
        )
    return sentence


def _image_digests(images: Iterable[str], digests: Mapping[str, str]) -> np.ndarray:
    import numpy as np

    return np.unique(np.array([_number(digests[image]) for image in images], np.uint64))


def _number(digest: str) -> int:
    """Return the first 8 bytes of a digest in hexadecimal digits."""
    return int(digest[:16], 16)


def _patient_digests(patients: Iterable[str], dataset: str) -> np.ndarray:
    import numpy as np

    hashes = [
        hashlib.blake2b(f"{dataset}\0{patient}".encode(), digest_size=8).hexdigest()
        for patient in set(patients)
    ]
    return np.unique(np.array([_number(digest) for digest in hashes], np.uint64))
