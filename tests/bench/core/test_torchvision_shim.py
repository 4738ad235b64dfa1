"""Whoever imports torchvision first, a CPU build of torch does not stop it."""

import os
import subprocess
import sys
from pathlib import Path

HEAVY_PLUGIN = """
import timm
import torchvision
import transformers

from bench.contracts import backbone


@backbone("heavy_net", licence="private")
def heavy_net(request):
    \"\"\"Build nothing.\"\"\"
"""


def _python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own that also finds the packages of `folder`."""
    settings = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=folder,
        env=settings,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def _install(folder: Path, module: str, source: str) -> None:
    """Write a package whose entry point is a module of this source."""
    info = folder / f"{module}_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[place_bench.plugins]\n{module} = {module}\n")
    (folder / f"{module}.py").write_text(source)


def test_a_plugin_file_may_import_heavy_libraries_at_its_top(tmp_path: Path) -> None:
    (tmp_path / "heavy.py").write_text(HEAVY_PLUGIN)
    code = (
        "import sys\nsys.argv = ['place-bench', '--plugin', 'heavy.py', 'list', 'backbones', "
        "'--json']\nfrom bench.commands.cli import main\nmain()"
    )
    assert '"heavy_net"' in _python(code, tmp_path).stdout


def test_an_entry_point_may_too_whichever_command_finds_it(tmp_path: Path) -> None:
    _install(tmp_path, "heavy", "import torchvision\n")
    page = tmp_path / "page.md"
    page.write_text("the page")
    code = (
        "import sys\nfrom pathlib import Path\nfrom backbones.shared.pretraining.command "
        "import print_page\n"
        f"assert print_page('look', lambda: Path({str(page)!r})) == 0\n"
        "assert 'heavy' in sys.modules and 'torchvision' in sys.modules"
    )
    assert "the page" in _python(code, tmp_path).stdout


def test_an_entry_point_that_fails_is_one_sentence_in_every_command(tmp_path: Path) -> None:
    _install(tmp_path, "broken", "raise RuntimeError('no licence key')\n")
    code = (
        "from backbones.shared.pretraining.command import print_page\nassert print_page('look', "
        "lambda: None) == 2"
    )
    said = _python(code, tmp_path).stderr
    assert said == (
        "look: plug-in 'broken' (broken) does not import: RuntimeError: no licence key. "
        "Mend it, or uninstall its package.\n"
    )
