"""Names of before there was `tasks.labelling`."""

from tasks.labelling.readout import (
    Readout,
    choose,
    counts,
    decisions,
    facts_on_test,
    table,
    thresholds_on_test,
)

__all__ = [
    "Readout",
    "choose",
    "counts",
    "decisions",
    "facts_on_test",
    "table",
    "thresholds_on_test",
]
