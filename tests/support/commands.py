"""Run the command line in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

BARE = ("--seeds", "0", "--no-frame")
"""What makes a run as short as it can be: one seed, and the rows that are named."""


def place_bench(
    *words: str, cwd: Path, code: int | None = 0, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run the command line in its own process and check its exit code."""
    settings = {k: v for k, v in os.environ.items() if not k.startswith("PLACE_BENCH")}
    settings |= {"PLACE_BENCH_CACHE": str(cwd / "cache"), "COLUMNS": "200", **env}
    done = subprocess.run(
        [sys.executable, "-m", "bench.commands.cli", *words],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=settings,
        timeout=240,
        check=False,
    )
    assert code is None or done.returncode == code, done.stdout + done.stderr
    return done
