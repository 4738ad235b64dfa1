"""An encoder's name: the same from every folder, short in a table, one for the same weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from bench.cells.encoders import check_encoder, encoder_request
from bench.cells.request import RunRequest
from bench.cells.results import ResultStore
from bench.contracts import BACKBONES
from bench.core.naming import absolute_name, identity, join_name, short_name, split_name
from tests.support.commands import BARE, place_bench
from tests.support.example_plugin import EXAMPLE
from tests.support.results import add


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("random", "random"),
        ("file:/data/deep/enc.pth?arch=resnet50&prefix=encoder.", "file:enc?prefix=encoder."),
        ("file:~/enc.v2.pth?arch=other&key=model", "file:enc.v2?arch=other&key=model"),
        ("file:./enc.pth?arch=resnet50&name=mine", "mine"),
        ("gloria_published?weights=/data/chexpert.ckpt&upsample=0", "gloria_published?upsample=0"),
        ("timm:resnet50?weights=/data/net.pth", "timm:resnet50?weights=net"),
        ("timm:vit_b.tag?pretrained=false&size=384", "timm:vit_b.tag?pretrained=false&size=384"),
        ("hf:microsoft/rad-dino", "hf:microsoft/rad-dino"),
        ("place?name=a%26b", "a&b"),
    ],
)
def test_a_row_has_a_short_name(name: str, short: str) -> None:
    assert short_name(name, "resnet50") == short


def test_paths_are_absolute_and_names_of_networks_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.pth").write_bytes(b"")
    (tmp_path / "resnet50").mkdir()
    name = absolute_name("file:net.pth?arch=resnet50")
    assert name == f"file:{tmp_path}/net.pth?arch=resnet50"
    assert absolute_name("timm:vit?weights=net.pth&name=mine") == (
        f"timm:vit?name=mine&weights={tmp_path}/net.pth"
    )
    assert absolute_name("hf:microsoft/rad-dino") == "hf:microsoft/rad-dino"


def test_the_content_of_the_weights_stands_for_their_path() -> None:
    one, other = (f"file:{path}?arch=r&prefix=a." for path in ("/x/enc.pth", "/y/copy.pth"))
    assert identity(one, "0123") == identity(other, "0123") == "file:?arch=r&prefix=a."
    assert identity(one, "") != identity(other, "")
    assert identity(one.replace("a.", "b."), "0123") != identity(one, "0123")
    assert identity(f"{one}&name=mine", "0123") == identity(one, "0123")
    assert identity("g?weights=/x.ckpt&text_model=/bert", "0123") == "g?text_model=/bert"
    assert identity("timm:vit", "0123") == "timm:vit"
    assert split_name(join_name("file", "a", {"k": "1&2%"})) == ("file", "a", {"k": "1&2%"})


def test_a_label_is_no_setting_of_the_encoder() -> None:
    assert BACKBONES.get("place?name=mine").settings == {}
    timm = BACKBONES.get("timm:test_resnet?pretrained=false&name=mine")
    assert timm.settings == {"pretrained": "false"}
    demo = RunRequest(("siim_seg",), ("place?name=mine",))
    check_encoder(encoder_request("place?name=mine", demo))  # its recipe is that of place


def test_encoders_of_one_label_are_two_rows_with_a_mark(store: ResultStore) -> None:
    from bench.report.row_names import row_names

    for backbone, weights in (("file:?arch=a", "1" * 16), ("file:?arch=b", "1" * 16)):
        add(store, backbone, 0.8, {"hash:checkpoint": weights}, label="mine")
    rows = set(row_names(list(store.records().values())).values())
    assert len(rows) == 2 and all(row.startswith("mine (net) [") for row in rows)


def test_one_file_under_three_spellings_is_one_row_and_can_be_renamed(
    example_data: Path, tmp_path: Path
) -> None:
    import timm

    torch.manual_seed(0)
    weights = tmp_path / "net.pth"
    torch.save(timm.create_model("test_resnet", num_classes=0).state_dict(), weights)
    words = ["--plugin", str(EXAMPLE), "run", "stranger_seg", "--data-root", str(example_data)]
    words += ["--set", "epochs=1", *BARE]
    spellings = [
        "file:net.pth?arch=test_resnet",
        f"file:{weights}?arch=test_resnet",
        f"timm:test_resnet?weights={weights}",
    ]
    first = place_bench(*words, "--backbones", ",".join(spellings), cwd=tmp_path)
    assert "2 cell(s) run" in first.stderr  # the encoder's and the baseline's
    assert "is the same encoder as file:net: one row." in first.stderr
    boards = tmp_path / "results" / "leaderboards"
    written = "".join(path.read_text() for path in boards.glob("*.*") if path.suffix != ".png")
    assert "| file:net (test_resnet) |" in written and str(tmp_path) not in written
    record = json.loads((tmp_path / "results/results.jsonl").read_text().splitlines()[0])
    assert record["source"] == f"file:{weights}?arch=test_resnet"

    again = place_bench(*words, "--backbones", f"{spellings[1]}&name=mine", cwd=tmp_path)
    assert "0 cell(s) run, 2 had a result" in again.stderr
    table = (boards / "stranger_seg.md").read_text()
    assert "| mine (test_resnet) |" in table and "file:net" not in table
    compared = place_bench("--plugin", str(EXAMPLE), "compare", "stranger_seg", cwd=tmp_path)
    assert "mine (test_resnet)" in compared.stdout
