"""A dataset whose demo is rendered by `tasks.datasets.demos.<name>`."""

from __future__ import annotations

import importlib
from pathlib import Path

from bench.contracts import Dataset, Progress
from tasks.demo.members import Demo


class Rendered(Dataset):
    """Render the demo of a dataset in its native layout, by the writer of its name."""

    has_demo = True
    demo: Demo

    def __init_subclass__(cls) -> None:
        """Take the default size of the demo from its declaration."""
        super().__init_subclass__()
        if "demo" in vars(cls):
            cls.demo_studies = cls.demo.studies

    def demo_version(self) -> int:
        """Return the version of the demo's files."""
        return self.demo.version

    def make_demo(
        self,
        out: Path,
        *,
        studies: int,
        size: int,
        seed: int,
        workers: int = 2,
        progress: Progress | None = None,
    ) -> None:
        """Render a demo in the native layout."""
        writer = importlib.import_module(f"tasks.datasets.demos.{self.name}")
        writer.write(out, studies=studies, size=size, seed=seed, workers=workers, progress=progress)
