"""A source of regions of one's own: radiographs whose reports come with boxes for phrases, in the
manner of MS-CXR."""

from pathlib import Path

import pandas as pd

from bench.contracts import CheckResult, Dataset, Region, dataset
from bench.core.sentences import split_sentences
from bench.data.regions import map_of_box
from bench.data.tables import read_table

CORNERS = ("x1", "y1", "x2", "y2")


@dataset
class Phrases(Dataset):
    """`reports.csv` (image, patient, width, height, report), `phrases.csv` (image, phrase, x1, y1,
    x2, y2 in pixels) and `images/*.png`."""

    name = "phrases"
    title = "Radiographs with boxes for phrases of their report"
    licence = "private"
    citation = "none"
    how_to_get = "Put reports.csv, phrases.csv and images/ into the folder 'phrases'."
    marker = "phrases.csv"
    has_reports = True
    has_regions = True

    def index(self, root: Path) -> pd.DataFrame:
        """Return one row per image; its boxes stay in a column of their own."""
        columns = ("image", "patient", "width", "height", "report")
        table = read_table(root / "reports.csv", columns, texts=("report",), key="image")
        index = table.rename(columns={"image": "image_id", "patient": "patient_id"})
        boxes = read_table(root / "phrases.csv", ("image", "phrase", *CORNERS), key="image")
        of_image = dict(iter(boxes.set_index("image").groupby(level=0)))
        listed = [
            tuple(of_image[image].itertuples(index=False, name=None)) if image in of_image else ()
            for image in index["image_id"]
        ]
        return index.assign(path="images/" + index["image_id"], split="", boxes=listed)

    def regions(self, row: pd.Series, root: Path) -> list[Region]:
        """Return a map of every box, tied to the sentence that its phrase is a part of."""
        sentences = [sentence.lower() for sentence in split_sentences(row["report"])]
        shape = (int(row["height"]), int(row["width"]))
        regions = []
        for phrase, *corners in row["boxes"]:
            heat = map_of_box([float(corner) for corner in corners], shape)
            within = [n for n, sentence in enumerate(sentences) if phrase.lower() in sentence]
            sentence = within[0] if within else -1
            regions.append(Region(heat, sentence, source="box", phrase=phrase))
        return regions

    def validate(self, root: Path) -> list[CheckResult]:
        """Count the images that have a box."""
        count = int(self.index(root)["boxes"].map(bool).sum())
        return [CheckResult("ok", f"{count} images have a box.")]
