"""What the 14 observations are called, and the words that negate them or put them in doubt.

Written for this project from radiology usage; the classes and their precedence are CheXpert's
(Irvin et al. 2019).
"""

from __future__ import annotations

import re

_HEART = (
    r"(?:heart(?: size)?|cardiac(?: size| silhouette| shadow| contours?)?|(?:cardiac|"
    r"cardio) ?mediastinal (?:silhouette|contours?))"
)
_MEDIASTINUM = (
    r"(?:cardio)?mediastin(?:um|al)(?: and hilar)?(?: silhouette| contours?| width| structures)?"
)
_BIG = r"(?:enlarged|large|increased in size|prominent|widened|dilated|wide)"
_LINES = (
    r"(?:(?:central|venous|picc|arterial|dialysis|subclavian|jugular|ij|femoral|support|"
    r"monitoring|access|indwelling)(?: venous)?"
    r" lines?|lines and tubes|tubes and lines|\w+ sided picc|picc)"
)

MENTIONS: dict[str, tuple[str, ...]] = {
    "Enlarged Cardiomediastinum": (
        (
            rf"(?:{_BIG}|widening of the|enlargement of the|prominence of the) (?:\w+ "
            rf"){{0,2}}?(?:superior )?mediastin(?:um|al)"
        ),
        (
            rf"(?<!cardio)mediastin(?:um|al)(?: \w+){{0,4}}? (?:is|are|appears?) (?:\w+ "
            rf"){{0,2}}?{_BIG}"
        ),
        r"mediastinal (?:widening|enlargement|mass|lymphadenopathy)",
    ),
    "Cardiomegaly": (
        r"cardiomegaly",
        rf"{_HEART}(?: \w+){{0,5}}? (?<!not )(?<!atherosclerotic ){_BIG}",
        rf"(?:{_BIG}|enlargement of the|prominence of the) (?:\w+ )?{_HEART}",
        r"(?:cardiac|heart) enlargement",
    ),
    "Lung Opacity": (
        r"(?<!nodular )opaci(?:ty|ties|fications?|fied)",
        r"infiltrates?|infiltration",
        r"air ?space disease",
        r"(?:hazy|haziness|increased density|ground glass)",
        (
            r"(?:interstitial|reticular|reticulonodular|bronchovascular) "
            r"(?:markings?|patterns?|prominence|"
            r"thickening|disease|changes?)"
        ),
        (
            r"(?:pulmonary|lung|interstitial) fibrosis|reticulation|interstitial lung "
            r"disease|lung markings"
        ),
        (
            r"(?:air ?space|alveolar|lobe|lung|basilar|hazy|patchy|streaky|linear|retrocardiac) "
            r"(?:\w+ )?densit(?:y|ies)"
        ),
        r"(?:peribronchial|bronchial wall) (?:thickening|cuffing)",
        r"(?<!pleural )(?<!pleural parenchymal )(?:scarring|scars)|(?:lung|lobe|parenchymal) scar",
    ),
    "Lung Lesion": (
        r"(?<!calcified )(?:nodules?|nodular (?:opacit(?:y|ies)|densit(?:y|ies)|lesions?))",
        r"(?<!mediastinal )(?<!soft tissue )mass(?:es)?(?! effect)",
        r"neoplasms?|tumou?rs?|carcinoma|malignanc(?:y|ies)|metasta(?:sis|ses|tic)",
        r"cavit(?:ary|ation) lesions?|lung lesions?",
    ),
    "Edema": (
        r"edema",
        r"(?:heart|cardiac) failure|chf",
        r"(?:vascular|venous|pulmonary|central) congestion|congestive (?:changes?|failure)",
        r"fluid overload|volume overload",
    ),
    "Consolidation": (r"consolidat(?:ions?|ive|ed)",),
    "Pneumonia": (
        r"pneumoni(?:as?|tis)|bronchopneumonia",
        r"infecti(?:on|ous)(?: process(?:es)?| etiology)?",
    ),
    "Atelectasis": (
        r"atelecta(?:sis|ses|tic)",
        r"(?:lung|lobe|lobar|segmental|partial) collapse|collapse of the",
    ),
    "Pneumothorax": (r"(?:hydro)?pneumothora(?:x|ces|xes)",),
    "Pleural Effusion": (
        r"(?<!pericardial )effusions?",
        r"pleural fluid|hydropneumothorax",
        (
            r"blunting of the (?:\w+ ){0,3}costophrenic|costophrenic (?:angles?|sulc\w+)(?: "
            r"\w+){0,3} (?:blunted|blunting)"
        ),
    ),
    "Pleural Other": (
        r"pleural (?:\w+ )?(?:thickening|plaques?|scarring|scar|calcifications?|fibrosis)|"
        r"fibrothorax|pleuroparenchymal",
    ),
    "Fracture": (r"fractures?|fractured",),
    "Support Devices": (
        r"pace ?makers?|pacers?|icd|defibrillator|pacing (?:leads?|wires?)",
        (
            r"catheters?|(?:endotracheal|nasogastric|orogastric|enteric|feeding|tracheostomy|"
            r"chest|thoracostomy|ng|"
            r"et|dobbhoff) tubes?"
        ),
        _LINES,
        r"sternotomy|sternal wires?|(?:surgical|vascular|cholecystectomy) (?:clips?|staples?)|cabg",
        r"(?:prosthe(?:sis|tic)|mechanical|valve) (?:valves?|replacement)|stents?|hardware",
        r"spinal (?:stimulator|fixation|hardware|rods?|fusion)",
        r"arthroplasty|stimulators?|tubing|prosthetic (?:right|left)? ?shoulder",
        r"mediport|port ?a ?cath|(?:chest|infusion) port|devices?|drains?|intra ?aortic balloon",
    ),
}

NORMAL: dict[str, str] = {
    "Cardiomegaly": (
        rf"{_HEART}(?: \w+){{0,8}}? (?:normal|unremarkable|not enlarged|within (?:normal )?limits)|"
        rf"normal (?:heart|cardiac)"
    ),
    "Enlarged Cardiomediastinum": (
        rf"{_MEDIASTINUM}(?: \w+){{0,8}}? (?:normal|unremarkable|within (?:normal "
        r")?limits|not widened)|"
        rf"normal (?:cardio)?mediastinal"
    ),
}
"""Statements that an observation is absent without naming it."""
BORDERLINE: dict[str, str] = {
    "Cardiomegaly": (
        rf"{_HEART}(?: \w+){{0,6}}? (?:borderline|upper (?:limits?|range) of normal|top normal)|"
        rf"borderline (?:\w+ )?{_HEART}"
    ),
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
