"""What a run means before it runs: cells, keys, and what decides neither."""

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.cells.cell import Cell
from bench.cells.encoders import PretrainRequest, check_encoder
from bench.cells.engines.local import Job, run_jobs
from bench.cells.prepare import EncoderRef, TaskPlan, make_cell, plan_task, settings_id
from bench.cells.request import RunRequest, check_request
from bench.cells.results import ResultStore
from bench.contracts import BACKBONES, TASKS, Profile
from bench.core.errors import SettingError
from bench.core.hashing import flatten
from bench.core.progress import Silent
from bench.data.images import read_image
from tests.tasks.datasets.fakes import write_siim


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE_BENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def two_orders(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """Yield two folders of the same data whose tables have their rows in another order."""
    roots = (tmp_path / "one" / "siim", tmp_path / "two" / "siim")
    for root in roots:
        write_siim(root)
    table = roots[1] / "train-rle.csv"
    header, *rows = table.read_text().splitlines()
    random.Random(1).shuffle(rows)
    table.write_text("\n".join([header, *rows]) + "\n")
    yield roots[0].parent, roots[1].parent


def planned(task: str, root: Path, **changes: Any) -> tuple[TaskPlan, RunRequest]:
    request = replace(RunRequest((task,), ("random",), data_root=root, workers=1), **changes)
    return plan_task(task, request, Silent()), request


def cell_of(plan: TaskPlan, request: RunRequest) -> Cell:
    encoder = EncoderRef("resnet_demo")
    return make_cell(plan, BACKBONES.get("random"), encoder, 1.0, 0, request)


@pytest.mark.parametrize("task", ["siim_seg", "siim_cls"])
def test_rows_in_another_order_are_the_same_cell(task: str, two_orders: tuple[Path, Path]) -> None:
    (one, request), (two, _) = (planned(task, root) for root in two_orders)
    assert one.index["image_id"].tolist() == two.index["image_id"].tolist()
    assert one.index["split"].tolist() == two.index["split"].tolist()
    assert cell_of(one, request).key == cell_of(two, request).key


def test_rows_in_another_order_give_the_same_bits(
    two_orders: tuple[Path, Path], tmp_path: Path
) -> None:
    tables = []
    for root, name in zip(two_orders, ("one", "two"), strict=True):
        plan, request = planned("siim_cls", root, results=tmp_path / name)
        job = Job(cell_of(plan, request), plan, EncoderRef(""))
        assert not run_jobs([job], request, Silent()).failed
        tables.append(ResultStore(request.results).load_predictions(job.cell.key).table)
    scores = [table["score:Pneumothorax"].to_numpy() for table in tables]
    assert tables[0]["image_id"].tolist() == tables[1]["image_id"].tolist()
    np.testing.assert_array_equal(scores[0], scores[1])


def test_a_published_procedure_sees_the_table_as_it_is(two_orders: tuple[Path, Path]) -> None:
    """MGCA draws by the order of the rows: another order is another split of its own."""
    one, two = (planned("siim_seg", root, protocol="mgca")[0] for root in two_orders)
    assert one.split_hash != two.split_hash


@pytest.mark.parametrize("published", ["mgca", "gloria"])
@pytest.mark.parametrize("task", ["siim_seg", "siim_cls"])
def test_published_protocols_stretch_stored_values_to_their_maximum(
    task: str, published: str, two_orders: tuple[Path, Path]
) -> None:
    default, mgca = (
        planned(task, two_orders[0], protocol=protocol)[0].prepared
        for protocol in ("default", published)
    )
    image = default.image_store.ids[0]
    stored = read_image(two_orders[0] / "siim" / default.index["path"][0])
    brightest = [
        int(store.pixels[store.positions[list(store.ids).index(image)]].max())
        for store in (default.image_store, mgca.image_store)
    ]
    assert stored.max() < 255
    assert brightest[0] <= stored.max() < brightest[1]
    assert default.data_hash != mgca.data_hash


def test_a_main_metric_that_no_result_will_have_is_refused_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wrong = replace(TASKS.get("siim_seg"), name="wrong_seg", main_metric="dice_per_imgae")
    monkeypatch.setitem(TASKS._items, "wrong_seg", wrong)
    with pytest.raises(SettingError, match=r"'wrong_seg' is 'dice_per_imgae'.*Did you mean dice"):
        check_request(RunRequest(("wrong_seg",), ("random",)))


@pytest.mark.parametrize(
    ("presets", "message"),
    [
        ({"mgcaa": {"batch_size": "8"}}, "protocol 'mgcaa'.*Did you mean mgca"),
        ({"mgca": {"batch_siez": "8"}}, "unknown setting 'batch_siez'.*Did you mean batch_size"),
        ({"mgca": {"batch_size": "0"}}, "'batch_size' is 0"),
    ],
)
def test_wrong_presets_of_a_task_are_refused_first(
    presets: dict[str, dict[str, str]], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = replace(TASKS.get("siim_seg"), name="wrong_seg", presets=presets)
    monkeypatch.setitem(TASKS._items, "wrong_seg", wrong)
    with pytest.raises(SettingError, match=message):
        check_request(RunRequest(("wrong_seg",), ("random",)))


MEANINGLESS = {
    "siim_seg": (
        "lr=inf", "lr=nan", "weight_decay=inf", "weight_decay=-1", "patience=-1", "patience=0",
        "min_area=-1",
        "min_area=nan", "min_area=inf", "auxiliary_weight=-1", "auxiliary_weight=nan",
        "auxiliary_weight=inf",
        "focal_weight=-1", "setr_channels=0", "setr_channels=-1", "unet_channels=0",
        "unet_channels=-1",
        "unet_channels=", "batch_size=0", "batch_size=-1", "threshold=nan", "warmup=nan",
    ),
    "siim_cls": (
        "clip=-1", "clip=nan", "clip=inf", "penalties=nan", "penalties=", "betas=0.9", "betas=",
        "betas=0.9,0.9,0.9",
        "neighbours=0", "shots=-1",
    ),
    "chexpert_zs": ("scale=nan", "scale=inf", "scale=0"),
    "rsna_det": ("clip=-1", "nms_iou=nan", "channels=0", "min_score=inf", "positive_share=1"),
    "iu_rg": ("length_penalty=nan", "beam=0", "width=-4", "min_lr=inf", "label_smoothing=1",
    "dropout=nan"),
    "chexpert5x200_ret": ("ks=0", "ks=", "batch=1"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("task", "setting"), [(task, each) for task, several in MEANINGLESS.items() for each in several]
)
def test_a_setting_that_means_nothing_is_refused_with_the_request(task: str, setting: str) -> None:
    key, _, value = setting.partition("=")
    with pytest.raises(SettingError, match=f"'{key}'"):
        check_request(RunRequest((task,), ("random",), settings={key: value}))


PRETRAINING = (
    "embed_dim=0", "embed_dim=-1", "tau1=-1", "tau1=inf", "text_layers=-1", "text_layers=0",
    "ema=-1", "ema=nan",
    "ema=inf", "projection_hidden=0", "projection_hidden=-1", "text_width=-1", "lr=nan",
    "weight_decay=nan",
    "batch_size=0", "max_tokens=1", "vpoe_width=30", "heads=7", "mask_ratio=0",
    "duplicate_cosine=nan",
)  # fmt: skip


@pytest.mark.parametrize("setting", PRETRAINING)
def test_a_setting_of_pre_training_that_means_nothing_is_refused(setting: str) -> None:
    key, _, value = setting.partition("=")
    asked = PretrainRequest("place", settings={key: value})
    with pytest.raises(SettingError, match=f"pre-training of 'place': .*{key}"):
        check_encoder(asked)


def test_a_pre_training_without_a_loss_is_refused() -> None:
    nothing = {"lambda_ita": "0", "lambda_pcma": "0", "lambda_cce": "0"}
    with pytest.raises(SettingError, match="lambda_ita, lambda_pcma, lambda_cce are all 0"):
        check_encoder(PretrainRequest("place", settings=nothing))


def test_no_thread_trains_nothing() -> None:
    with pytest.raises(SettingError, match="'threads' is 0"):
        check_request(RunRequest(("siim_seg",), ("random",), threads=0))


@pytest.mark.parametrize("name", TASKS.names())
@pytest.mark.parametrize("profile", ["demo", "paper"])
def test_every_task_has_a_main_metric_that_its_kind_gives(name: str, profile: Profile) -> None:
    check_request(RunRequest((name,), ("random",), profile=profile))


def test_all_validation_images_choose_whatever_the_label_fraction(
    two_orders: tuple[Path, Path],
) -> None:
    plan, _ = planned("siim_cls", two_orders[0])
    val = plan.index[plan.index["split"] == "val"]
    assert plan.validation_rows(0.1, 0)["image_id"].tolist() == val["image_id"].tolist()


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Return a folder of enough data for a share of the validation patients."""
    write_siim(tmp_path / "many" / "siim", images=90)
    return tmp_path / "many"


def test_validation_labels_can_be_cut_by_the_label_fraction(many: Path) -> None:
    """Nested, by patient, drawn by the seed; a key of its own."""
    plan, request = planned("siim_cls", many, settings={"validation": "fraction"})
    val = plan.index[plan.index["split"] == "val"]
    small, large, whole = (set(plan.validation_rows(f, 0)["image_id"]) for f in (0.1, 0.5, 1.0))
    assert small < large < whole == set(val["image_id"])
    patients = val.groupby("patient_id")["image_id"].agg(set)
    assert all(images <= large or not images & large for images in patients)
    usual, _ = planned("siim_cls", many)
    assert cell_of(plan, request).key != cell_of(usual, request).key
    (cut,) = [
        name for name in cell_of(plan, request).settings if name not in flatten(usual.settings)
    ]
    assert cut == "validation"


def test_a_cell_is_fitted_on_the_validation_images_of_its_fraction(
    many: Path, tmp_path: Path
) -> None:
    settings = {"validation": "fraction"}
    plan, request = planned("siim_cls", many, results=tmp_path / "r", settings=settings)
    encoder = EncoderRef("resnet_demo")
    cell = make_cell(plan, BACKBONES.get("random"), encoder, 0.5, 0, request)
    assert not run_jobs([Job(cell, plan, encoder)], request, Silent()).failed
    (record,) = ResultStore(request.results).records().values()
    assert record["n:val"] == len(plan.validation_rows(0.5, 0)) < len(plan.validation_rows(1, 0))
    assert record["setting:validation"] == "fraction"


def test_threads_belong_to_a_cell_whose_head_is_trained(two_orders: tuple[Path, Path]) -> None:
    plan, request = planned("siim_cls", two_orders[0])
    two, four = (cell_of(plan, replace(request, threads=count)) for count in (2, 4))
    assert two.key != four.key and settings_id(two) != settings_id(four)
    assert two.key == cell_of(plan, replace(request, threads=2)).key


def test_threads_are_no_part_of_a_cell_in_which_nothing_is_trained() -> None:
    plain = Cell("t", "zero_shot", "d", "b", "", 1.0, 0, "default", "demo", "demo", "", "", "", 1)
    assert plain.threads is None
    assert replace(plain, threads=2).key != plain.key
