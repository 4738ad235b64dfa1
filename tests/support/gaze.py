"""Tiny EGD-CXR and REFLACX, each beside a tiny MIMIC-CXR: eight images of 16 x 20 px."""

from __future__ import annotations

import json
from pathlib import Path

from tests.tasks.datasets.fakes import write_mimic

IMAGES = tuple(f"{number:08x}-{'PA' if number % 2 else 'AP'}" for number in range(8))
WORDS = (
    ("No", 2.0, 2.3),
    ("effusion", 2.4, 2.9),
    (".", 2.9, 2.9),
    ("Nodule", 4.0, 4.4),
    ("of", 4.5, 4.6),
    ("1.5", 4.7, 4.9),
    ("cm.", 5.0, 5.4),
)
"""Two sentences, spoken from 2.0 to 2.9 s and from 4.0 to 5.4 s."""
LOOKS = (
    (2.0, 3.0, 0.1, 0.3),
    (4.0, 5.0, 0.6, 0.5),
    (6.0, 15.0, 2.4, 0.2),
    (12.0, 15.0, 3.1, 0.4),
    (99.0, 5.0, 3.6, 0.2),
    (10.0, 10.0, 4.2, 0.0),
)
"""x, y, start and duration: one before all, two of the first sentence, one of the second, one
outside the image, one without a duration."""
EGD_COLUMNS = "SESSION_ID,DICOM_ID,FPOGS,FPOGD,FPOGV,X_ORIGINAL,Y_ORIGINAL"
FIXATIONS = (
    "timestamp_start_fixation,timestamp_end_fixation,x_position,y_position,"
    "angular_resolution_x_pixels_per_degree,angular_resolution_y_pixels_per_degree"
)
ELLIPSES = "xmin,ymin,xmax,ymax,certainty,Consolidation,Pleural abnormality"


def write_mimic_images(root: Path) -> None:
    """Write MIMIC-CXR's tables and images without its reports, which are not read."""
    root.mkdir(parents=True)
    write_mimic(root)
    for path in root.rglob("*.txt"):
        path.unlink()


def lines(path: Path, header: str, rows: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *rows]) + "\n")


def write_egd(root: Path) -> None:
    """Write EGD-CXR in `egd_cxr/` and MIMIC-CXR in `mimic_cxr/`."""
    write_mimic_images(root / "mimic_cxr")
    home = root / "egd_cxr"
    sheet = [f'{image},files/{image}.dcm,1,2,"cough, fever"' for image in IMAGES]
    header = "dicom_id,path,study_id,patient_id,cxr_exam_indication"
    lines(home / "master_sheet.csv", header, sheet)
    looks = [
        f"s1,{image},{start},{duration},1,{x},{y}"
        for image in IMAGES
        for x, y, start, duration in LOOKS
    ]
    looks.insert(3, f"s1,{IMAGES[0]},4.5,0.3,0,8,8")
    lines(home / "fixations.csv", EGD_COLUMNS, looks)
    boxes = [f"{image},heart,4,12,6,14" for image in IMAGES]
    lines(home / "bounding_boxes.csv", "dicom_id,bbox_name,x1,x2,y1,y2", boxes)
    entries = [{"phrase": word, "begin_time": begin, "end_time": end} for word, begin, end in WORDS]
    for image in IMAGES:
        path = home / "audio_segmentation_transcripts" / image / "transcript.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"full_text": "", "time_stamped_text": entries}))


def write_reflacx(root: Path) -> None:
    """Write REFLACX in `reflacx/` and MIMIC-CXR in `mimic_cxr/`: image 0 is read by two, image 1 by
    one whose eyes were tracked and one whose were not."""
    write_mimic_images(root / "mimic_cxr")
    home = root / "reflacx" / "main_data"
    readings = [(f"P300R{number:03d}", image, False) for number, image in enumerate(IMAGES)]
    readings += [("P300R100", IMAGES[0], False), ("P300R101", IMAGES[1], True)]
    rows = [
        f"{name},train,{lost},files/{image}.dcm,{image},1,16,20,0,3"
        for name, image, lost in readings
    ]
    header = (
        "id,split,eye_tracking_data_discarded,image,dicom_id,subject_id,image_size_x,"
        "image_size_y,Consolidation,Pleural abnormality"
    )
    lines(home / "metadata_phase_1.csv", header, rows)
    for name, _, _ in readings:
        write_reading(home / name)


def write_reading(folder: Path) -> None:
    looks = [f"{start},{start + duration},{x},{y},2.0,1.0" for x, y, start, duration in LOOKS]
    lines(folder / "fixations.csv", FIXATIONS, looks)
    words = [f"{word},{begin},{end}" for word, begin, end in WORDS]
    header = "word,timestamp_start_word,timestamp_end_word"
    lines(folder / "timestamps_transcription.csv", header, words)
    ellipses = ["2,4,10,12,3,True,False", "2,4,10,12,2,True,True", "1,1,9,9,1,False,False"]
    lines(folder / "anomaly_location_ellipses.csv", ELLIPSES, ellipses)
