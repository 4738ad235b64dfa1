"""mypy takes the plug-ins of docs/examples as anybody would write them, without `type: ignore`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXAMPLES = ("stranger.py", "dataset.py", "head.py", "method.py", "points.py")
TRAINER = """
from backbones.shared.pretraining import trainer
from bench.contracts import Trainer

takes: Trainer = trainer
"""


def test_mypy_takes_the_examples_and_our_trainer(tmp_path: Path) -> None:
    paths = [ROOT / "docs" / "examples" / name for name in EXAMPLES]
    assert not [path for path in paths if "type: ignore" in path.read_text(encoding="utf-8")]
    (tmp_path / "is_a_trainer.py").write_text(TRAINER, encoding="utf-8")
    words = [sys.executable, "-m", "mypy", *map(str, paths)]
    done = subprocess.run(
        [*words, str(tmp_path / "is_a_trainer.py")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
