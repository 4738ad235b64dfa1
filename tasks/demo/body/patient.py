"""Who is rendered: patients, studies and findings as drawn at random; everything the image and the
report are made from."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from tasks.demo.body.atlas import LOBES

PATHOLOGY = (
    "pneumothorax",
    "effusion",
    "consolidation",
    "atelectasis",
    "edema",
    "cardiomegaly",
    "nodule",
    "fracture",
)
DEVICES = (
    "et_tube",
    "central_line",
    "pacemaker",
    "ecg_leads",
    "feeding_tube",
    "chest_tube",
    "sternal_wires",
    "buttons",
)
SEVERITY = ("small", "moderate", "large")


@dataclass(frozen=True)
class Finding:
    """One finding. `amount` 0..1 is its size, `contrast` 0..1 how plain it is to see, `seed` its
    shape; `change` against the previous study is "", "new", "larger", "smaller" or "same"."""

    name: str
    side: str
    location: str
    amount: float
    contrast: float
    seed: int
    kind: str = ""
    change: str = ""

    @property
    def severity(self) -> str:
        """Return small, moderate or large."""
        return SEVERITY[min(2, int(self.amount * 3))]

    @property
    def difficulty(self) -> str:
        """Return easy, medium or hard, from size and contrast."""
        ease = 0.5 * self.amount + 0.5 * self.contrast
        if ease > 0.62:
            return "easy"
        return "medium" if ease > 0.35 else "hard"


@dataclass(frozen=True)
class Patient:
    """Anatomy of one person, relative to the base patient; `heart_shape` is width to height,
    `heart_shift` to the left in mm, `heart_depth` the share of the lung before and behind the heart
    that it takes, `lungs` the depth of the right and left diaphragm in mm."""

    number: int
    sex: str
    age: int
    width: float
    height: float
    girth: float
    heart: float
    heart_shape: float
    heart_shift: float
    heart_depth: float
    aorta: float
    lungs: tuple[float, float]
    breasts: float
    bones: float
    seed: int


@dataclass(frozen=True)
class Study:
    """One visit: the patient, the view of its frontal image, findings, and how the image was taken
    (`seed`)."""

    patient: Patient
    order: int
    view: str
    findings: tuple[Finding, ...]
    seed: int
    previous: tuple[Finding, ...] | None = None
    lateral: bool = False
    gone: tuple[str, ...] = field(default=())

    def has(self, name: str) -> bool:
        """Return whether a finding of this name is present."""
        return any(finding.name == name for finding in self.findings)

    def named(self, name: str) -> list[Finding]:
        """Return the findings of this name."""
        return [finding for finding in self.findings if finding.name == name]


def sample_patient(rng: np.random.Generator, number: int) -> Patient:
    """Draw one person."""
    sex = "M" if rng.random() < 0.53 else "F"
    age = int(np.clip(rng.normal(58, 18), 18, 95))
    girth = float(np.clip(rng.normal(1.02, 0.12), 0.8, 1.4))
    volume = rng.normal(1, 9)
    return Patient(
        number=number,
        sex=sex,
        age=age,
        width=float(np.clip(rng.normal(1.0 if sex == "M" else 0.96, 0.06), 0.82, 1.16)),
        height=float(np.clip(rng.normal(1.0 if sex == "M" else 0.95, 0.06), 0.8, 1.16)),
        girth=girth,
        heart=float(np.clip(rng.normal(0.99 + 0.001 * (age - 58), 0.06), 0.84, 1.08)),
        heart_shape=float(np.clip(rng.normal(0.98, 0.09), 0.8, 1.12)),
        heart_shift=float(np.clip(rng.normal(0, 7), -12, 12)),
        heart_depth=float(np.clip(rng.normal(0.12, 0.15), -0.15, 0.45)),
        aorta=float(np.clip(rng.normal(1.0 + 0.002 * (age - 58), 0.08), 0.85, 1.25)),
        lungs=(float(volume + rng.normal(0, 7)), float(volume + rng.normal(0, 7))),
        breasts=float(rng.gamma(3, 0.28)) * girth if sex == "F" else 0.0,
        bones=float(np.clip(rng.normal(1.05 - 0.003 * (age - 58), 0.12), 0.7, 1.4)),
        seed=int(rng.integers(2**31)),
    )


RATES = {
    "pneumothorax": 0.12, "effusion": 0.24, "consolidation": 0.19, "atelectasis": 0.22,
    "edema": 0.14,
    "cardiomegaly": 0.22, "nodule": 0.1, "fracture": 0.06,
}  # fmt: skip
DEVICE_RATES = {
    "et_tube": 0.09, "central_line": 0.17, "pacemaker": 0.09, "ecg_leads": 0.2, "feeding_tube": 0.1,
    "chest_tube": 0.05, "sternal_wires": 0.08, "buttons": 0.05,
}  # fmt: skip


def sample_study(
    rng: np.random.Generator,
    number: int = 0,
    rates: dict[str, float] | None = None,
    previous: Study | None = None,
) -> Study:
    """Draw one study: of a new patient `number`, or the next one of `previous`'s patient (findings
    persist, grow, shrink)."""
    patient = previous.patient if previous else sample_patient(rng, number)
    view = "AP" if rng.random() < 0.42 else "PA"
    findings = (
        _next_findings(rng, previous, rates or RATES)
        if previous
        else _first_findings(rng, rates or RATES)
    )
    return Study(
        patient=patient,
        order=previous.order + 1 if previous else 0,
        view=view,
        findings=findings,
        seed=int(rng.integers(2**31)),
        previous=previous.findings if previous else None,
        lateral=view == "PA" and bool(rng.random() < 0.3),
        gone=_gone(previous.findings, findings) if previous else (),
    )


def _gone(before: tuple[Finding, ...], now: tuple[Finding, ...]) -> tuple[str, ...]:
    left = {finding.name for finding in now}
    return tuple(
        dict.fromkeys(f.name for f in before if f.name in PATHOLOGY and f.name not in left)
    )


def _first_findings(rng: np.random.Generator, rates: dict[str, float]) -> tuple[Finding, ...]:
    findings = [
        finding for name in PATHOLOGY if rng.random() < rates[name] for finding in _draw(rng, name)
    ]
    return (
        *findings,
        *(_device(rng, name) for name in DEVICES if rng.random() < DEVICE_RATES[name]),
    )


def _next_findings(
    rng: np.random.Generator, previous: Study, rates: dict[str, float]
) -> tuple[Finding, ...]:
    """Return the next study's findings: most stay, some change or go, new ones come."""
    findings: list[Finding] = []
    for old in previous.findings:
        lasting = old.name in ("cardiomegaly", "nodule", "fracture") or old.kind in (
            "pacemaker",
            "sternal_wires",
        )
        if lasting or rng.random() < 0.72:
            findings.append(_changed(rng, old))
    lasting_names = {finding.name for finding in findings} | {finding.kind for finding in findings}
    for name in PATHOLOGY:
        if name not in lasting_names and rng.random() < 0.5 * rates[name]:
            findings.extend(replace(finding, change="new") for finding in _draw(rng, name))
    new = [
        name
        for name in DEVICES
        if name not in lasting_names and rng.random() < 0.4 * DEVICE_RATES[name]
    ]
    return (*findings, *(replace(_device(rng, name), change="new") for name in new))


