"""A plug-in that is wrong ends in one sentence that names file, row or attribute and the next step,
with exit code 2, before an image is decoded or anything is trained."""

import re
from pathlib import Path

import pytest

from tests.support.commands import BARE
from tests.support.plugins import RIGHT, Plugin, plugin

__all__ = ["plugin"]
RUN = ("--data-root", "data", "--results", "results", *BARE)


def refused(plugin: Plugin, message: str, *words: str) -> str:
    """Run the command line and return the sentence it ends in."""
    code, said = plugin.run(*words)
    sentence = said.strip()
    assert code == 2, said
    assert "Traceback" not in said and "\n" not in sentence, said
    assert re.search(message, sentence), sentence
    assert sentence.endswith("."), sentence
    return sentence


def untouched(folder: Path) -> bool:
    """Say whether no image was decoded and nothing was measured."""
    return not (folder / "cache" / "images").exists() and not (folder / "results").exists()


def test_the_right_plug_in_runs(plugin: Plugin) -> None:
    code, said = plugin.run("run", "mine_mean", "--backbones", "mine_net", *RUN)
    assert code == 0, said
    assert "1 cell(s) run" in said
    for task in ("mine_cls", "mine_seg", "mine_det"):
        assert plugin.run("run", task, "--backbones", "random", "--dry-run", *RUN)[0] == 0


