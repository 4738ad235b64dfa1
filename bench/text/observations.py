"""The 14 CheXpert observations as a labeler gives them, and the four things that a report may say
of one."""

from __future__ import annotations

OBSERVATIONS = (
    "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema",
    "Consolidation", "Pneumonia",
    "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture",
    "Support Devices", "No Finding",
)  # fmt: skip
MAIN = ("Cardiomegaly", "Edema", "Consolidation", "Atelectasis", "Pleural Effusion")
"""The five competition observations of CheXpert."""
NO_FINDING = "No Finding"
DEVICES = "Support Devices"
DISEASES = tuple(name for name in OBSERVATIONS if name not in (DEVICES, NO_FINDING))
"""The 12 that are abnormal."""
POSITIVE = 1
NEGATIVE = 0
UNCERTAIN = -1
UNMENTIONED = -2
