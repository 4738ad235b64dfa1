"""`place-bench check`: everything that a plug-in lacks in one list, line by line."""

import json
import re
from pathlib import Path

import pytest

from bench.contracts import DATASETS, TASKS
from tests.support.plugins import RIGHT, Plugin, plugin

__all__ = ["plugin"]
METHOD = Path(__file__).parents[3] / "docs" / "examples" / "method.py"
LESS = RIGHT[RIGHT.index('task(TaskSpec("mine_seg"') : RIGHT.index('@backbone("mine_net"')]
"""Tasks whose heads take seconds to train."""
DEMO = """    has_demo = True

    def make_demo(self, out, *, studies, size, seed, workers=2, progress=None):
        import cv2
        import numpy as np

        (out / "images").mkdir(parents=True)
        lines = ["image,patient,split,ill"]
        for number in range(studies):
            cv2.imwrite(str(out / "images" / f"{number}.png"), np.zeros((size, size), "uint8"))
            lines.append(f"{number}.png,p{number},train,{number % 2 * DEMO_LABEL}")
        (out / "list.csv").write_text("\\n".join(lines) + "\\n")

    def index("""


def checked(plugin: Plugin, *words: str) -> tuple[int, str]:
    """Check the plug-in on the command line."""
    return plugin.run_alone("check", str(plugin.file), *words)


def test_a_right_plug_in_is_ok_line_by_line(plugin: Plugin) -> None:
    plugin.write((LESS, ""), ("    def index(", DEMO.replace("DEMO_LABEL", "1")))
    code, said = checked(plugin)
    assert code == 0, said
    assert max(map(len, said.splitlines())) <= 80
    assert said.splitlines() == [
        "declarations",
        "  ok         import. dataset mine, task kind brightness, task mine_mean,",
        "             backbone mine_net",
        "dataset mine",
        "  ok         index of its demo. 16 images of 16 patients",
        "backbone mine_net",
        "  ok         features. average, 32 px",
        "task mine_mean",
        "  ok         head. 1 metric",
    ]
    assert "squares-of-check" not in DATASETS and "mine_mean.tiny" not in TASKS
    left = {path.name for path in plugin.folder.iterdir()}
    assert left == {"data", "mine.py"}, "a check keeps nothing"


def test_all_faults_are_listed_at_once(plugin: Plugin) -> None:
    plugin.write(
        (LESS, 'task(TaskSpec("mine_cls", "classification", "mine", "Ill", "aurocc"))\n\n\n'),
        ('    title = "Mine"\n', ""),
        ('"Brightness", "mean"', '"Brightness", "means"'),
        ("patch_dim = 3", "patch_dim = 4"),
        ("(maps,))", "())"),
    )
    code, said = checked(plugin)
    text = " ".join(said.split())
    assert code == 2, said
    for message in (
        "missing: import. line 5: dataset 'mine' lacks title.",
        "missing: import. the main metric of task 'mine_cls' is 'aurocc'",
        "missing: import. the main metric of task 'mine_mean' is 'means'",
        "dataset mine not tried index. Mend the declarations first.",
        "missing: features. encoder 'mine_net': pooled has shape [2, 3]",
        "missing: features. encoder 'mine_net': patches, grid (4, 4), has shape [2, 16, 3]",
        "missing: features. encoder 'mine_net': pyramid has 0 maps.",
        "task mine_mean not tried head. Mend the declarations first.",
    ):
        assert message in text, said
    assert str(plugin.file) not in said


def test_a_demo_that_does_not_read_is_named(plugin: Plugin) -> None:
    plugin.write((LESS, ""), ("    def index(", DEMO.replace("DEMO_LABEL", "7")))
    code, said = checked(plugin, "--json")
    assert code == 2
    lines = {line["what"]: line for line in json.loads(said)}
    assert lines["dataset mine"]["state"] == "missing"
    assert "image '1.png' (images/1.png): label:ill is 7" in lines["dataset mine"]["message"]
    assert lines["task mine_mean"] == {
        "what": "task mine_mean",
        "part": "head",
        "state": "ok",
        "message": "1 metric",
    }


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("        return None\n", "        return train.nothing\n", "AttributeError: .*nothing"),
        ("return Predictions(table)", "return Predictions(table[1:])", "lack 1 of 6 test images"),
        ("weights @ values / weights.sum(1)", "weights", "gives an array of shape"),
        ('{"mean": lambda', '{"average": lambda', "'mine_mean' has no metric 'mean'"),
    ],
)
def test_a_head_that_fails_is_missing(old: str, new: str, message: str, plugin: Plugin) -> None:
    plugin.write((LESS, ""), (old, new))
    code, said = checked(plugin)
    assert code == 2
    assert re.search(f"task mine_mean missing: head.*{message}", " ".join(said.split())), said


def test_what_does_not_import_is_the_one_line(plugin: Plugin) -> None:
    plugin.file.write_text("x = (\n")
    code, said = checked(plugin)
    assert code == 2 and said.splitlines()[0] == "declarations"
    assert "missing:   import. line 1: '(' was never closed." in said
    code, said = plugin.run_alone("check", "nowhere.py")
    assert code == 2 and "nowhere.py does not exist" in " ".join(said.split())


@pytest.mark.slow
def test_a_method_is_trained_for_one_epoch(plugin: Plugin) -> None:
    plugin.file.write_text(METHOD.read_text())
    code, said = checked(plugin)
    assert code == 0, said
    assert "ok         one epoch, then features. resnet_demo, 128 px" in said


NEEDS = """    bias: Annotated[float, Range(-100, 100)] = -10.0

    def needs(self):
        from bench.data.annotations import Regions, Reports

        return (Reports(), Regions())

"""


@pytest.mark.slow
def test_a_method_that_reads_regions_is_tried_on_squares_that_have_them(plugin: Plugin) -> None:
    text = METHOD.read_text().replace(
        "    bias: Annotated[float, Range(-100, 100)] = -10.0\n", NEEDS, 1
    )
    plugin.file.write_text(
        text.replace("logits = ", 'assert batch["has_region"].any()\n        logits = ')
    )
    code, said = checked(plugin)
    assert code == 0, said
    assert "ok         one epoch, then features. resnet_demo, 128 px" in said
