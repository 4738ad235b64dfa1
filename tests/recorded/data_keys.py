"""What is recorded of prepared data: hashes of what each kind reads, and names of the caches.

`python -m tests.recorded.data_keys` writes them anew; say in the commit why they moved.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from bench.cells.prepare import plan_task
from bench.cells.request import RunRequest
from bench.core.progress import Silent
from tests.recorded.cells import RUNS, write_data

RECORDED = Path(__file__).with_name("data_keys.json")
PROTOCOLS = {
    **dict.fromkeys(RUNS, ("default",)),
    "siim_cls": ("default", "mgca"),
    "siim_seg": ("default", "mgca"),
    "object_cxr_det": ("default", "mgca"),
}
"""Under `mgca` files are read with another scaling."""


def data_keys(home: Path, cache: Path) -> dict[str, dict[str, str] | list[str]]:
    """Return, per task and protocol, the hash of all it reads and the one that names kept
    features; and the folders of decoded images."""
    write_data(home / "data")
    keys: dict[str, dict[str, str] | list[str]] = {}
    for name, protocols in PROTOCOLS.items():
        for protocol in protocols:
            request = RunRequest(
                tasks=(name,),
                protocol=protocol,
                data="real",
                data_root=home / "data",
                results=home / "results",
                settings={"image_size": "32"},
            )
            plan = plan_task(name, request, Silent())
            keys[f"{name} {protocol}"] = {
                "cell": plan.data_hash,
                "features": plan.prepared.data_hash,
            }
    keys["caches"] = sorted(path.name for path in (cache / "images").iterdir())
    return keys


def main() -> None:
    """Write what holds now."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PLACE_BENCH_CACHE"] = f"{folder}/cache"
        keys = data_keys(Path(folder), Path(folder, "cache"))
    RECORDED.write_text(json.dumps(keys, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
