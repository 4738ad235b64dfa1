"""Reports as they are written, and what they name: lists, lines, marks, doubt, negation and where
it ends."""

from __future__ import annotations

import pytest

from tasks.datasets._reports import clean_text
from tasks.report_generation.cleaning import clean
from tasks.report_generation.labeler import OBSERVATIONS, POSITIVE, UNCERTAIN
from tasks.report_generation.labeler.rules import label_reports

SHORT = {
    "CM": "Cardiomegaly",
    "ECM": "Enlarged Cardiomediastinum",
    "OP": "Lung Opacity",
    "LL": "Lung Lesion",
    "ED": "Edema",
    "CO": "Consolidation",
    "PN": "Pneumonia",
    "AT": "Atelectasis",
    "PTX": "Pneumothorax",
    "EF": "Pleural Effusion",
    "PO": "Pleural Other",
    "FX": "Fracture",
    "SD": "Support Devices",
}

CASES = {
    "lists of finding and value": [
        ("Pneumothorax: None. Pleural effusion: None. Heart size: Normal.", ""),
        ("Pneumothorax: none\nPleural effusion: small, left\nConsolidation: none", "EF"),
        ("Pneumothorax: No. Pleural effusion: Yes, moderate.", "EF"),
        ("Pneumothorax: no, effusion: yes, edema: no", "EF"),
        ("Pneumothorax - absent. Pleural effusion - present.", "EF"),
        ("Pneumothorax – absent, effusion – present, edema – absent", "EF"),
        ("Pleural effusion: Present, small. Pneumothorax: Absent.", "EF"),
        ("Consolidation: negative. Edema: negative. Fracture: negative.", ""),
        ("Pleural effusion or pneumothorax: None.", ""),
        ("Effusion/pneumothorax: none seen.", ""),
        ("Effusion: none identified. Atelectasis: mild bibasilar.", "AT"),
        ("Effusion: nil. Pneumothorax: nil. Cardiomegaly: mild.", "CM"),
        ("Heart size: Enlarged. Mediastinum: Normal.", "CM"),
        ("Cardiac silhouette: Unremarkable. Edema: Not seen.", ""),
        ("Cardiomegaly: Absent. Support devices: None.", ""),
        ("Lines and tubes: None. Bones: No fracture.", ""),
        ("Edema: Possible. Pneumothorax: None.", "?ED"),
        ("Pneumonia: Cannot be excluded. Effusion: None.", "?PN"),
        ("Pneumothorax? No. Effusion? Yes.", "EF"),
        ("Pneumothorax (none). Effusion (small).", "EF"),
        ("PNEUMOTHORAX: NONE. PLEURAL EFFUSION: NONE. HEART SIZE: NORMAL.", ""),
        ("Lungs: Clear. Pleura: No effusion or pneumothorax. Heart: Normal.", ""),
        ("Effusion: No significant effusion. Pneumothorax: No pneumothorax.", ""),
        ("Pneumothorax: none; effusion: large; edema: none", "EF"),
        ("Consolidation: not present. Effusion: not visualized. Fracture: not identified.", ""),
        ("Pneumothorax: None Effusion: Small Consolidation: None", "EF"),
        ("Pneumothorax: No Pleural effusion: Yes Edema: No", "EF"),
        ("Heart size: Borderline. Edema: None.", "?CM"),
        ("Pneumothorax: Resolved. Effusion: Unchanged.", "EF"),
        ("Effusion, pneumothorax: none. Fracture: none.", ""),
        ("Effusion: Absent on both sides. Pneumothorax: None on either side.", ""),
        ("Effusion: None on the left, small on the right.", "EF"),
        ("Edema: No evidence of. Effusion: Not applicable. Pneumonia: Excluded.", ""),
        ("Pneumothorax: Cannot exclude. Effusion: Cannot rule out.", "?PTX ?EF"),
        ("Pneumothorax: Previously seen, now resolved. Effusion: Small apical, unchanged.", "EF"),
        ("Pneumothorax: n/a. Effusion: stable.", "EF"),
        ("Pneumothorax: None | Effusion: Large | Edema: None", "EF"),
    ],
    "lines": [
        ("No pneumothorax\nSmall left pleural effusion\nMild pulmonary edema", "EF ED"),
        ("no pneumothorax\nsmall left pleural effusion\nmild pulmonary edema", "EF ED"),
        ("NO PNEUMOTHORAX\nSMALL LEFT PLEURAL EFFUSION", "EF"),
        ("No evidence of\npneumothorax or pleural\neffusion.", ""),
        ("No evidence of\nPneumothorax.", ""),
        ("No focal consolidation, pneumothorax, or large left\nPleural effusion.", ""),
        ("1. No pneumothorax\n2. Small left pleural effusion\n3. Stable cardiomegaly", "EF CM"),
        ("- No effusion\n- Right apical pneumothorax", "PTX"),
        ("* No effusion\n* Right apical pneumothorax", "PTX"),
        ("No effusion\n\nright apical pneumothorax", "PTX"),
        ("No effusion\r\nRight apical pneumothorax\r\n", "PTX"),
        ("No effusion\u2028Right apical pneumothorax", "PTX"),
        (("The heart is normal in size. There is no focal consolidation, effusion, or\n "
            "pneumothorax. The bones are intact."), ""),
        (
            "There is no evidence of focal consolidation, pleural effusion, or acute\n"
            " Pneumothorax in this patient with a long history of smoking and many prior\n "
                "studies.",
            "",
        ),
        ("No change\nNo pleural effusion\nNo pneumothorax", ""),
        ("Heart size: Normal\nPneumothorax: None\nEffusion: Small", "EF"),
        ("No pneumothorax\n  Small effusion", "EF"),
    ],
    "marks": [
        ("No pleural effusion;small right pneumothorax.", "PTX"),
        ("No pleural effusion; small right pneumothorax.", "PTX"),
        ("No effusion;no pneumothorax;mild edema", "ED"),
        ("No effusion, no pneumothorax, mild edema.", "ED"),
        ("No effusion.Small pneumothorax.", "PTX"),
        ("No pneumothorax, small left effusion.", "EF"),
        ("No effusion - small apical pneumothorax.", "PTX"),
        ("Small effusion, no pneumothorax.", "EF"),
        ("• No effusion • Small pneumothorax", "PTX"),
        ("1. No effusion 2. Small pneumothorax", "PTX"),
        ("1) No effusion 2) Right pneumothorax", "PTX"),
    ],
    "requests and doubt": [
        ("No effusion. Evaluate, r/o pneumonia.", "?PN"),
        ("R/O pneumothorax.", "?PTX"),
        ("Rule out pneumonia.", "?PN"),
        ("Evaluate for effusion or edema.", "?EF ?ED"),
        ("Please evaluate for pneumothorax.", "?PTX"),
        ("Atelectasis versus pneumonia.", "?AT ?PN"),
        ("Atelectasis vs. pneumonia at the left base.", "?AT ?PN"),
        ("Pneumonia cannot be excluded.", "?PN"),
        ("A small apical pneumothorax on the right cannot be entirely excluded.", "?PTX"),
        ("Pneumonia in the left lower lobe is not excluded.", "?PN"),
        ("Fracture cannot be ruled out.", "?FX"),
        ("Pneumonia could not be excluded.", "?PN"),
        ("Findings do not exclude pneumonia.", "?PN"),
        ("Questionable small effusion.", "?EF"),
        ("Pneumonia has been ruled out.", ""),
        ("Possible atelectasis, no effusion.", "?AT"),
        ("Can't exclude pneumonia.", "?PN"),
        ("Cannot rule out fracture.", "?FX"),
        ("Pneumonia is unlikely.", "?PN"),
        ("? pneumonia", "?PN"),
        ("Not excluded: pneumonia.", "?PN"),
        ("Effusion or edema cannot be excluded.", "?EF ?ED"),
        ("Small effusion, pneumonia cannot be excluded.", "EF ?PN"),
    ],
    "negation": [
        ("No evidence of consolidation, effusion or pneumothorax.", ""),
        ("No evidence of edema, pneumothorax, fracture, or pleural effusion.", ""),
        ("Negative for pneumothorax, effusion, and consolidation.", ""),
        ("Neither effusion nor pneumothorax is seen.", ""),
        ("Without pneumothorax or effusion.", ""),
        ("Lungs are free of consolidation or edema.", ""),
        ("Effusion and pneumothorax are not seen.", ""),
        ("Not without a small effusion.", "EF"),
        ("No resolution of the pneumothorax.", "PTX"),
        ("The pneumothorax has not resolved.", "PTX"),
        ("The effusion has not cleared.", "EF"),
        ("Incomplete resolution of the effusion.", "EF"),
        ("The effusion has resolved.", ""),
        ("Resolved pneumothorax.", ""),
        ("Interval resolution of effusion and edema.", ""),
        ("The effusion is completely resolved.", ""),
        ("The effusion is no longer seen.", ""),
        ("The pneumothorax is no longer present.", ""),
        ("Previously seen effusion no longer visualized.", ""),
        ("There is no longer a pneumothorax.", ""),
        ("Unchanged small effusion.", "EF"),
        ("Effusion is unchanged, no pneumothorax.", "EF"),
        ("No change in the moderate effusion.", "EF"),
        ("The effusion has not changed.", "EF"),
        ("No relevant change in cardiomegaly.", "CM"),
        ("Unchanged absence of pneumothorax.", ""),
        ("No new effusion.", ""),
        ("The effusion has since disappeared.", ""),
        ("Interval clearing of the edema.", ""),
        ("Incomplete clearing of the edema.", "ED"),
        ("Near complete resolution of the effusion.", "EF"),
        ("Not negative for pneumothorax.", "PTX"),
        ("No pneumothorax following removal of the chest tube.", ""),
        ("Without evidence of resolution of the effusion.", "EF"),
        ("The edema has not yet completely resolved.", "ED"),
        ("No effusion, nor is there pneumothorax.", ""),
    ],
    "where negation ends": [
        ("No pneumothorax but small effusion.", "EF"),
        ("No effusion, however there is edema.", "ED"),
        ("No effusion; however, mild edema persists.", "ED"),
        ("No pneumothorax, although a small effusion remains.", "EF"),
        ("No consolidation, only mild atelectasis.", "AT"),
        ("No acute process except for a small effusion.", "EF"),
        ("No effusion, but cardiomegaly, edema and atelectasis.", "CM ED AT"),
        ("Small effusion but no pneumothorax.", "EF"),
        ("Effusion without pneumothorax.", "EF"),
        ("There is cardiomegaly without edema or effusion.", "CM"),
        ("No pneumothorax. Small effusion. No edema.", "EF"),
        ("Interval resolution of pneumothorax, effusion unchanged.", "EF"),
        ("No pneumothorax, effusion has increased.", "EF"),
        ("No effusion, unchanged.", ""),
        ("No pneumothorax or effusion, unchanged.", ""),
        ("Aside from a small effusion, no pneumothorax.", "EF"),
        ("No consolidation, large effusion, or pneumothorax.", ""),
        ("No focal consolidation, small effusion or pneumothorax.", ""),
        ("No pneumothorax and there is a small effusion.", "EF"),
    ],
}  # fmt: skip
"""Per kind: reports, and what they name (`?`: with doubt); "" is no finding."""
FLAT = [(text, wanted) for cases in CASES.values() for text, wanted in cases]


def _named(text: str) -> set[str]:
    """Return what a report names, in the short names of the table."""
    labels = dict(zip(OBSERVATIONS, label_reports([text])[0].tolist(), strict=True))
    found = {
        ("?" if labels[name] == UNCERTAIN else "") + short
        for short, name in SHORT.items()
        if labels[name] in (POSITIVE, UNCERTAIN)
    }
    nothing = not {name.removeprefix("?") for name in found} - {"SD"}
    assert (labels["No Finding"] == POSITIVE) == nothing
    return found


@pytest.mark.parametrize(("text", "wanted"), FLAT)
def test_reports_as_written(text: str, wanted: str) -> None:
    assert _named(text) == set(wanted.split())


@pytest.mark.parametrize(("text", "wanted"), FLAT)
def test_reports_as_they_reach_the_metrics(text: str, wanted: str) -> None:
    """Through the index and the cleaning of the task, which leave words and full stops."""
    assert _named(clean(clean_text(text), "plain")) == set(wanted.split())
