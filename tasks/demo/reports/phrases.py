"""Phrases of chest-radiograph reports, each with the CheXpert labels it stands for (1 present, -1
uncertain, 0 absent).

Slots: {side}, {lobe}, {size} (small, moderate, large), {degree} (mild, moderate, severe), {rib},
{mm}, {cm}.
"""

from __future__ import annotations

Phrase = tuple[str, dict[str, int]]

PRESENT: dict[str, tuple[Phrase, ...]] = {
    "pneumothorax": (
        ("there is a {size} {side} {where} pneumothorax", {"Pneumothorax": 1}),
        ("{size} {side} {where} pneumothorax is present", {"Pneumothorax": 1}),
        (
            (
                "a {size} {where} pneumothorax is seen on the {side}, with a visible visceral "
                "pleural line"
            ),
            {"Pneumothorax": 1},
        ),
        (
            "{side} {where} pneumothorax, {size} in size, without evidence of tension",
            {"Pneumothorax": 1},
        ),
    ),
    "effusion": (
        ("there is a {size} {side} pleural effusion", {"Pleural Effusion": 1}),
        ("{size} {side} pleural effusion is present", {"Pleural Effusion": 1}),
        (
            "blunting of the {side} costophrenic angle, compatible with a {size} pleural effusion",
            {"Pleural Effusion": 1},
        ),
        ("a {size} layering pleural effusion is noted on the {side}", {"Pleural Effusion": 1}),
    ),
    "pneumonia": (
        (
            "there is consolidation in the {side} {lobe} lobe, consistent with pneumonia",
            {"Consolidation": 1, "Pneumonia": 1},
        ),
        (
            "focal opacity in the {side} {lobe} lobe is concerning for pneumonia",
            {"Lung Opacity": 1, "Pneumonia": -1},
        ),
        ("{dense} airspace consolidation involves the {side} {lobe} lobe", {"Consolidation": 1}),
        ("{side} {lobe} lobe pneumonia", {"Pneumonia": 1}),
    ),
    "opacity": (
        ("there is a hazy opacity projecting over the {side} {lobe} lobe", {"Lung Opacity": 1}),
        ("ill-defined {side} {lobe} lobe opacity is noted", {"Lung Opacity": 1}),
        ("{degree} heterogeneous opacification of the {side} {lobe} lobe", {"Lung Opacity": 1}),
        ("focal consolidation is seen in the {side} {lobe} lobe", {"Consolidation": 1}),
    ),
    "linear": (
        (
            "linear opacities at the {side} lung base are consistent with subsegmental atelectasis",
            {"Lung Opacity": 1, "Atelectasis": 1},
        ),
        ("there is {side} basilar plate-like atelectasis", {"Atelectasis": 1}),
        ("{degree} linear atelectasis at the {side} base", {"Atelectasis": 1}),
    ),
    "patchy": (
        (
            (
                "there is {degree} atelectasis at the {side} lung base with elevation of the "
                "{side} hemidiaphragm"
            ),
            {"Atelectasis": 1},
        ),
        (
            "patchy {side} basilar opacity most likely reflects atelectasis",
            {"Lung Opacity": 1, "Atelectasis": 1},
        ),
        ("{degree} {side} lower lung volume loss, in keeping with atelectasis", {"Atelectasis": 1}),
    ),
    "edema": (
        ("there is {degree} pulmonary edema", {"Edema": 1}),
        (
            "bilateral perihilar haziness and indistinct vessels reflect {degree} pulmonary edema",
            {"Edema": 1},
        ),
        ("{degree} interstitial pulmonary edema with pulmonary vascular congestion", {"Edema": 1}),
    ),
    "cardiomegaly": (
        ("the heart is {degree}ly enlarged", {"Cardiomegaly": 1}),
        ("{degree} cardiomegaly", {"Cardiomegaly": 1}),
        ("there is {degree} enlargement of the cardiac silhouette", {"Cardiomegaly": 1}),
    ),
    "nodule": (
        ("there is a {mm} mm nodule in the {side} {lobe} lobe", {"Lung Lesion": 1}),
        (
            "a rounded {mm} mm nodular density projects over the {side} {lobe} lobe",
            {"Lung Lesion": 1},
        ),
    ),
    "mass": (
        ("there is a {cm} cm mass in the {side} {lobe} lobe", {"Lung Lesion": 1}),
        ("a {cm} cm {side} {lobe} lobe mass is concerning for malignancy", {"Lung Lesion": 1}),
    ),
    "fracture": (
        ("there is a {degree}ly displaced fracture of the {side} {rib} rib", {"Fracture": 1}),
        ("fracture of the {portion} {side} {rib} rib is noted", {"Fracture": 1}),
    ),
    "et_tube": (
        ("the endotracheal tube terminates {tip} cm above the carina", {"Support Devices": 1}),
        (
            "endotracheal tube tip is {tip} cm above the carina, in standard position",
            {"Support Devices": 1},
        ),
    ),
    "central_line": (
        ("a {side} {line} terminates in the {depth}", {"Support Devices": 1}),
        ("the tip of the {side} {line} projects over the {depth}", {"Support Devices": 1}),
    ),
    "pacemaker": (
        (
            "a {side}-sided pacemaker is in place with its leads in expected position",
            {"Support Devices": 1},
        ),
        ("{side} chest wall pacer device is noted", {"Support Devices": 1}),
    ),
    "feeding_tube": (
        (
            "an enteric tube courses below the diaphragm, its tip in the stomach",
            {"Support Devices": 1},
        ),
        ("nasogastric tube ends in the stomach", {"Support Devices": 1}),
    ),
    "chest_tube": (
        ("a {side} chest tube is in place", {"Support Devices": 1}),
        ("{side}-sided chest tube projects over the {side} hemithorax", {"Support Devices": 1}),
    ),
    "sternal_wires": (
        ("median sternotomy wires are intact", {"Support Devices": 1}),
        ("the patient is status post median sternotomy with intact wires", {"Support Devices": 1}),
    ),
}

