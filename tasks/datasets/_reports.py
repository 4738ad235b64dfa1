"""Split a radiology report into sections and clean its text without breaking its sentences."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

_HEADER = re.compile(r"(?:^|\n) *([A-Z][A-Z ()/,-]*):(?=\s)")
_SECTIONS = (
    "findings",
    "impression",
    "comparison",
    "indication",
    "technique",
    "examination",
    "recommendation",
    "history",
)
_ALIASES = {
    "conclusion": "impression",
    "conclusions": "impression",
    "opinion": "impression",
    "summary": "impression",
    "diagnosis": "impression",
    "report": "findings",
    "chest": "findings",
    "ap": "findings",
    "pa and lateral": "findings",
    "findings and impression": "findings",
    "impression and findings": "impression",
    "comparisons": "comparison",
    "comparison exam": "comparison",
    "comparison studies": "comparison",
    "exam": "examination",
    "reason for exam": "indication",
    "reason for examination": "indication",
    "clinical information": "indication",
    "clinical history": "indication",
}
_DESCRIBES_VIEW = re.compile(r"\b(views?|radiographs?|chest|lateral|portable)\b")


def parse_sections(text: str) -> dict[str, str]:
    """Return the sections of a MIMIC-CXR report by lower-case name; the last occurrence of a
    section wins.

    A header is a run of capitals, blanks and ()/,- at the start of a line, followed by a colon.
    Spelling variants fall to the nearest known name; a header that describes the view ("PA AND
    LATERAL VIEWS OF THE CHEST") counts as findings. Where there is neither findings nor impression,
    the text after the first blank line of the last section is `last_paragraph`. Follows the
    description of MIT-LCP's section parser (PROTOCOLS.md 1.4) without its rules for 30 single
    reports: where `mimic_cxr_sectioned.csv` is at hand, that file is used instead.
    """
    headers = list(_HEADER.finditer(text))
    ends = [*(header.start() for header in headers[1:]), len(text)][: len(headers)]
    sections = {"preamble": text[: headers[0].start()] if headers else text}
    for header, end in zip(headers, ends, strict=True):
        body = text[header.end() : end].strip()
        name = section_name(header[1])
        if body or name not in ("findings", "impression"):
            sections[name] = body
    if not sections.get("findings") and not sections.get("impression"):
        last = list(sections.values())[-1]
        sections["last_paragraph"] = (
            re.split(r"\n\s*\n", last.strip(), maxsplit=1)[-1].strip()
            if "\n" in last.strip()
            else ""
        )
    return sections


def section_name(header: str) -> str:
    """Return the standard name of a section header."""
    name = " ".join(header.lower().split())
    if name in _SECTIONS or name in _ALIASES:
        return _ALIASES.get(name, name)
    near = difflib.get_close_matches(name, _SECTIONS, n=1, cutoff=0.8)
    if near:
        return near[0]
    return "findings" if _DESCRIBES_VIEW.search(name) else name


def clean_text(text: str) -> str:
    """Return report text on one line, its sentences kept whole.

    White space of every kind becomes one blank; de-identification marks (`___`) and list numbers
    ("1. ") go; the last sentence gets its full stop, so that sections joined later do not fuse.
    Decimals ("1.5 cm") and case are left alone.
    """
    text = re.sub(r"[_\uFFFD]{2,}|\uFFFD", " ", text)
    text = " ".join(text.split())
    text = re.sub(r"(?:^|(?<=[.:;!?])\s)\(?\d{1,2}[.)]\s+(?=[A-Z])", " ", text)
    text = re.sub(r"\s+([.,;:])", r"\1", " ".join(text.split())).strip(" ,;:-")
    return text if not text or text[-1] in ".!?" else text + "."


def report_columns(impression: Iterable[str], findings: Iterable[str]) -> dict[str, list[str]]:
    """Return the columns `impression`, `findings` and `report` of an index from texts as written,
    one of each per row.

    All are cleaned; `report` is impression + findings, the order in which MGCA and BenchX read
    them.
    """
    parts = {
        "impression": [clean_text(text) for text in impression],
        "findings": [clean_text(text) for text in findings],
    }
    joined = [" ".join(part for part in pair if part) for pair in zip(*parts.values(), strict=True)]
    return {**parts, "report": joined}
