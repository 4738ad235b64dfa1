"""Word lists of reports, written for this project: data files of this folder."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from typing import Any


def read_words(name: str) -> dict[str, Any]:
    """Return the lists in the file `name` of this folder."""
    return tomllib.loads(files(__name__).joinpath(name).read_text(encoding="utf-8"))