# ------------------------------------------------------------------------------------ declarations
DECLARED: dict[str, tuple[list[tuple[str, str]], str]] = {
    "no name": ([('    name = "mine"\n', "")], "line 5: dataset Mine lacks name. Add it"),
    "no title": ([('    title = "Mine"\n', "")], "line 5: dataset 'mine' lacks title. Set it"),
    "several attributes": (
        [('    licence = "private"\n    citation = "none"\n', "")],
        "dataset 'mine' lacks licence and citation",
    ),
    "no how_to_get": ([("    how_to_get =", "    how_to =")], "'mine' lacks how_to_get"),
    "an empty title": ([('title = "Mine"', 'title = " "')], "'mine': title is ' '. It must be"),
    "no index": ([("def index(", "def indeks(")], "dataset Mine lacks index"),
    "no validate": ([("def validate(", "def valid(")], "dataset Mine lacks validate"),
    "masks without a method": (
        [("def mask(", "def masks(")],
        r"'mine' has mask_classes and no mask\(\). Write mask\(self, row, root\)",
    ),
    "boxes without classes": (
        [('    box_classes = ("lesion",)\n', "")],
        r"'mine' has boxes\(\) and no box_classes. Name them",
    ),
    "regions without a method": (
        [("has_reports = True", "has_reports = has_regions = True")],
        r"'mine' has has_regions and no regions\(\). Write regions\(self, row, root\)",
    ),
    "regions that are not declared": (
        [
            (
                "    def mask(",
                "    def regions(self, row, root):\n        return []\n\n    def mask(",
            )
        ],
        r"'mine' has regions\(\) and no has_regions. Write has_regions = True",
    ),
    "one class as a text": (
        [('mask_classes = ("lesion",)', 'mask_classes = ("lesion")')],
        "mask_classes is 'lesion'. It must be a tuple",
    ),
    "a demo without a method": (
        [("has_reports = True", "has_reports = has_demo = True")],
        r"has_demo = True and no make_demo\(\)",
    ),
    "arguments that nobody gives": (
        [("    def index(", "    def __init__(self, root):\n        pass\n\n    def index(")],
        "dataset Mine cannot be made without arguments: .*'root'",
    ),
    "masks that the kind needs": (
        [("    def mask(", "    def other("), ('    mask_classes = ("lesion",)\n', "")],
        "task 'mine_seg' is segmentation, which needs masks, and dataset 'mine' has none. Set mask_",
    ),
    "boxes that the kind needs": (
        [("    def boxes(", "    def other("), ('    box_classes = ("lesion",)\n', "")],
        "task 'mine_det' is detection, which needs boxes, and dataset 'mine' has none. Set box_",
    ),
    "labels that the kind needs": (
        [('    label_names = ("ill",)\n', "")],
        "task 'mine_cls' has no labels. Name them",
    ),
    "an unknown option": (
        [('{"uncertain"', '{"uncertian"')],
        "task 'mine_cls' has an option 'uncertian', which classification does not have. Did you "
        "mean uncertain",
    ),
    "an option of another type": (
        [('"uncertain": "zeros"', '"labels": "ill"')],
        "task 'mine_cls', options: setting 'labels' wants tuple, found 'ill'",
    ),
    "an option of a kind that has none": (
        [('"Lesions", "map"', '"Lesions", "map", options={"labels": ("ill",)}')],
        "task 'mine_det' has an option 'labels', which detection does not have",
    ),
    "a label of no column": (
        [('"uncertain": "zeros"', '"labels": ("il",)')],
        "task 'mine_cls' has the label 'il', which dataset 'mine' does not have. Did you mean ill",
    ),
    "an unknown policy": (
        [('"zeros"}', '"zeroes"}')],
        "options: setting 'uncertain' wants one of ones, zeros, ignore or a dict of str to one of ones, "
        "zeros, ignore, found 'zeroes'",
    ),
    "presets of no protocol": (
        [('{"mgca": {', '{"mgcaa": {')],
        "'mine_cls' has presets of protocol 'mgcaa', which .* not have. Did you mean mgca",
    ),
    "an unknown preset": (
        [('"batch_size"', '"batchsize"')],
        "'mine_cls', presets of 'mgca': unknown setting 'batchsize'.* Did you mean batch_size",
    ),
    "a preset of another type": (
        [('"batch_size": "8"', '"batch_size": "eight"')],
        "presets of 'mgca': setting 'batch_size' wants int, found 'eight'",
    ),
    "a published metric of no protocol": (
        [('presets={"mgca": {"batch_size": "8"}}', 'published_metrics={"mgcaa": "auroc"}')],
        "'mine_cls' has a published metric of protocol 'mgcaa'.* Did you mean mgca",
    ),
    "a published metric that is none": (
        [('presets={"mgca": {"batch_size": "8"}}', 'published_metrics={"mgca": "aurok"}')],
        "published metric of task 'mine_cls' under protocol 'mgca' is 'aurok'.* Did you mean auroc",
    ),
    "presets that are none": ([('{"batch_size": "8"}', '"batch_size"')], "presets.'mgca'. is"),
    "an unknown metric": (
        [('main_metric="auroc"', 'main_metric="aurocc"')],
        "main metric of task 'mine_cls' is 'aurocc', .*Did you mean auroc",
    ),
    "an unknown metric of its own kind": (
        [('"Brightness", "mean"', '"Brightness", "means"')],
        "main metric of task 'mine_mean' is 'means', .*Did you mean mean",
    ),
    "an unknown kind": (
        [('"segmentation"', '"segmentaton"')],
        "task 'mine_seg': unknown task kind 'segmentaton'. Did you mean segmentation",
    ),
    "an unknown dataset": (
        [('"segmentation", "mine"', '"segmentation", "mein"')],
        "task 'mine_seg': unknown dataset 'mein'. Did you mean mine",
    ),
    "no main metric": (
        [(', main_metric="auroc"', "")],
        r"failed: TypeError: .*'main_metric' \(line \d+\). Mend that line",
    ),
    "fractions that are none": ([("fractions=(1.0,)", "fractions=(10,)")], r"fractions is \(10,\)"),
    "a fraction alone": ([("fractions=(1.0,)", "fractions=1.0")], "fractions is 1.0. It must be"),
    "groups as a text": ([("fractions=(1.0,)", 'groups="all"')], "groups is 'all'. It must be a t"),
    "a kind without its methods": (
        [("def predict(", "def predicts(")],
        r"abstract class Brightness .*predict.*\(line \d+\)",
    ),
    "a kind without metrics": ([('    metrics = ("mean",)\n', "")], "'brightness' lacks metrics"),
    "a kind by another name": (
        [('KINDS.add("brightness"', 'KINDS.add("bright"')],
        "'bright' calls itself 'brightness'",
    ),
    "a kind that needs what is no annotation": (
        [("    baselines = ()", '    needs = "maskes"')],
        "kind 'brightness' needs 'maskes'.* Did you mean masks",
    ),
    "an encoder's unknown attribute": (
        [('@backbone("mine_net", title=', '@backbone("mine_net", titel=')],
        "backbone 'mine_net' has no attribute 'titel'. Did you mean title",
    ),
    "an architecture that is no function": (
        [('@backbone("mine_net",', '@backbone("mine_net", architecture="resnet9",')],
        "'mine_net': architecture is 'resnet9'. It must be a function",
    ),
    "supervision that is one text": (
        [('@backbone("mine_net",', '@backbone("mine_net", supervision="gaze",')],
        "'mine_net': supervision is 'gaze'. It must be a tuple",
    ),
    "unknown supervision": (
        [('@backbone("mine_net",', '@backbone("mine_net", supervision=("gaz",),')],
        "'mine_net': supervision names 'gaz', which is none of regions, .* Did you mean gaze",
    ),
    "an unknown architecture": (
        [
            (
                '@backbone("mine_net",',
                "from backbones.shared.encoders.architectures import resolve_architecture\n"
                '@backbone("mine_net", architecture=lambda request: '
                "resolve_architecture(request.profile, 'resnet9'),",
            )
        ],
        "backbone 'mine_net': unknown architecture 'resnet9'",
    ),
    "a builder that is no function": (
        [
            (
                '@backbone("mine_net", title="Mine", licence="private")',
                'BACKBONES.add("b", BackboneSpec("b", "B", build="net"))',
            )
        ],
        "backbone 'b': build is 'net'. It must be a function",
    ),
    "a name twice": (
        [("KINDS.add(", "dataset(Mine)\nKINDS.add(")],
        r"line \d+: dataset 'mine' is registered twice. Rename one",
    ),
    "a name of the project": (
        [('@backbone("mine_net"', '@backbone("random"')],
        "backbone 'random' is registered twice",
    ),
    "a name with a space": ([('"mine_seg"', '"mine seg"')], "task name 'mine seg' is not allowed"),
    "a name in capitals": ([('"mine_seg"', '"Mine"')], "task name 'Mine' is not allowed. Use sm"),
    "a name with a colon": ([('"mine_net"', '"mine:net"')], "name 'mine:net' is not allowed"),
    "a name that is no text": ([('"mine_seg"', "7")], "task name 7 is not allowed"),
    "a syntax error": ([("class Mine(Dataset):", "class Mine(Dataset)")], "line 6: expected ':'"),
    "an error at its import": (
        [("from bench.contracts import *", "from bench.contracts import *\n1 / 0")],
        r"mine.py failed: ZeroDivisionError: division by zero \(line 3\). Mend that line",
    ),
    "a module that is not there": (
        [("from bench.contracts import *", "import no_such_module")],
        "failed: ModuleNotFoundError: No module named 'no_such_module'",
    ),
    "the end of the program": (
        [("from bench.contracts import *", "from bench.contracts import *\nraise SystemExit(0)")],
        "failed: SystemExit: 0",
    ),
    "nothing at all": ([(RIGHT, "x = 1\n")], "mine.py registers nothing. Decorate with @dataset"),
}


