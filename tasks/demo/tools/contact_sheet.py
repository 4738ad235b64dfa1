"""Draw the contact sheet: `python -m tasks.demo.tools.contact_sheet
docs/pictures/demo_contact_sheet.jpg`."""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from tasks.demo.beam.render import Rendering, render
from tasks.demo.body.patient import PATHOLOGY, Study, sample_study

SEED = 11
SIZE = 224
COLUMNS = 8
PLAIN_ROWS = 3
MARKED_ROWS = 2
BAR = 22
TITLE = (
    "rendered data: shows that the pipeline works, says nothing clinical   (CT: LIDC-IDRI-0001, "
    "CC BY 3.0)"
)
COLOURS = dict(
    zip(
        PATHOLOGY,
        (
            (60, 220, 255),
            (255, 170, 40),
            (80, 220, 80),
            (240, 90, 240),
            (210, 210, 120),
            (255, 120, 120),
            (70, 70, 255),
            (40, 140, 255),
        ),
        strict=True,
    )
)


def sheet() -> np.ndarray:
    """Return the sheet, BGR uint8: rows of images as they are, then rows with every finding's
    outline."""
    plain = [_tile(render(study, SIZE).image, "") for study in _studies(COLUMNS * PLAIN_ROWS - 3)]
    lateral = [_tile(render(study, SIZE, "LL").image, "") for study in _studies(3)]
    ill = [
        study
        for study in _studies(200)[COLUMNS * PLAIN_ROWS :]
        if any(f.name != "device" for f in study.findings)
    ]
    marked = [_marked(study) for study in ill[: COLUMNS * MARKED_ROWS]]
    tiles = plain + lateral + marked
    rows = [np.hstack(tiles[n : n + COLUMNS]) for n in range(0, len(tiles), COLUMNS)]
    return np.vstack([_title(rows[0].shape[1]), *rows])


def _studies(count: int) -> list[Study]:
    return [sample_study(np.random.default_rng((SEED, number)), number) for number in range(count)]


def _tile(image: np.ndarray, text: str) -> np.ndarray:
    tile = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    cv2.putText(
        tile, text, (3, SIZE - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.32, (80, 255, 255), 1, cv2.LINE_AA
    )
    return tile


def _marked(study: Study) -> np.ndarray:
    rendering = render(study, SIZE)
    tile = _tile(rendering.image, ", ".join(name for name in PATHOLOGY if name in rendering.masks))
    return _outlined(tile, rendering)


def _outlined(tile: np.ndarray, shown: Rendering) -> np.ndarray:
    for name, colour in COLOURS.items():
        if name in shown.masks:
            outline, _ = cv2.findContours(
                shown.masks[name], cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
            )
            cv2.drawContours(tile, outline, -1, colour, 1)
    return tile


def _title(width: int) -> np.ndarray:
    bar = np.full((BAR, width, 3), 30, np.uint8)
    cv2.putText(
        bar, TITLE, (8, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1, cv2.LINE_AA
    )
    return bar


def main() -> None:
    """Write the sheet to the path given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    out.parent.mkdir(parents=True, exist_ok=True)
    _, data = cv2.imencode(out.suffix, sheet(), [cv2.IMWRITE_JPEG_QUALITY, 82])
    out.write_bytes(data.tobytes())


if __name__ == "__main__":
    main()
