"""mypy takes the plug-ins of docs/examples as anybody would write them, without `type: ignore`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.py"))
TRAINER = """
from backbones.shared.pretraining import trainer
from bench.contracts import Trainer

takes: Trainer = trainer
"""


def test_mypy_takes_the_examples_and_our_trainer(tmp_path: Path) -> None:
    assert {"encoder.py", "method.py", "stranger.py"} <= {path.name for path in EXAMPLES}
    for path in EXAMPLES:
        text = path.read_text(encoding="utf-8")
        assert "type: ignore" not in text and "cast(" not in text, path.name
    (tmp_path / "is_a_trainer.py").write_text(TRAINER, encoding="utf-8")
    words = [sys.executable, "-m", "mypy", *map(str, EXAMPLES)]
    done = subprocess.run(
        [*words, str(tmp_path / "is_a_trainer.py")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