@pytest.mark.parametrize("wrong", DECLARED)
def test_a_wrong_declaration_is_refused_by_every_command(wrong: str, plugin: Plugin) -> None:
    edits, message = DECLARED[wrong]
    plugin.write(*edits)
    sentence = refused(plugin, message, "list")
    assert str(plugin.file) in sentence
    refused(plugin, message, "run", "mine_cls", "--backbones", "random", *RUN)
    assert untouched(plugin.folder)


METHOD = """
from dataclasses import dataclass
from backbones.shared.pretraining.declare import method
from backbones.shared.pretraining.settings import MethodSettings

{settings}
method("mine_method", {arguments})
"""


@pytest.mark.parametrize(
    ("settings", "arguments", "message"),
    [
        ("", 'network="backbones.nowhere"', "'mine_method': network is 'backbones.nowhere'"),
        ("", 'network="a:B", settings=dict', "'mine_method': settings is <class 'dict'>"),
        ("", 'network="a:B", demo={"epoch": 3}', "demo changes 'epoch', which is not a setting"),
        ("", 'network="a:B", pretrain_on="nowhere"', "pre-trained on 'nowhere', which is no data"),
        ("", 'netwrok="a:B"', r"failed: TypeError: .*'netwrok' \(line \d+\)"),
    ],
)
def test_a_wrong_method_is_refused(
    settings: str, arguments: str, message: str, plugin: Plugin
) -> None:
    plugin.file.write_text(METHOD.format(settings=settings, arguments=arguments))
    assert str(plugin.file) in refused(plugin, message, "list", "backbones")