UNCERTAIN: dict[str, tuple[Phrase, ...]] = {
    "pneumothorax": (
        ("possible tiny {side} {where} pneumothorax", {"Pneumothorax": -1}),
        (
            (
                "a thin line at the {side} lung {zone} may represent a {size} pneumothorax or a "
                "skin fold"
            ),
            {"Pneumothorax": -1},
        ),
    ),
    "effusion": (
        ("a {size} {side} pleural effusion cannot be excluded", {"Pleural Effusion": -1}),
        ("possible trace {side} pleural effusion", {"Pleural Effusion": -1}),
    ),
    "pneumonia": (
        (
            "subtle opacity in the {side} {lobe} lobe may represent early pneumonia",
            {"Lung Opacity": 1, "Pneumonia": -1},
        ),
        (
            "{side} {lobe} lobe opacity could reflect atelectasis or pneumonia",
            {"Lung Opacity": 1, "Atelectasis": -1, "Pneumonia": -1},
        ),
    ),
    "opacity": (("questionable faint opacity in the {side} {lobe} lobe", {"Lung Opacity": -1}),),
    "linear": (
        (
            "streaky {side} basilar opacity, probably atelectasis",
            {"Lung Opacity": 1, "Atelectasis": -1},
        ),
    ),
    "patchy": (
        (
            "{side} basilar opacity may represent atelectasis",
            {"Lung Opacity": 1, "Atelectasis": -1},
        ),
    ),
    "edema": (
        ("mild pulmonary vascular congestion with possible mild interstitial edema", {"Edema": -1}),
    ),
    "cardiomegaly": (
        ("the heart is borderline enlarged", {"Cardiomegaly": -1}),
        ("heart size is at the upper limits of normal or mildly enlarged", {"Cardiomegaly": -1}),
    ),
    "nodule": (
        (
            (
                "possible {mm} mm nodular opacity in the {side} {lobe} lobe, for which CT could "
                "be considered"
            ),
            {"Lung Lesion": -1},
        ),
    ),
    "mass": (
        ("possible {cm} cm mass in the {side} {lobe} lobe; CT is recommended", {"Lung Lesion": -1}),
    ),
    "fracture": (("possible nondisplaced fracture of the {side} {rib} rib", {"Fracture": -1}),),
}

