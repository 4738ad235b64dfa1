"""Predictions as bytes, and back: numpy's compressed archive, without anything that could run."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.contracts import Predictions
from bench.core.errors import PlaceBenchError
from bench.core.files import UNREADABLE_ARCHIVE

if TYPE_CHECKING:
    import pandas as pd

_TABLE = "table:"
_ARRAY = "array:"
_COLUMNS = ("image_id", "patient_id")


def content_hash(content: bytes) -> str:
    """Return 32 hex digits that stand for the content of a file."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def pack_predictions(predictions: Predictions) -> bytes:
    """Return predictions as a compressed archive."""
    import numpy as np

    table = {
        f"{_TABLE}{name}": _plain(column.to_numpy()) for name, column in predictions.table.items()
    }
    arrays = {f"{_ARRAY}{name}": value for name, value in predictions.arrays.items()}
    buffer = io.BytesIO()
    extra = np.array(json.dumps(dict(predictions.extra)))
    np.savez_compressed(buffer, extra=extra, **table, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def _plain(column: Any) -> Any:
    return column.astype(str) if column.dtype.kind not in "biuf" else column


def unpack_predictions(content: bytes, path: Path) -> Predictions:
    """Return the predictions in an archive; raise PlaceBenchError naming `path` where they do not
    read, or say of no image which it is."""
    import numpy as np

    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            content_of = {name: file[name] for name in file.files}
        extra = json.loads(str(content_of["extra"]))
        return Predictions(_table(content_of), _under(_ARRAY, content_of), extra)
    except UNREADABLE_ARCHIVE as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise PlaceBenchError(
            f"predictions {path} do not read: {reason}.",
            "Run the task again: the cell is made again.",
        ) from error


def _under(prefix: str, content_of: dict[str, Any]) -> dict[str, Any]:
    """Return the entries whose name begins with `prefix`, without it."""
    return {
        name.removeprefix(prefix): value
        for name, value in content_of.items()
        if name.startswith(prefix)
    }


def _table(content_of: dict[str, Any]) -> pd.DataFrame:
    import pandas as pd

    columns = _under(_TABLE, content_of)
    missing = [name for name in _COLUMNS if name not in columns]
    if missing:
        raise KeyError(f"no column {missing[0]}")
    return pd.DataFrame(columns)
