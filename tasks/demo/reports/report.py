"""Write a study's report from its ground truth, in the form of MIMIC-CXR's files, and the CheXpert
labels of what it says."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tasks.demo.body.devices import tip_above_carina
from tasks.demo.body.findings import nodule_diameter
from tasks.demo.body.patient import Finding, Study
from tasks.demo.reports import phrases

ORDER = (
    "device",
    "edema",
    "consolidation",
    "atelectasis",
    "nodule",
    "effusion",
    "pneumothorax",
    "cardiomegaly",
    "fracture",
)
UNSPOKEN = ("ecg_leads", "buttons")
"""Objects that radiologists see and do not mention."""
ORDINALS = {4: "fourth", 5: "fifth", 6: "sixth", 7: "seventh", 8: "eighth", 9: "ninth"}


@dataclass(frozen=True)
class Report:
    """`text`: the file; `findings`, `impression`: the sections ("" where left out); `labels`:
    CheXpert label -> 1, 0 or -1."""

    text: str
    findings: str
    impression: str
    labels: Mapping[str, int]


class _Writer:
    """Collects sentences of one section and the labels they stand for."""

    def __init__(self, rng: np.random.Generator, labels: dict[str, int]) -> None:
        self.rng = rng
        self.labels = labels
        self.sentences = list[str]()

    def pick(self, options: Sequence[str]) -> str:
        """Return one of some sentences at random."""
        return options[int(self.rng.integers(len(options)))]

    def say(self, text: str, labels: Mapping[str, int] | None = None) -> None:
        """Add a sentence; a positive statement outweighs an uncertain one, that a negative one."""
        words = " ".join(text.split())
        self.sentences.append(words[0].upper() + words[1:] + ".")
        for name, value in (labels or {}).items():
            stated = self.labels.get(name)
            self.labels[name] = (
                value if stated is None else max(stated, value, key=lambda v: (abs(v), v))
            )

    def text(self) -> str:
        """Return the sentences as one paragraph."""
        return " ".join(self.sentences)


def write_report(study: Study, rng: np.random.Generator) -> Report:
    """Return the report of a study. Labels follow the sentences that are in the text, as CheXpert's
    labeller does."""
    form = rng.choice(["both", "impression", "findings"], p=[0.76, 0.15, 0.09])
    labels: dict[str, int] = {}
    doubt = {id(finding): rng.random() < _doubt(finding) for finding in study.findings}
    findings = _Writer(rng, labels)
    impression = _Writer(rng, labels)
    if form != "impression":
        _findings_section(findings, study, doubt)
    if form != "findings":
        _impression_section(impression, study, doubt, brief=form == "both")
    disease = {name for name, value in labels.items() if value and name != "Support Devices"}
    if not disease:
        labels["No Finding"] = 1
    return Report(
        _layout(study, rng, findings.text(), impression), findings.text(), impression.text(), labels
    )


def _doubt(finding: Finding) -> float:
    return (
        {"hard": 0.35, "medium": 0.08, "easy": 0.0}[finding.difficulty]
        if finding.name != "device"
        else 0.0
    )


def _spoken(study: Study) -> list[Finding]:
    told = [finding for finding in study.findings if finding.kind not in UNSPOKEN]
    return sorted(told, key=lambda finding: ORDER.index(finding.name))


def _findings_section(writer: _Writer, study: Study, doubt: Mapping[int, bool]) -> None:
    told = _spoken(study)
    for finding in told:
        _statement(writer, finding, doubt[id(finding)])
    for name in study.gone:
        if name in phrases.NOUN and writer.rng.random() < 0.6:
            writer.say(writer.pick(phrases.RESOLVED).format(noun=phrases.NOUN[name]))
    lungs = ("edema", "consolidation", "atelectasis", "nodule", "pneumothorax")
    if not any(study.has(name) for name in lungs) and writer.rng.random() < 0.75:
        clear = phrases.OTHERWISE_CLEAR if study.has("effusion") else phrases.NORMAL_LUNGS
        writer.say(writer.pick(clear))
    _negatives(writer, study)
    if writer.rng.random() < 0.55:
        writer.say(writer.pick(phrases.NORMAL_MEDIASTINUM), {"Enlarged Cardiomediastinum": 0})
    if not study.has("fracture") and writer.rng.random() < 0.35:
        writer.say(writer.pick(phrases.NORMAL_BONES))


def _negatives(writer: _Writer, study: Study) -> None:
    """Say what is not there: mostly several in one sentence, some alone, some not at all."""
    absent = [name for name in phrases.ABSENT if not study.has(name)]
    if "consolidation" in absent and study.has("atelectasis"):
        absent.remove("consolidation")
    alone = [name for name in absent if name in ("cardiomegaly", "fracture")]
    together = [name for name in absent if name not in alone and writer.rng.random() < 0.85]
    if len(together) > 1 and writer.rng.random() < 0.75:
        nouns = [phrases.NOUN[name] for name in together]
        start = writer.pick(("there is no ", "no ", "no evidence of "))
        listed = ", ".join(nouns[:-1]) + ("," if len(nouns) > 2 else "") + " or " + nouns[-1]
        writer.say(start + listed, {phrases.ABSENT_LABEL[name]: 0 for name in together})
    else:
        alone += together
    for name in alone:
        if writer.rng.random() < (0.75 if name != "fracture" else 0.2):
            writer.say(writer.pick(phrases.ABSENT[name]), {phrases.ABSENT_LABEL[name]: 0})


def _statement(writer: _Writer, finding: Finding, doubtful: bool) -> None:
    text, labels = _phrase(writer, finding, doubtful)
    change = phrases.CHANGE.get(finding.change, ())
    if change and writer.rng.random() < (0.45 if finding.change == "same" else 0.85):
        text = f"{text}, {writer.pick(change)}"
    writer.say(text, labels)


def _phrase(writer: _Writer, finding: Finding, doubtful: bool) -> phrases.Phrase:
    kinds = phrases.UNCERTAIN if doubtful else phrases.PRESENT
    key = finding.kind if finding.kind in kinds else finding.name
    options = kinds[key]
    text, labels = options[int(writer.rng.integers(len(options)))]
    return _filled(text, finding), labels


def _filled(text: str, finding: Finding) -> str:
    mm = round(nodule_diameter(finding)) if finding.name == "nodule" else 0
    degree = {"small": "mild", "moderate": "moderate", "large": "severe"}[finding.severity]
    text = text.replace("{degree}ly displaced", "{displaced} displaced")
    line = {
        "jugular": "internal jugular central venous catheter",
        "subclavian": "subclavian line",
        "picc": "PICC",
    }
    return text.format(
        side=finding.side,
        lobe=finding.location,
        where=finding.location,
        zone="apex" if finding.location.startswith("apic") else "periphery",
        size=finding.severity,
        degree=degree,
        dense={"small": "faint", "moderate": "patchy", "large": "dense"}[finding.severity],
        displaced={"small": "minimally", "moderate": "mildly", "large": "moderately"}[
            finding.severity
        ],
        rib=ORDINALS.get(int(finding.location), finding.location)
        if finding.name == "fracture"
        else "",
        portion=finding.kind,
        mm=mm,
        cm=round(mm / 10, 1),
        tip=tip_above_carina(finding),
        line=line.get(finding.location, "central venous catheter"),
        depth=phrases.DEPTHS[min(3, int(finding.amount * 4))],
    )


def _impression_section(
    writer: _Writer, study: Study, doubt: Mapping[int, bool], brief: bool
) -> None:
    told = [f for f in _spoken(study) if f.name != "device" or not brief or f.change == "new"]
    for finding in told:
        _statement(writer, finding, doubt[id(finding)])
    if not any(finding.name != "device" for finding in told):
        writer.say(writer.pick(phrases.NORMAL_IMPRESSION[1 if told else 0 :]))
    elif not study.has("pneumothorax") and writer.rng.random() < 0.25:
        writer.say("no pneumothorax", {"Pneumothorax": 0})


def _layout(study: Study, rng: np.random.Generator, findings: str, impression: _Writer) -> str:
    """Return the text file: header, sections as MIMIC-CXR has them, wrapped lines with one leading
    blank."""
    blocks = [("EXAMINATION", _examination(study)), ("INDICATION", _indication(study, rng))]
    if rng.random() < 0.6:
        blocks.append(("TECHNIQUE", _technique(study)))
    blocks.append(("COMPARISON", _comparison(study, rng)))
    if findings:
        blocks.append(("FINDINGS", findings))
    if impression.sentences:
        blocks.append(("IMPRESSION", _numbered(impression.sentences, rng)))
    if study.has("pneumothorax") and rng.random() < 0.4:
        blocks.append(
            (
                "NOTIFICATION",
                (
                    "The findings were discussed with Dr. ___ by Dr. ___ on the telephone on ___ "
                    "at ___."
                ),
            )
        )
    return (
        " " * 33
        + "FINAL REPORT\n"
        + "\n\n".join(_block(name, text) for name, text in blocks)
        + "\n"
    )


def _numbered(sentences: list[str], rng: np.random.Generator) -> str:
    if len(sentences) < 2 or rng.random() < 0.5:
        return " ".join(sentences)
    return "\n".join(f"{number}. {sentence}" for number, sentence in enumerate(sentences, 1))


def _block(name: str, text: str) -> str:
    lines = [
        line
        for paragraph in text.split("\n")
        for line in textwrap.wrap(paragraph, 77, break_on_hyphens=False)
    ]
    if name in ("FINDINGS", "IMPRESSION"):
        return "\n".join([f" {name}: ", " ", *(f" {line}" for line in lines)])
    return "\n".join([f" {name}:  {lines[0]}", *(f" {line}" for line in lines[1:])])


def _examination(study: Study) -> str:
    if study.lateral:
        return "CHEST (PA AND LAT)"
    return "CHEST (PORTABLE AP)" if study.view == "AP" else "CHEST RADIOGRAPH PA"


def _technique(study: Study) -> str:
    if study.lateral:
        return "Chest PA and lateral"
    return (
        "Portable AP radiograph of the chest"
        if study.view == "AP"
        else "Single PA view of the chest"
    )


def _indication(study: Study, rng: np.random.Generator) -> str:
    person = "man" if study.patient.sex == "M" else "woman"
    reason = phrases.REASONS[int(rng.integers(len(phrases.REASONS)))]
    ask = (
        "// eval for acute process",
        "// eval for pneumonia",
        "// interval change",
        "// ? acute cardiopulmonary process",
    )
    return f"___ year old {person} with {reason}  {ask[int(rng.integers(len(ask)))]}"


def _comparison(study: Study, rng: np.random.Generator) -> str:
    if study.previous is None:
        return "None." if rng.random() < 0.7 else "None available."
    return ("___.", "Chest radiograph ___.", "Chest radiograph dated ___.")[int(rng.integers(3))]
