"""An encoder that is not there, or does not load, stops a run before its first cell."""

import json
from pathlib import Path

import pytest
import torch

from bench.cells.encoders import check_encoder, encoder_request
from bench.cells.request import RunRequest
from bench.core.errors import CheckpointError, PlaceBenchError
from tests.support.commands import BARE, place_bench
from tests.support.example_plugin import EXAMPLE
from tests.tasks.datasets.fakes import write_siim


def _check(name: str, **request: object) -> None:
    asked = RunRequest(("siim_seg",), (name,), **request)  # type: ignore[arg-type]
    check_encoder(encoder_request(name, asked))


@pytest.mark.parametrize(
    ("name", "request_facts", "message"),
    [
        ("file:nowhere.pth?arch=resnet50", {}, "nowhere.pth does not exist"),
        ("timm:resnet50?weights=/nowhere.pth", {}, "/nowhere.pth does not exist"),
        ("gloria_published?weights=/nowhere.ckpt", {}, "/nowhere.ckpt does not exist"),
        ("place", {"checkpoints": {"place": Path("/nowhere")}}, "/nowhere does not exist"),
        ("place", {"profile": "paper"}, "there is no paper checkpoint of 'place'"),
        ("place", {"settings": {"pretrain.nope": "3"}}, "unknown setting 'nope'"),
        ("place", {"architecture": "resnet9"}, "unknown architecture 'resnet9'"),
    ],
)
def test_what_is_not_there_is_said_before_any_data_is_read(
    name: str,
    request_facts: dict[str, object],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PLACE_BENCH_CACHE", str(tmp_path))
    with pytest.raises(PlaceBenchError, match=message):
        _check(name, **request_facts)
    assert not list(tmp_path.iterdir())


def test_a_damaged_card_is_said_before_any_data_is_read(tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text(json.dumps({"method": "place"})[:-1])
    with pytest.raises(CheckpointError, match=r"card\.json is damaged"):
        _check("place", checkpoints={"place": tmp_path})


def test_weights_that_do_not_load_stop_the_run_before_its_first_cell(
    example_data: Path, tmp_path: Path
) -> None:
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "net.pth")
    words = ["--plugin", str(EXAMPLE), "run", "stranger_seg", "--data-root", str(example_data)]
    words += ["--backbones", "random,file:net.pth?arch=test_resnet", "--set", "epochs=1"]
    stopped = place_bench(*words, code=2, cwd=tmp_path)
    assert "net.pth" in stopped.stderr and "stranger_seg | random" not in stopped.stderr
    assert not (tmp_path / "results" / "results.jsonl").exists()


def test_a_task_whose_every_cell_fails_has_no_table_and_says_why(tmp_path: Path) -> None:
    write_siim(tmp_path / "data" / "siim")
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "net.pth")
    words = ["run", "siim_cls", "--data-root", "data", "--on-error", "skip", *BARE]
    skipped = place_bench(*words, "--backbones", "file:net.pth?arch=resnet18", code=1, cwd=tmp_path)
    assert "Traceback" not in skipped.stderr and "failed: checkpoint" in skipped.stderr
    assert "No table of siim_cls: no cell has a result." in skipped.stderr
    assert skipped.stdout == ""
