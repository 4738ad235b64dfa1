"""What rendered studies have, from the truth that lies beside them. Light to import."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.contracts import Annotation, Source, Stored
from bench.core.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from bench.text.attributes import Findings

_SIDES = {"both": "bilateral"}
"""Sides of the truth whose word in reports is another."""


class StudyFindings(Annotation["np.ndarray"]):
    """The findings of the study of every image, with side, place and severity: objects [n], None
    where they are not known, as in all data that is not rendered."""

    name = "true findings"

    def prepare(self, source: Source) -> StoredFindings:
        """Read the truth of a demo; nothing for other data.

        Raise DataError for a demo without it, or with a line that is damaged.
        """
        from bench.data.roots import is_demo
        from bench.data.text import read_text
        from tasks.demo.writers.manifest import TRUTH

        if not is_demo(source.root):
            return StoredFindings({})
        path = source.root / TRUTH
        if not path.is_file():
            raise DataError(
                f"{path} does not exist, by which rendered data is scored.",
                "Render the demo again with --force.",
            )
        findings = {}
        for number, line in enumerate(read_text(path).splitlines(), 1):
            try:
                image, study = _study(line)
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(
                    f"{path}, line {number}: no truth of an image "
                    f"({type(error).__name__}: {error}).",
                    "Render the demo again with --force.",
                ) from error
            findings[image] = study
        return StoredFindings(findings)


def _study(line: str) -> tuple[str, Findings]:
    """Return image and findings of one line of the truth."""
    import json

    from bench.text.clauses import Said, places_in
    from tasks.demo.reports.labels import MEANS

    record = json.loads(line)
    study: dict[str, Said] = {}
    for finding in record["findings"]:
        if finding["name"] not in MEANS:
            continue  # a device
        label = MEANS[finding["name"]][0]
        side = _SIDES.get(finding["side"], finding["side"])
        said = Said(frozenset((finding["severity"],)), places_in(f"{side} {finding['location']}"))
        study[label] = study.get(label, Said()) | said
    return str(record["image_id"]), study


@dataclass(frozen=True)
class StoredFindings(Stored["np.ndarray"]):
    """The findings of images by their id."""

    findings: Mapping[str, Findings]

    def content(self, index: pd.DataFrame) -> tuple[Any, ...]:
        """Return what is known of the images of the index."""
        images = sorted(set(index["image_id"].astype(str)) & set(self.findings))
        return tuple((image, self._words(image)) for image in images)

    def _words(self, image: str) -> list[tuple[str, list[str]]]:
        """Return the findings of an image with what is said of each, in alphabetical order."""
        findings = sorted(self.findings[image].items())
        return [(label, sorted(said.adjectives | said.sides)) for label, said in findings]

    def of(self, rows: pd.DataFrame) -> np.ndarray:
        """Return the findings of some rows."""
        import numpy as np

        studies = np.full(len(rows), None, object)
        for row, image in enumerate(rows["image_id"].astype(str)):
            studies[row] = self.findings.get(image)
        return studies
