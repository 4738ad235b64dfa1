"""A folder as pre-training leaves it: weights, card, vocabulary, and what is not to be copied."""

from __future__ import annotations

import json
from pathlib import Path

from bench.core.hashing import file_sha256


def write_checkpoint(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "vocab.txt").write_text("[PAD]\n")
    (folder / "curve.jsonl").write_text("{}\n")
    (folder / "attention.png").write_bytes(b"a radiograph")
    (folder / "skipped-mimic_cxr-00.csv").write_text("image_id,file,reason\n")
    (folder / ".lock").touch()
    (folder / "work").mkdir()
    card = {
        "method": "own",
        "architecture": "resnet_demo",
        "settings": {},
        "text_encoder": {},
        "data": {"name": "squares", "kind": "demo", "train_pairs": 8},
        "weights_sha256": file_sha256(folder / "model.safetensors"),
        "vocabulary_sha256": file_sha256(folder / "vocab.txt"),
    }
    (folder / "card.json").write_text(json.dumps(card))
    return folder
