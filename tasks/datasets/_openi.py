"""The XML reports of Open-I (Indiana University chest X-rays)."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from xml.etree import ElementTree

from bench.core.errors import DataError
from bench.data.text import read_content


@dataclass(frozen=True)
class OpenIReport:
    """One report: sections as written ("" where missing), the major MeSH terms, and the ids of its
    images."""

    name: str
    findings: str
    impression: str
    mesh: tuple[str, ...]
    images: tuple[str, ...]

    @property
    def columns(self) -> dict[str, str]:
        """Return what a dataset's index takes from it, text as written."""
        texts = {"findings": self.findings, "impression": self.impression}
        return {
            "study_id": self.name,
            "patient_id": self.name,
            **texts,
            "mesh": "; ".join(self.mesh),
        }


def read_report(path: Path) -> OpenIReport:
    """Return the report in an XML file; raise DataError naming it where it does not parse."""
    return parse_report(io.BytesIO(read_content(path, "report")), str(path))


def parse_report(stream: IO[bytes], path: str) -> OpenIReport:
    """Return the report read from `stream`; `path` is named in errors."""
    try:
        tree = ElementTree.parse(stream).getroot()
    except (
        ElementTree.ParseError,
        ValueError,
        LookupError,
    ) as error:  # the last two: an encoding that is not known
        raise DataError(f"report {path} is not XML: {error}.", "Download it again.") from error
    name = tree.find("uId")
    if name is None or not name.get("id"):
        raise DataError(f"report {path} has no uId.", "Is this a report of Open-I?")
    texts = {
        str(section.get("Label")).lower(): (section.text or "").strip()
        for section in tree.iter("AbstractText")
    }
    return OpenIReport(
        name=str(name.get("id")),
        findings=texts.get("findings", ""),
        impression=texts.get("impression", ""),
        mesh=tuple((term.text or "").strip() for term in tree.iter("major")),
        images=tuple(str(image.get("id")) for image in tree.iter("parentImage")),
    )