# ----------------------------------------------------------------------------------------- indexes
def _changed(text: str) -> list[tuple[str, str]]:
    return [("        return index\n", f"        {text}\n        return index\n")]


INDEXES: dict[str, tuple[list[tuple[str, str]], str]] = {
    "no split": ([('            "split": table["split"],\n', "")], "lacks the column 'split'"),
    "two columns missing": (
        _changed('index = index.drop(columns=["patient_id", "label:ill"])'),
        "lacks the columns 'patient_id', 'label:ill'. Needed: image_id",
    ),
    "no report": (_changed('del index["report"]'), "lacks the column 'report'"),
    "a column twice": (
        _changed('index = pd.concat([index, index[["path"]]], axis=1)'),
        "has the column 'path' twice",
    ),
    "integer ids": (
        _changed('index["image_id"] = range(24)'),
        r"row 0 \(images/00.png\): image_id is 0, which is no text but int. Make it text",
    ),
    "integer patients": (
        _changed('index["patient_id"] = [7] * 24'),
        r"row 0 \(images/00.png\): patient_id is 7, which is no text",
    ),
    "an id twice": (
        _changed('index.loc[1, "image_id"] = "00.png"'),
        r"image '00.png' occurs twice \(images/00.png and images/01.png\). Give every image",
    ),
    "a missing patient": (
        _changed('index.loc[3, "patient_id"] = None'),
        r"image '03.png' \(images/03.png\) has a blank patient_id. Complete the table",
    ),
    "a label that is none": (
        _changed('index.loc[5, "label:ill"] = 2'),
        r"image '05.png' \(images/05.png\): label:ill is 2.* Write 1 \(yes\), 0",
    ),
    "labels as words": (
        _changed('index["label:ill"] = "yes"'),
        r"image '00.png' \(images/00.png\): label:ill is 'yes'. Write 1",
    ),
    "an unknown split": (
        _changed('index.loc[2, "split"] = "valid"'),
        r"image '02.png' \(images/02.png\): split is 'valid'. Write train, val or test",
    ),
    "no word for the split": (_changed('index["split"] = None'), "split is None. Write train"),
    "an absolute path": (
        _changed('index.loc[4, "path"] = "/etc/passwd"'),
        "image '04.png': path '/etc/passwd' leads out of",
    ),
    "a path that goes up": (
        _changed('index.loc[4, "path"] = "images/../../x.png"'),
        "image '04.png': path .* leads out of",
    ),
    "paths that are none": (
        _changed('index["path"] = index["path"].map(root.joinpath)'),
        "path is PosixPath.*no text but PosixPath. Make it text",
    ),
    "reports that are numbers": (_changed('index["report"] = 3.5'), "report is 3.5, which is no"),
    "ages as words": (_changed('index["age"] = "old"'), "image '00.png' .*: age is 'old'. Write y"),
    "one mask as a text": (
        _changed('index["mask_paths"] = "m.png"'),
        "image '00.png' .*: mask_paths is 'm.png'. Write a tuple of paths",
    ),
    "no rows": (_changed("index = index[:0]"), "'mine' in .* has no images. Put list.csv"),
    "no table": (_changed("return list(index)"), r"index\(\) of dataset 'mine' returns list. Ret"),
    "an error in it": (
        _changed('index["nope"]'),
        r"index\(\) fails in .*mine.py, line \d+: KeyErr",
    ),
}


@pytest.mark.parametrize("wrong", INDEXES)
def test_a_wrong_index_names_its_row_before_an_image_is_decoded(wrong: str, plugin: Plugin) -> None:
    edits, message = INDEXES[wrong]
    plugin.write(*edits)
    refused(plugin, message, "run", "mine_cls", "--backbones", "random", *RUN)
    assert untouched(plugin.folder)


