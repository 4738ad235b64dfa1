"""What a row of a table is called: its encoder, and what tells it from others of the same name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from bench.core.hashing import digest

Record = Mapping[str, Any]


def _architecture(record: Record) -> str:
    """Return the architecture that was loaded; where a result does not say it, the one that was
    declared."""
    return str(record.get("encoder:architecture") or record["architecture"] or "")


def row_names(records: Sequence[Record]) -> dict[str, str]:
    """Return the row of every result (by key): the encoder's label, architecture and settings; two
    encoders of one label are told apart by the hash of their weights, else of their names."""
    encoders: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for record in records:
        encoders[_name(record)].add(_encoder(record))
    rows = {}
    for record in records:
        name = _name(record)
        rows[str(record["key"])] = name + _mark(_encoder(record), encoders[name])
    return rows


def _encoder(record: Record) -> tuple[str, str]:
    return str(record["backbone"]), str(record["hash:checkpoint"])


def _mark(encoder: tuple[str, str], same_label: Collection[tuple[str, str]]) -> str:
    if len(same_label) == 1:
        return ""
    hashes = {weights[:6] for _, weights in same_label}
    if len(hashes) == len(same_label):
        return f" [{encoder[1][:6]}]"
    return f" [{digest(encoder, 6)}]"


def _name(record: Record) -> str:
    architecture = _architecture(record)
    words = [str(record.get("label") or record["backbone"])]
    if architecture:
        words.append(f"({architecture})")
    for key, value in sorted(record["backbone_settings"].items()):
        words.append(f"{key}={value}")
    return " ".join(words)