def _changed(rng: np.random.Generator, old: Finding) -> Finding:
    if (
        old.name not in ("pneumothorax", "effusion", "consolidation", "atelectasis", "edema")
        or rng.random() < 0.45
    ):
        return replace(old, change="same")
    step = float(rng.uniform(0.15, 0.35)) * (1 if rng.random() < 0.45 else -1)
    amount = float(np.clip(old.amount + step, 0.03, 1))
    if abs(amount - old.amount) < 0.1:
        return replace(old, change="same")
    return replace(old, amount=amount, change="larger" if amount > old.amount else "smaller")


def _draw(rng: np.random.Generator, name: str) -> list[Finding]:
    """Draw one finding (effusions, consolidations and nodules may come twice)."""
    sides = _sides(rng, name)
    return [_finding(rng, name, side) for side in sides]


def _sides(rng: np.random.Generator, name: str) -> list[str]:
    if name in ("edema", "cardiomegaly"):
        return ["both" if name == "edema" else ""]
    both = {
        "effusion": 0.3,
        "atelectasis": 0.25,
        "consolidation": 0.18,
        "nodule": 0.15,
        "pneumothorax": 0.04,
    }.get(name, 0)
    if rng.random() < both:
        return ["right", "left"]
    return ["right" if rng.random() < 0.53 else "left"]


def _finding(rng: np.random.Generator, name: str, side: str) -> Finding:
    amount = float(rng.beta(1.0, 2.4) if name == "effusion" else rng.beta(1.3, 1.5))
    if (
        name == "pneumothorax"
    ):  # the smallest ones are a pixel or two wide at 128 px: nobody could find them there
        amount = 0.3 + 0.7 * amount
    contrast = float(rng.uniform(0.15, 1))
    location, kind = _location(rng, name, side, amount)
    return Finding(name, side, location, amount, contrast, int(rng.integers(2**31)), kind)


def _location(rng: np.random.Generator, name: str, side: str, amount: float) -> tuple[str, str]:
    """Return (location, kind) of a finding."""
    if name == "pneumothorax":
        return str(
            rng.choice(["apical", "apicolateral", "lateral", "basal"], p=[0.42, 0.33, 0.15, 0.1])
        ), ""
    if name in ("consolidation", "nodule"):
        lobe = str(rng.choice([lobe for lobe in LOBES if lobe.startswith(side)]))
        kinds = {
            "consolidation": ("pneumonia", "opacity"),
            "nodule": ("mass" if amount > 0.62 else "nodule",),
        }[name]
        return lobe.split(" ", 1)[1], str(rng.choice(kinds))
    if name == "atelectasis":
        return "base", str(rng.choice(["linear", "patchy"], p=[0.6, 0.4]))
    if name == "fracture":
        return str(int(rng.integers(4, 10))), str(rng.choice(["posterior", "lateral"]))
    return {"effusion": "base", "edema": "perihilar"}.get(name, ""), ""


def _device(rng: np.random.Generator, name: str) -> Finding:
    side = {
        "pacemaker": ("left", "left", "left", "right"),
        "central_line": ("right", "right", "left"),
    }.get(name, ("right", "left"))
    if name in ("et_tube", "feeding_tube", "ecg_leads", "sternal_wires", "buttons"):
        side = ("",)
    where = {"central_line": ("jugular", "jugular", "subclavian", "picc")}.get(name, ("",))
    return Finding(
        "device",
        str(rng.choice(side)),
        str(rng.choice(where)),
        float(rng.random()),
        1.0,
        int(rng.integers(2**31)),
        name,
    )