def test_labels_that_no_column_holds_are_missed_before_an_image_is_decoded(plugin: Plugin) -> None:
    plugin.write(
        ('    label_names = ("ill",)\n', ""),
        ('            "label:ill": table["ill"],\n', ""),
        ('options={"uncertain": "zeros"}', 'options={"labels": ("ill",)}'),
    )
    message = "index of dataset 'mine' has no labels. Set label_names in the dataset"
    refused(plugin, message, "run", "mine_cls", "--backbones", "random", *RUN)
    assert untouched(plugin.folder)


# ---------------------------------------------------------------------------------------- encoders
ENCODERS: dict[str, tuple[tuple[str, str], str]] = {
    "no features": (("def features(", "def feature("), "encoder 'mine_net' lacks features. bench"),
    "no module": (("module = nn.AvgPool2d(8)", "pass"), "encoder 'mine_net' lacks module"),
    "a size of 0": (
        ("InputSpec(size=32, resize=32)", "InputSpec(size=0, resize=32)"),
        "InputSpec: size is 0. It must be a whole number, 1 or more",
    ),
    "a crop larger than the image": (
        ("InputSpec(size=32, resize=32)", "InputSpec(size=32, resize=16)"),
        "InputSpec: resize is 16. It must be at least its size, 32",
    ),
    "a deviation of 0": (
        ("resize=32)", "resize=32, std=(0.0, 1.0, 1.0))"),
        r"InputSpec: std is \(0.0, 1.0, 1.0\). It must be finite numbers above 0",
    ),
    "a mean of two channels": (("resize=32)", "resize=32, mean=(0.5, 0.5))"), "InputSpec: mean is"),
    "an unknown fit": (
        ("resize=32)", "resize=32, fit='crop')"),
        "fit is 'crop'. It must be one of",
    ),
    "an unknown family": (
        ('family = "resnet"', 'family = "cnn"'),
        "family is 'cnn'. Choose resnet",
    ),
    "no batch": (
        ("Features(patches.mean(1)", "Features(patches.mean((0, 1))"),
        r"pooled has shape \[3\] for two images of its input size. \[2, 3\] is expected",
    ),
    "another width": (("patch_dim = 3", "patch_dim = 4"), r"pooled has shape \[2, 3\].*\[2, 4\]"),
    "a grid of other tokens": (
        ("tuple(maps.shape[-2:])", "(3, 3)"),
        r"patches, grid \(3, 3\), has shape \[2, 16, 3\].* \[2, 9, 3\] is expected",
    ),
    "no grid": (("tuple(maps.shape[-2:])", "(0, 16)"), r"grid is \(0, 16\). Give \(height"),
    "not a number": (
        ("Features(patches.mean(1)", "Features(patches.mean(1) * float('nan')"),
        "pooled holds values that are not finite. Check its weights",
    ),
    "whole numbers": (
        ("Features(patches.mean(1)", "Features(patches.mean(1).long()"),
        "pooled is of type torch.int64. Give floating",
    ),
    "no tensor": (("Features(patches.mean(1)", "Features([0.0]"), "pooled is a list. Give a torch"),
    "a tensor alone": (
        ("return Features(", "return patches  # ("),
        "returns Tensor without pooled, patches, grid. Return bench.contracts.Features",
    ),
    "a map too few": (("(maps,))", "())"), "pyramid has 0 maps. pyramid_channels names 1"),
    "a map of another stride": (
        ("pyramid_strides = (8,)", "pyramid_strides = (4,)"),
        r"map 0 of the pyramid has shape \[2, 3, 4, 4\].*\[2, 3, 8, 8\] is expected",
    ),
    "strides too few": (
        ("pyramid_strides = (8,)", "pyramid_strides = ()"),
        "has 1 entries and pyr",
    ),
    "half a text side": (
        ("        def features(", "        has_text = True\n\n        def features("),
        "encoder 'mine_net' has half a text side: it lacks embed_images",
    ),
    "no encoder": (("return Net()", "return None"), "encoder 'NoneType' lacks name, architecture"),
    "an error in its builder": (
        ("return Net()", "return Nett()"),
        r"mine.py failed: NameError: .*Nett.* \(line \d+\). Mend its encoder",
    ),
    "an error in its features": (
        ("maps = self.module(images)", "maps = self.module(images).view(7, 7)"),
        r"mine.py failed: RuntimeError: .* \(line \d+\). Mend its encoder",
    ),
}


