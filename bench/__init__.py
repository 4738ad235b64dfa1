"""place-bench engine: knows no single task, dataset or method by name."""

from bench.core.torchvision_shim import prepare_torchvision

__version__ = "0.1.0"

prepare_torchvision()
