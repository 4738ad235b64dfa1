"""The command line: light listings, clear one-sentence errors with exit code 2."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from bench.commands.cli import app
from tests.support.commands import place_bench

HEAVY = ("torch", "pandas", "numpy", "mmengine", "timm", "transformers")


def every_command(command: Any = None, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the words of every command and group of commands, from the whole line on."""
    command = command or typer.main.get_command(app)
    yield words
    for name, inner in getattr(command, "commands", {}).items():
        yield from every_command(inner, (*words, name))


def test_every_command_is_known_here() -> None:
    some = {("run",), ("list",), ("settings",), ("data", "info"), ("results", "verify")}
    assert some <= set(every_command())


def test_help_of_every_command_imports_nothing_heavy(tmp_path: Path) -> None:
    """One process asks for the help of every command, one after the other."""
    code = (
        "import json, sys\nfrom bench.commands.cli import main\n"
        "for words in json.loads(sys.argv[1]):\n"
        "    sys.argv = ['place-bench', *words, '--help']\n"
        "    try:\n        main()\n"
        "    except SystemExit as stop:\n        assert not stop.code, words\n"
        f"    found = [name for name in {HEAVY} if name in sys.modules]\n"
        "    assert not found, (words, found)\n"
    )
    commands = sorted(every_command())
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(commands)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("Usage: ") == len(commands)


@pytest.mark.parametrize(
    "words",
    [
        ["list", "tasks"],
        ["list", "backbones"],
        ["list", "datasets", "--json"],
        ["settings"],
        ["settings", "siim_seg", "--protocol", "mgca"],
        ["settings", "classification", "--json"],
        ["settings", "place"],
        ["settings", "timm"],
        ["settings", "--markdown"],
    ],
)
def test_listings_import_nothing_heavy(words: list[str], tmp_path: Path) -> None:
    code = (
        "import sys\nsys.argv = ['place-bench', *sys.argv[1:]]\nfrom bench.commands.cli "
        "import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
        f"print('HEAVY', [name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
        timeout=60,
    )
    assert done.stdout.strip().endswith("HEAVY []"), done.stdout


def test_json_listing_is_complete(tmp_path: Path) -> None:
    tasks = {
        row["name"]: row
        for row in json.loads(place_bench("list", "tasks", "--json", cwd=tmp_path).stdout)
    }
    assert tasks["siim_seg"]["metric"] == "dice_global"
    backbones = {
        row["name"]: row
        for row in json.loads(place_bench("list", "backbones", "--json", cwd=tmp_path).stdout)
    }
    assert {"random", "imagenet", "convirt", "place"} <= backbones.keys()
    datasets = json.loads(place_bench("list", "datasets", "--json", cwd=tmp_path).stdout)
    assert all(row["licence"] and row["citation"] for row in datasets)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "siim_sge"], "unknown task 'siim_sge'. Did you mean siim_seg"),
        (
            ["run", "siim_seg", "--backbones", "plase"],
            "unknown backbone 'plase'. Did you mean place",
        ),
        (["run", "siim_seg", "--protocol", "mcga"], "mgca"),
        (["run", "siim_seg", "--set", "epoch=3"], "Did you mean epochs"),
        (["run", "siim_seg", "--set", "epochs=many"], "'epochs' wants int, found 'many'"),
        (["run", "siim_seg", "--set", "encoder.x=1"], "unknown scope 'encoder'"),
        (["run", "siim_seg", "--fractions", "1.5"], "label fraction 1.5 is not in (0, 1]"),
        (["run", "siim_seg", "--data-root", "nowhere"], "nowhere"),
        (["run", "siim_seg", "--arch", "resnot"], "unknown architecture 'resnot'"),
        (["run", "siim_seg", "--set", "lr=nan"], "'lr' is nan. It must be a finite number"),
        (["run", "siim_seg", "--seeds", "-1"], "'seeds' is -1. It must be a whole number"),
        (
            ["run", "siim_seg", "--dry-run", "--set", "pretrain.nope=3"],
            "pre-training of 'convirt': unknown setting 'nope'",
        ),
        (
            ["run", "siim_seg", "--backbones", "place", "--set", "pretrain.tau1=-1"],
            "pre-training of 'place': setting 'tau1' is -1",
        ),
        (
            ["run", "siim_seg", "--backbones", "random", "--set", "pretrain.epochs=3"],
            "pretrain.epochs changes nothing: none of random is trained in this run",
        ),
        (
            ["run", "siim_seg", "--profile", "paper", "--set", "pretrain.epochs=3"],
            "a run in the paper profile trains no encoder",
        ),
        (
            ["run", "siim_seg", "--dry-run", "--backbones", "place", "--set", "backbone.x=1"],
            "'place' takes its settings from its checkpoint",
        ),
        (
            ["run", "siim_seg", "--dry-run", "--backbones", "timm:resnet18?pretrain=no"],
            "unknown setting 'pretrain' of TimmSettings. Did you mean pretrained",
        ),
        (
            ["run", "siim_seg", "--backbones", "timm:resnet18", "--set", "backbone.size=0"],
            "'size' is 0. It must be a whole number, at least 16",
        ),
        (
            ["run", "chexpert5x200_ret", "--set", "ks=1,5"],
            "the main metric of task 'chexpert5x200_ret' is 'i2t_p@10', which retrieval does",
        ),
        (["pretrain", "place", "--set", "ema=inf"], "'ema' is inf. It must be a finite number"),
        (["pretrain", "random"], "'random' is not pre-trained here"),
        (["leaderboard"], "no results in"),
        (["data", "path", "siimm"], "unknown dataset 'siimm'. Did you mean siim"),
        (["--plugin", "absent.py", "list"], "absent.py does not exist"),
    ],
)
def test_mistakes_end_in_one_sentence_and_exit_code_2(
    words: list[str], message: str, tmp_path: Path
) -> None:
    done = place_bench(*words, cwd=tmp_path, code=2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("*.jsonl")), "a mistake left something half-written"


def test_a_dry_run_renders_and_reads_nothing_and_fits_a_narrow_terminal(tmp_path: Path) -> None:
    done = place_bench("run", "siim_seg", "--dry-run", cwd=tmp_path)
    assert "2450 demo studies of siim are rendered first" in done.stdout
    assert "convirt (resnet_demo): pre-trained on mimic_cxr, 21600" in done.stdout
    own = place_bench("run", "siim_seg", "--dry-run", "--set", "pretrain.epochs=1", cwd=tmp_path)
    assert "convirt: pre-trained first, on mimic_cxr" in own.stdout
    assert "random (resnet_demo)" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "words", [["--data", "real"], ["--data-root", "."], ["--checkpoint", "place=gone.pth"]]
)
def test_a_dry_run_stops_where_the_run_would(words: list[str], tmp_path: Path) -> None:
    done = place_bench("run", "siim_seg", "--dry-run", *words, cwd=tmp_path, code=2)
    assert "siim" in done.stderr or "gone.pth does not exist" in done.stderr


def test_export_writes_a_config_and_never_over_one(tmp_path: Path) -> None:
    words = ["export", "mmseg", "random", "--out", "mine", "--classes", "lesion"]
    done = place_bench(*words, cwd=tmp_path)
    assert (
        "mine/random_mmseg.py" in done.stdout
        and "lesion" in (tmp_path / "mine" / "random_mmseg.py").read_text()
    )
    again = place_bench(*words, cwd=tmp_path, code=2)
    assert "random_mmseg.py is there already" in again.stderr
