"""What a kind predicts is compared with its test images; a kind of this project may keep arrays
that are no rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench.cells.given import check_predictions
from bench.contracts import KINDS, Body, Predictions, Subset, TaskKind
from bench.core.declaring import is_built_in
from bench.core.errors import PlaceBenchError

INDEX = pd.DataFrame({"image_id": ["a", "b"], "patient_id": ["p", "q"]})
TEST = Subset(INDEX, np.arange(2), np.zeros((2, 4, 4), np.uint8))
GRAMS = Predictions(INDEX, {"grams1": np.zeros(60)})


def predict(predictor: Any, test: Subset, context: Any) -> Predictions:
    """Predict as a plug-in would."""
    return GRAMS


@pytest.mark.parametrize("name", KINDS.names())
def test_what_this_projects_kinds_predict_is_known(name: str) -> None:
    assert is_built_in(type(KINDS.get(name)).predict)
    check_predictions(KINDS.get(name), GRAMS, TEST)


def test_a_head_of_ones_own_keeps_what_its_kind_predicts() -> None:
    kind = type(KINDS.get("report_generation"))
    check_predictions(type("Mine", (kind,), {"name": "mine"})(), GRAMS, TEST)


@pytest.mark.parametrize("method", [predict, Body(f"{__name__}:predict")])
def test_arrays_of_another_kind_are_rows(method: Any) -> None:
    kind: TaskKind = type("Mine", (type(KINDS.get("retrieval")),), {"predict": method})()
    with pytest.raises(PlaceBenchError, match="have 2 rows and 60 entries of the array 'grams1'"):
        check_predictions(kind, GRAMS, TEST)