ABSENT: dict[str, tuple[str, ...]] = {
    "pneumothorax": (
        "no pneumothorax",
        "there is no pneumothorax",
        "no pneumothorax is identified",
        "no evidence of pneumothorax",
    ),
    "effusion": (
        "no pleural effusion",
        "there is no pleural effusion",
        "the costophrenic angles are sharp without pleural effusion",
    ),
    "consolidation": (
        "no focal consolidation",
        "there is no focal consolidation",
        "no confluent consolidation",
    ),
    "edema": (
        "no pulmonary edema",
        "there is no evidence of pulmonary edema",
        "no overt pulmonary edema",
    ),
    "cardiomegaly": (
        "heart size is normal",
        "the heart is normal in size",
        "cardiac size is within normal limits",
        "no cardiomegaly",
    ),
    "fracture": (
        "no acute fracture is seen",
        "no displaced rib fracture",
        "there is no acute osseous fracture",
    ),
}
ABSENT_LABEL = {
    "pneumothorax": "Pneumothorax",
    "effusion": "Pleural Effusion",
    "consolidation": "Consolidation",
    "edema": "Edema",
    "cardiomegaly": "Cardiomegaly",
    "fracture": "Fracture",
}
NOUN = {
    "pneumothorax": "pneumothorax",
    "effusion": "pleural effusion",
    "consolidation": "focal consolidation",
    "edema": "pulmonary edema",
    "atelectasis": "atelectasis",
    "nodule": "nodule",
    "fracture": "fracture",
    "cardiomegaly": "cardiomegaly",
}
NORMAL_LUNGS = (
    "the lungs are clear",
    "lungs are well expanded and clear",
    "the lungs are clear bilaterally",
    "both lungs are clear",
)
NORMAL_MEDIASTINUM = (
    "the mediastinal contours are unremarkable",
    "mediastinal and hilar contours are normal",
    "the hilar and mediastinal contours are within normal limits",
)
NORMAL_BONES = (
    "the osseous structures are unremarkable",
    "bony structures are intact",
    "imaged osseous structures are intact",
)
OTHERWISE_CLEAR = (
    "the lungs are otherwise clear",
    "the aerated lung is clear",
    "no focal opacity in the aerated lung",
)
NORMAL_IMPRESSION = (
    "normal chest radiograph", "no acute cardiopulmonary process",
    "no acute cardiopulmonary abnormality",
    "no evidence of acute cardiopulmonary disease", "no acute intrathoracic process",
)  # fmt: skip
"""The first only where nothing at all is on the image."""
CHANGE = {
    "same": (
        "unchanged from the prior study",
        "stable compared to ___",
        "not significantly changed",
        "similar to prior",
    ),
    "larger": (
        "increased compared to the prior study",
        "which has worsened since ___",
        "larger than on the prior radiograph",
    ),
    "smaller": (
        "decreased compared to the prior study",
        "improved since ___",
        "smaller than on the prior radiograph",
    ),
    "new": ("new since the prior study", "new compared to ___", "not seen on the prior radiograph"),
}
RESOLVED = (
    "previously seen {noun} has resolved",
    "interval resolution of the {noun}",
    "the {noun} seen previously is no longer visible",
)
REASONS = (
    "cough", "fever and cough", "shortness of breath", "chest pain", "dyspnea on exertion",
    "hypoxia", "altered mental status",
    "weakness", "recent fall", "leukocytosis", "CHF", "COPD", "planned surgery", "tachycardia",
    "abdominal pain", "syncope",
)  # fmt: skip
DEPTHS = ("upper SVC", "mid SVC", "lower SVC", "cavoatrial junction")
