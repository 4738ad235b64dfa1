"""The adapter reads a file laid out as CheXbert's, gives our classes, and refuses other files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.core.errors import CheckpointError
from tasks.report_generation.labeler import OBSERVATIONS, make_labeler
from tasks.report_generation.labeler.chexbert import CheXbert, _Network
from tasks.report_generation.settings import ReportSettings

CONFIG: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "vocab_size": 9,
}


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    from transformers import BertConfig

    (tmp_path / "vocab.txt").write_text(
        "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "no", "effusion", "heart", "."])
    )
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    torch.manual_seed(0)
    network = _Network(BertConfig(**CONFIG))
    heads: Any = network.linear_heads
    for place, head in enumerate(heads):
        head.weight.data.zero_()
        head.bias.data[place % head.out_features] = 5.0
    state = {f"module.{name}": value for name, value in network.state_dict().items()}
    torch.save({"model_state_dict": state}, tmp_path / "chexbert.pth")
    return tmp_path / "chexbert.pth"


def test_heads_become_our_classes(weights: Path) -> None:
    labeler = make_labeler(ReportSettings(labeler="chexbert", chexbert=str(weights)))
    found = labeler(["no effusion .", "heart " * 900, ""])
    assert found.shape == (3, 14) and found.dtype == np.int8
    np.testing.assert_array_equal(found[0], found[1])
    assert (
        found[0, :5].tolist() == [-2, 1, 0, -1, -2]
        and found[0, OBSERVATIONS.index("No Finding")] == 1
    )
    assert found[2, :13].tolist() == [-2] * 13 and found[2, 13] == 1


def test_other_files_are_refused(weights: Path) -> None:
    torch.save({"a": torch.zeros(1)}, weights)
    with pytest.raises(CheckpointError, match="is not CheXbert"):
        CheXbert.load(str(weights), "cpu")
    weights.write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match="does not read as plain weights"):
        CheXbert.load(str(weights), "cpu")
    (weights.parent / "vocab.txt").unlink()
    with pytest.raises(CheckpointError, match=r"vocab\.txt is missing"):
        CheXbert.load(str(weights), "cpu")
