"""The registry: duplicates refused, near names shown, plug-ins loaded from a file."""

from pathlib import Path

import pytest

from bench.core.errors import PlaceBenchError, UnknownNameError
from bench.core.registry import Registry, load_plugin


def test_duplicate_names_are_refused() -> None:
    registry: Registry[int] = Registry("thing")
    registry.add("one", 1)
    with pytest.raises(PlaceBenchError, match="'one' is registered twice"):
        registry.add("one", 2)


def test_unknown_name_shows_the_nearest() -> None:
    registry: Registry[int] = Registry("thing")
    registry.add("siim_seg", 1)
    registry.add("rsna_cls", 2)
    with pytest.raises(UnknownNameError, match="Did you mean siim_seg"):
        registry.get("siim_sge")


def test_plugin_file_that_is_missing_or_broken_is_named(tmp_path: Path) -> None:
    with pytest.raises(PlaceBenchError, match="absent.py does not exist"):
        load_plugin(tmp_path / "absent.py")
    broken = tmp_path / "broken.py"
    broken.write_text("1 / 0\n")
    with pytest.raises(PlaceBenchError, match="broken.py failed: ZeroDivisionError"):
        load_plugin(broken)