@pytest.mark.parametrize("wrong", ENCODERS)
def test_a_wrong_encoder_is_refused_before_an_image_is_decoded(wrong: str, plugin: Plugin) -> None:
    edit, message = ENCODERS[wrong]
    if wrong == "a tensor alone":
        edit = (
            "return Features(patches.mean(1), patches, tuple(maps.shape[-2:]), (maps,))",
            "return patches",
        )
    plugin.write(edit)
    sentence = refused(plugin, message, "run", "mine_cls", "--backbones", "mine_net", *RUN)
    assert str(plugin.file) in sentence
    assert not (plugin.folder / "cache" / "images").exists()
    assert not (plugin.folder / "results" / "results.jsonl").exists()


def test_weights_that_do_not_load_are_a_failed_cell_where_these_are_skipped(
    plugin: Plugin,
) -> None:
    plugin.write(
        (
            "    return Net()",
            "    from bench.core.errors import CheckpointError\n"
            '    raise CheckpointError("no weights.", "Get them.")',
        )
    )
    words = ("run", "mine_mean", "--backbones", "mine_net,random", *RUN)
    assert "no weights. Get them." in refused(plugin, "no weights", *words)
    code, said = plugin.run(*words, "--on-error", "skip")
    assert code == 1 and "1 cell(s) run, 0 had a result, 1 failed" in said, said


# ------------------------------------------------------------------------------------------- kinds
KINDS: dict[str, tuple[tuple[str, str], str]] = {
    "an image missing": (
        ("return Predictions(table)", "return Predictions(table[1:])"),
        r"kind 'brightness' lack 1 of \d+ test images, e.g. '06.png'",
    ),
    "another order": (
        ("return Predictions(table)", "return Predictions(table[::-1])"),
        "row 0 of the predictions of task kind 'brightness' is image '23.png', and '06.png' in the",
    ),
    "an image twice": (
        ("return Predictions(table)", "return Predictions(table.iloc[[0, 0]])"),
        "hold image '06.png' twice",
    ),
    "an image of its own": (
        ("return Predictions(table)", 'return Predictions(table.assign(image_id="x"))'),
        "hold image 'x'",
    ),
    "another patient": (
        ("return Predictions(table)", 'return Predictions(table.assign(patient_id="x"))'),
        "give image '06.png' the patient 'x', whose patient is 'p3'. Keep the rows",
    ),
    "no patients": (
        ("return Predictions(table)", 'return Predictions(table.drop(columns="patient_id"))'),
        "lack the column patient_id. Take both",
    ),
    "an array of another length": (
        ("return Predictions(table)", 'return Predictions(table, {"a": [1]})'),
        r"have \d+ rows and 1 entries of the array 'a'",
    ),
    "a statistic of another shape": (
        ("weights @ values / weights.sum(1)", "weights * values"),
        r"metric 'mean' of task kind 'brightness' gives an array of shape \[1000, \d+\]",
    ),
    "an error in its head": (
        ("        return None\n", "        return context.nothing\n"),
        r"mine.py failed: AttributeError: .*nothing.* \(line \d+\). Mend its kind of task",
    ),
}


@pytest.mark.parametrize("wrong", KINDS)
def test_what_a_wrong_kind_gives_is_refused_and_not_kept(wrong: str, plugin: Plugin) -> None:
    edit, message = KINDS[wrong]
    plugin.write(edit)
    code, said = plugin.run("run", "mine_mean", "--backbones", "mine_net", *RUN)
    sentence = said.strip().splitlines()[-1]
    assert code == 2 and "Traceback" not in said, said
    assert re.search(message, sentence) and str(plugin.file) in sentence, sentence
    assert not list((plugin.folder / "results").rglob("*.npz"))
