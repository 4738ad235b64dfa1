"""What the 14 observations are called, and the words that negate them or put them in doubt.

Written for this project from radiology usage; the classes and their precedence are CheXpert's
(Irvin et al. 2019).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bench.text.words import read_words

_FILE = "diseases.toml"


def _forms() -> dict[str, dict[str, Any]]:
    """Return what stands in the list of each observation, its parts put in."""
    lists = read_words(_FILE)
    parts = lists.pop("parts")
    return {name: _whole(entries, parts) for name, entries in lists.items()}


def _whole(entries: Mapping[str, Any], parts: Mapping[str, str]) -> dict[str, Any]:
    def put_in(form: str) -> str:
        for name, part in parts.items():
            form = form.replace(f"{{{name}}}", part)
        return form

    return {
        key: put_in(value) if isinstance(value, str) else tuple(map(put_in, value))
        for key, value in entries.items()
    }


_FORMS = _forms()
MENTIONS: Mapping[str, tuple[str, ...]] = {name: form["forms"] for name, form in _FORMS.items()}
NORMAL: Mapping[str, str] = {n: form["normal"] for n, form in _FORMS.items() if "normal" in form}
"""Statements that an observation is absent without naming it."""
BORDERLINE: Mapping[str, str] = {
    name: form["borderline"] for name, form in _FORMS.items() if "borderline" in form
}
"""Statements between the two."""

NEGATIONS = (
    r"no|not|without|denies|negative for|free of|absence of|^absent|lack of|clear "
    r"of|never|nor|neither|rather than|"
    r"(?:interval )?(?:removal|clearing|clearance|disappearance) of(?: the)?|(?:interval "
    r")?resol(?:ution|ved|ving)(?: of)?|"
    r"(?:have|has|been) (?:cleared|resolved)|ruled? out for"
)
PSEUDO_NEGATIONS = (
    r"(?:no|not|without) (?:\w+ )?(?:interval |significant(?:ly)? |substantial(?:ly)? "
    r"|appreciabl[ey] |relevant |definite |gross )*"
    r"(?:changed?|increased?|decreased?|improved|improvement|worsening|different)(?: "
    r"(?:in|of|from))?"
    r"|not (?:only|certain|definitely|without|negative|free)|no (?:doubt|prior|previous|comparison)"
    r"|not (?:all )?included|(?:cannot|can not|not) (?:be )?exclude[ds]?"
    r"|(?:no|not|without|incomplete(?:ly)?|partial(?:ly)?|near(?:ly)?|almost|lack of|failure of) "
    r"(?:(?:interval|complete(?:ly)?|full|fully|further|significant|definite|yet|entirely|"
    r"evidence of|a|the) )*"
    r"(?:resol(?:ution|ved|ving)|clear(?:ance|ing|ed)|removal|absence|lack)(?: of)?"
)
"""Negations of something else, and negations of a negation."""
NEGATED_AFTER = (
    r"(?:(?:is|are|was|were|has|have|been|be|can be) )*(?:not|no longer) (?:\w+ "
    r")?(?:seen|identified|"
    r"visuali[sz]ed|evident|noted|present|"
    r"appreciated|demonstrated|visible|detected|apparent|suspected)(?! (?:on|in|at) (?:the "
    r"|any )?(?:prior|previous|earlier))"
    r"|(?:(?:is|are|was|were|has|have|been|now|since|interval|completely) "
    r")+(?:absent|resolved|cleared|gone|removed|disappeared)|ruled out"
    r"|(?:has|have) been (?:removed|withdrawn)|(?:seen previously )?(?:is|are) no longer"
)
VALUE_ABSENT = (
    r"(?:(?:and|or|nor) (?:\w+ ){1,3}|\w+ )?(?:none|nil)\b"
    r"(?! (?:on|in|at) (?:the )?(?:left|right)\b.*\b(?:left|right)\b)"
    r"|(?:(?:and|or|nor) (?:\w+ ){1,3})?(?:absent\b|(?:no|negative|denied|not applicable)$)"
    r"|no (?:evidence|signs?|indication)(?: of)?$"
    r"|(?:normal|unremarkable|(?:completely |fully )?(?:resolved|cleared|excluded)|n ?a)$"
)
"""What a list says of a finding that is not there: "pneumothorax: none"."""
VALUE_DOUBTED = (
    r"(?:possibl[ey]|probabl[ey]|questionable|suspected|uncertain|equivocal|indeterminate|"
    r"borderline)$"
    r"|(?:is |are )?(?:thought |felt )?(?:to be )?(?:unlikely|less likely|doubtful)\b"
)
DOUBTS = (
    r"possibl[ey]|possibility of|probabl[ey]|may|might|could|suspect(?:ed)?|suspicious "
    r"for|suspicion (?:of|for)|"
    r"concern(?:ing)? for|"
    r"worrisome for|question(?:able|ed)?(?: of)?|(?:cannot|can not|not|difficult to|unable "
    r"to) (?:\w+ly )?exclude|"
    r"versus|vs|equivocal|suggest(?:s|ed|ive|ing)?(?: of)?|differential|borderline|evaluate "
    r"for|assess for|"
    r"rule out|r ?o|(?:eval|evaluation|assessment) for|exclude|query|not excluded|consider|perhaps|"
    r"presumed|unlikely"
)
SOFT_DOUBTS = r"(?:to )?suggest(?:s|ed|ive|ing)?(?: of)?"
"""Doubts that a negation before them takes along: no opacity to suggest pneumonia."""
NOT_EXCLUDED = (
    r"(?:cannot|can't|couldn't|not|difficult to) (?:be )?(?:\w+ly )?(?:excluded?|ruled? out)"
)
"""Behind a mention, also with words between."""
DOUBTED_AFTER = (
    r"(?:(?:is|are|cannot|can|could|not|be|entirely|completely|would|remains?) )*"
    rf"{NOT_EXCLUDED}|(?:is|are|remains?) (?:possible|suspected|questioned|a "
    r"possibility|of concern)|versus|vs"
)
ENDS = (
    r"but|however|only|yet|although|though|except|apart from|aside from|other "
    r"than|which|while|whereas|there (?:is|are|has|have|was)|"
    r"and (?:the|there|heart|lungs?)|otherwise|with "
    r"(?:a|an|the|mild|moderate|small|large|persistent|stable|unchanged|some)|"
    r"heart (?:is|size)|secondary to"
)
"""Where the reach of a negation or doubt ends."""
OWN_STATUS = (
    r"(?:is |are |has |have |remains? "
    r")?(?:unchanged|stable|persists?|persistent|remains?|increased|"
    r"decreased|worsened|improved|smaller|larger)\b"
)
"""What is said of a mention that is there, also where a negation stands before the one before
it."""
SIZES = (
    r"(?:tiny|trace|small|mild|moderate|minimal|residual|persistent|stable|unchanged|"
    r"probable|possible)"
)
"""Words that begin a statement of its own behind a negated one, where no "or" binds the two."""

MENTION_PATTERNS = {
    name: re.compile("|".join(rf"\b(?:{each})\b" for each in forms))
    for name, forms in MENTIONS.items()
}
NORMAL_PATTERNS = {name: re.compile(rf"\b(?:{form})\b") for name, form in NORMAL.items()}
BORDERLINE_PATTERNS = {name: re.compile(rf"\b(?:{form})\b") for name, form in BORDERLINE.items()}
