"""place-bench engine: knows no single task, dataset or method by name."""

__version__ = "0.1.0"
