"""The labeler's classes, negation and doubt, sentence by sentence."""

from __future__ import annotations

import pytest

from bench.text.observations import NEGATIVE, OBSERVATIONS, POSITIVE, UNCERTAIN, UNMENTIONED
from bench.text.rules import label_reports


def status(text: str, name: str) -> int:
    return int(label_reports([text])[0, OBSERVATIONS.index(name)])


@pytest.mark.parametrize(
    ("text", "name", "wanted"),
    [
        ("There is a small left pleural effusion.", "Pleural Effusion", POSITIVE),
        ("No pleural effusion or pneumothorax.", "Pleural Effusion", NEGATIVE),
        ("No pleural effusion or pneumothorax.", "Pneumothorax", NEGATIVE),
        ("No focal consolidation, pleural effusion, or pneumothorax.", "Pneumothorax", NEGATIVE),
        ("No pneumothorax but there is a small effusion.", "Pleural Effusion", POSITIVE),
        ("Pneumothorax is not seen.", "Pneumothorax", NEGATIVE),
        ("The pneumothorax has resolved.", "Pneumothorax", NEGATIVE),
        ("Interval resolution of the pleural effusion.", "Pleural Effusion", NEGATIVE),
        ("A small effusion cannot be excluded.", "Pleural Effusion", UNCERTAIN),
        ("Cannot exclude pneumonia.", "Pneumonia", UNCERTAIN),
        ("Possible trace right pleural effusion.", "Pleural Effusion", UNCERTAIN),
        ("Opacity in the left lower lobe may represent early pneumonia.", "Lung Opacity", POSITIVE),
        ("Opacity in the left lower lobe may represent early pneumonia.", "Pneumonia", UNCERTAIN),
        ("Left basal atelectasis not seen on the prior radiograph.", "Atelectasis", POSITIVE),
        ("No opacity to suggest pneumonia.", "Pneumonia", NEGATIVE),
        ("Malignancy cannot be confidently excluded.", "Lung Lesion", UNCERTAIN),
        ("Interval removal of the right chest tube.", "Support Devices", NEGATIVE),
        ("No significant change in the small left effusion.", "Pleural Effusion", POSITIVE),
        ("Small pericardial effusion.", "Pleural Effusion", UNMENTIONED),
        ("The heart is mildly enlarged.", "Cardiomegaly", POSITIVE),
        ("Heart size is within normal limits.", "Cardiomegaly", NEGATIVE),
        ("The heart is not enlarged.", "Cardiomegaly", NEGATIVE),
        ("The heart is borderline enlarged.", "Cardiomegaly", UNCERTAIN),
        ("The mediastinal contours are unremarkable.", "Enlarged Cardiomediastinum", NEGATIVE),
        ("Widened superior mediastinum.", "Enlarged Cardiomediastinum", POSITIVE),
        ("Subsegmental atelectasis at the right base.", "Atelectasis", POSITIVE),
        ("A 9 mm nodule projects over the left upper lobe.", "Lung Lesion", POSITIVE),
        ("Fracture of the lateral left sixth rib is noted.", "Fracture", POSITIVE),
        ("A right chest tube is in place.", "Support Devices", POSITIVE),
        ("Biapical pleural thickening.", "Pleural Other", POSITIVE),
        ("Mild interstitial pulmonary edema.", "Edema", POSITIVE),
    ],
)
def test_sentences(text: str, name: str, wanted: int) -> None:
    assert status(text, name) == wanted


def test_no_finding_is_what_is_left() -> None:
    assert status("The lungs are clear. A pacemaker is in place.", "No Finding") == POSITIVE
    assert status("Possible pneumonia.", "No Finding") == UNMENTIONED
    assert status("", "No Finding") == POSITIVE


def test_positive_wins_over_uncertain_over_negative() -> None:
    assert status("No effusion. Possible effusion.", "Pleural Effusion") == UNCERTAIN
    assert status("Possible effusion. Large effusion. No effusion.", "Pleural Effusion") == POSITIVE


def test_rules_agree_with_the_demo_labels() -> None:
    from tasks.demo.reports.phrases import ABSENT, ABSENT_LABEL, PRESENT

    fill = {"side": "left", "lobe": "upper", "where": "apical", "size": "small", "degree": "mild",
    "dense": "dense", "mm": 9,
            "cm": 2, "rib": "sixth", "portion": "lateral", "tip": 4, "line": "PICC",
            "depth": "mid SVC"}  # fmt: skip
    wrong = []
    for phrases in PRESENT.values():
        for text, labels in phrases:
            written = text.format(**fill)
            wrong += [
                (written, name) for name, value in labels.items() if status(written, name) != value
            ]
    for name, texts in ABSENT.items():
        wrong += [(text, name) for text in texts if status(text, ABSENT_LABEL[name]) != NEGATIVE]
    assert len(wrong) <= 1, wrong
