"""Split a radiology report into sections and clean its text without breaking its sentences."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from bench.text.lines import close_lines

_HEADER = re.compile(r"(?:^|\n) *([A-Z][A-Z ()/,-]*):(?=\s)")
_SECTION_OF = {
    "clinical history": "history",
    "clinical indication": "indication",
    "clinical information": "history",
    "comparison": "comparison",
    "conclusion": "impression",
    "exam": "examination",
    "examination": "examination",
    "findings": "findings",
    "impression": "impression",
    "indication": "indication",
    "pfi": "history",
    "reason for exam": "indication",
    "reason for examination": "indication",
    "recommendation": "recommendations",
    "recommendation(s)": "recommendations",
    "recommendations": "recommendations",
    "reference exam": "comparison",
    "technique": "technique",
    "type of examination": "examination",
    "wet read": "wet read",
    "wetread": "wet read",
}
"""Headers that mean a section as a whole."""
_NAMED_ANYWHERE = ("impression", "findings", "history", "comparison", "addendum")
"""A header that holds one of these is that section; the first of them counts."""
_PUBLISHED_VIEW = re.compile(
    r"chest|portable|ribs|bone window|two views|(?:one|ap|pa|frontal|lateral) view"
    r"|(?:pa|ap) and lateral|lateral and (?:pa|ap)|pa and lat|frontal (?:and|upright|semi-upright)"
)
"""Names of views that the published code takes for headers of findings."""
_ALSO = {
    "diagnosis": "impression",
    "opinion": "impression",
    "report": "findings",
    "summary": "impression",
}
_VIEW = re.compile(r"\b(?:views?|radiographs?|films?|frontal|lateral|decubitus|ap|pa)\b")
_NO_VIEW = re.compile(r"^(?:indication|reason|technique|exam|procedure|study|type|clinical)")
"""Headers that speak of the order, though they may name a view."""
TEXT_SECTIONS = ("findings", "impression")
"""The sections that an index keeps."""
_MARKS = re.compile(r"[_\uFFFD]{2,}|\uFFFD")
_LIST_NUMBER = re.compile(r"(?:(?<=[.:;!?]) |^)\(?\d{1,2}[.)] (?=[A-Z])")
_MAY_BE_NUMBERED = re.compile(r"\d[.)] [A-Z]")
_BEFORE_SIGN = re.compile(r"\s+([.,;:])")


def parse_sections(text: str) -> dict[str, str]:
    """Return the sections of a MIMIC-CXR report by lower-case name; the last occurrence of a
    section wins.

    A header is a run of capitals, blanks and ()/,- at the start of a line, followed by a colon.
    One that the published code leaves unread gives a section only where it would be missing. Where
    there is neither findings nor impression, what follows the first line with a single blank in
    the last section leaves it and is `last_paragraph`. Follows MIT-LCP's section parser without
    its rules for 30 single reports: where `mimic_cxr_sectioned.csv` is at hand, that file is used
    instead. docs/protocols.md lists the differences.
    """
    headers = list(_HEADER.finditer(text))
    starts = [header.end() + 1 for header in headers]
    ends = [*(header.start() for header in headers[1:]), len(text)][: len(headers)]
    sections = {"preamble": text[: headers[0].start()] if headers else text}
    unread: dict[str, str] = {}
    last = "preamble"
    for header, start, end in zip(headers, starts, ends, strict=True):
        name = last = section_name(header[1])
        body = text[start:end]
        if body.strip() or name not in TEXT_SECTIONS:
            target = sections if _published_name(header[1]) else unread
            target[name] = body
    sections = unread | sections
    if not any(name in sections for name in TEXT_SECTIONS):
        sections |= _cut_last(last, sections.get(last, ""))
    return {name: body.strip() for name, body in sections.items()}


def _cut_last(name: str, body: str) -> dict[str, str]:
    """Return the last section, cut before its second paragraph, which is `last_paragraph`."""
    first, cut, rest = body.partition("\n \n")
    return {name: first, "last_paragraph": rest} if cut else {}


def has_unread_text(text: str) -> bool:
    """Say whether a report has words of which none stands in its findings or impression."""
    sections = parse_sections(text)
    return any(sections.values()) and not any(sections.get(name) for name in TEXT_SECTIONS)


def section_name(header: str) -> str:
    """Return the section that a header names, as MIT-LCP's section parser (MIMIC-CXR) does.

    What that leaves unread is the impression or findings under another word, or findings where it
    names a view; what is still unknown is its own name.
    """
    name = _plain(header)
    is_view = _VIEW.search(name) and not _NO_VIEW.search(name)
    return _published_name(header) or _ALSO.get(name) or ("findings" if is_view else name)


def _published_name(header: str) -> str:
    """Return the section under the published rules, misspellings included; "" for none."""
    name = _plain(header)
    if name in _SECTION_OF:
        return _SECTION_OF[name]
    for section in _NAMED_ANYWHERE:
        if section in name:
            return section
    if _PUBLISHED_VIEW.search(name):
        return "findings"
    near = difflib.get_close_matches(name, [*_SECTION_OF, *_NAMED_ANYWHERE], n=1, cutoff=0.8)
    return _SECTION_OF.get(near[0], near[0]) if near else ""


def _plain(header: str) -> str:
    """Return a header in lower case, its words by single blanks, none around a slash."""
    return re.sub(r" ?/ ?", "/", " ".join(header.lower().split()))


def clean_text(text: str) -> str:
    """Return report text on one line, its sentences kept whole.

    A line that ends a sentence without a full stop gets one (`_lines.close_lines`); white space of
    every kind becomes one blank; de-identification marks (`___`) and list numbers
    ("1. ") go; the last sentence gets its full stop, so that sections joined later do not fuse.
    Decimals ("1.5 cm") and case are left alone.
    """
    # half a million texts are cleaned at once, and most hold nothing to take out: see first
    if "_" in text or "\ufffd" in text:
        text = _MARKS.sub(" ", text)
    text = " ".join(close_lines(text).split())
    if _MAY_BE_NUMBERED.search(text):
        text = _LIST_NUMBER.sub(" ", text).strip()
    if " ." in text or " ," in text or " ;" in text or " :" in text:
        text = _BEFORE_SIGN.sub(r"\1", text)
    text = text.strip(" ,;:-")
    return text if not text or text[-1] in ".!?" else text + "."


def report_columns(impression: Iterable[str], findings: Iterable[str]) -> dict[str, list[str]]:
    """Return the columns `impression`, `findings` and `report` of an index from texts as written,
    one of each per row.

    All are cleaned; `report` is impression + findings, the order in which MGCA and BenchX read
    them.
    """
    sections = {
        "impression": [clean_text(text) for text in impression],
        "findings": [clean_text(text) for text in findings],
    }
    joined = [
        " ".join(section for section in pair if section)
        for pair in zip(*sections.values(), strict=True)
    ]
    return {**sections, "report": joined}
