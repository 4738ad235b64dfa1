"""Plain configs of both frameworks with `type="PlaceBenchBackbone"`, as exported, driven by their
own Runner."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from backbones.shared.pretraining.trainer import pretrain
from bench.commands.cli import app
from bench.contracts import BACKBONES, BackboneRequest, ImageEncoder, PairData
from bench.core.errors import DataError, SettingError
from bench.core.progress import Silent
from bench.mm import prepare
from bench.mm.export import Framework, Head, export_config
from tests.backbones.published import layouts
from tests.support.pairs import make_subset, recipe

if TYPE_CHECKING:
    from mmengine.runner.runner import Runner

pytestmark = pytest.mark.filterwarnings("ignore")  # of the frameworks, run as their users run them
SIZE = 64


def _data(root: Path) -> Path:
    """Write 4 images with a bright square each, its mask and its COCO box, in both layouts."""
    rng = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    images, annotations = [], []
    for k in range(4):
        x, y = rng.integers(4, 30, 2).tolist()
        image, mask = (
            rng.integers(0, 90, (SIZE, SIZE, 3), dtype=np.uint8),
            np.zeros((SIZE, SIZE), np.uint8),
        )
        image[y : y + 24, x : x + 24], mask[y : y + 24, x : x + 24] = 230, 1
        cv2.imwrite(str(root / "images" / f"{k}.png"), image)
        cv2.imwrite(str(root / "masks" / f"{k}.png"), mask)
        images.append({"id": k, "file_name": f"{k}.png", "width": SIZE, "height": SIZE})
        box = {
            "id": k + 1,
            "image_id": k,
            "category_id": 1,
            "bbox": [x, y, 24, 24],
            "area": 576,
            "iscrowd": 0,
        }
        annotations.append(box)
    coco = {
        "info": {},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "finding"}],
    }
    for split in ("train", "val"):
        (root / f"{split}.json").write_text(json.dumps(coco))
        (root / f"{split}.txt").write_text("".join(f"{k}\n" for k in range(4)))
    return root


def _runner(path: Path, work_dir: Path) -> Runner:
    """Return the framework's Runner of an exported config, made short."""
    from mmengine.config import Config
    from mmengine.runner import Runner

    config = Config.fromfile(path)
    config.work_dir, config.train_cfg.max_epochs, config.log_level = str(work_dir), 1, "ERROR"
    for name in ("train_dataloader", "val_dataloader"):
        config[name].num_workers, config[name].persistent_workers, config[name].batch_size = (
            0,
            False,
            2,
        )
    config.experiment_name = f"{path.stem} {work_dir}"  # mmengine keeps its scope by this name
    return Runner.from_cfg(config)


@pytest.mark.parametrize(("framework", "architecture"), [("mmseg", "vit"), ("mmdet", "resnet")])
def test_an_exported_config_trains_in_the_frameworks_own_runner(
    framework: Framework, architecture: str, tmp_path: Path
) -> None:
    prepare(framework)
    request = BackboneRequest("demo", architecture)
    data = _data(tmp_path / "data")
    path = export_config(
        framework,
        "random",
        request,
        tmp_path / "out",
        Head(data_root=str(data), frozen=True, image_size=SIZE),
    )
    assert (
        "type='PlaceBenchBackbone'" in path.read_text()
        and "bench.mm.registered" in path.read_text()
    )
    runner = _runner(path, tmp_path / framework)
    encoder = {
        name: value.clone()
        for name, value in runner.model.backbone.encoder.module.state_dict().items()
    }
    head = next(
        value.clone()
        for name, value in runner.model.state_dict().items()
        if "head" in name and "weight" in name
    )
    runner.train()
    assert not torch.equal(
        head, next(v for n, v in runner.model.state_dict().items() if "head" in n and "weight" in n)
    )
    for name, value in runner.model.backbone.encoder.module.state_dict().items():
        assert torch.equal(value, encoder[name]), name
    saved = torch.load(tmp_path / framework / "epoch_1.pth", weights_only=False)["state_dict"]
    assert saved and not [name for name in saved if name.startswith("backbone.")]


def test_a_plain_config_fine_tunes_and_selects_levels() -> None:
    prepare("mmdet")
    from mmdet.registry import MODELS

    import bench.mm.registered  # noqa: F401 - what `custom_imports` does

    config = {
        "type": "PlaceBenchBackbone",
        "name": "random",
        "profile": "demo",
        "architecture": "resnet",
        "frozen": False,
    }
    backbone = MODELS.build({**config, "out_indices": [1, 3]})
    found = backbone(torch.zeros(1, 3, 64, 64))
    assert [tuple(level.shape[1:]) for level in found] == [(64, 8, 8), (256, 2, 2)]
    assert all(parameter.requires_grad for parameter in backbone.parameters()) and list(
        backbone.parameters()
    )


# -------------------------------------------------------------------------------------- the command
@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Return a function that pre-trains a method on a few squares, once per session."""
    folders = {}

    def checkpoint(method: str, architecture: str) -> Path:
        if (method, architecture) not in folders:
            pairs = PairData(
                "squares", "demo", make_subset(4, 144, 1), make_subset(4, 144, 2), "0123"
            )
            folder = tmp_path_factory.mktemp(f"{method}-{architecture}")
            what = recipe(method, architecture, epochs="1")
            folders[method, architecture] = pretrain(what, pairs, progress=Silent(), out=folder)
        return folders[method, architecture]

    return checkpoint


def _export(*words: str | Path | int, code: int = 0) -> BaseException | None:
    done = CliRunner().invoke(app, ["export", *map(str, words)], catch_exceptions=True)
    assert done.exit_code == code, (done.output, done.exception)
    return done.exception


def _forward(path: Path, framework: str, work_dir: Path) -> tuple[Any, ...]:
    """Build the model of a config in the framework's Runner, with its weights, and predict on one
    grey image; return the encoder's maps of zeros, and what was predicted."""
    prepare(framework)
    runner = _runner(path, work_dir)
    runner.model.init_weights()
    model = runner.model.eval()
    size = runner.cfg.val_dataloader.dataset.pipeline[2]["scale"][0]
    if framework == "mmseg":
        from mmseg.structures import SegDataSample as Sample
    else:
        from mmdet.structures import DetDataSample as Sample
    shape = {"img_shape": (size, size), "ori_shape": (size, size), "scale_factor": (1.0, 1.0)}
    image = torch.full((3, size, size), 100, dtype=torch.uint8)
    (found,) = model.test_step(
        {
            "inputs": [image],
            "data_samples": [Sample(metainfo={**shape, "batch_input_shape": (size, size)})],
        }
    )
    with torch.no_grad():
        return model.backbone(torch.zeros(1, 3, size, size)), found, size


def _same_maps(maps: tuple[Any, ...], backbone: ImageEncoder, size: int) -> None:
    with torch.no_grad():
        pyramid = backbone.features(torch.zeros(1, 3, size, size)).pyramid
    for one, other in zip(maps, pyramid, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("given", ["folder", "weights file"])
@pytest.mark.parametrize("framework", ["mmseg", "mmdet"])
def test_a_trained_encoder_goes_on_in_the_frameworks_runner(
    framework: str,
    given: str,
    trained: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = trained("place", "resnet")
    checkpoint = folder if given == "folder" else folder / "model.safetensors"
    out = tmp_path / "mine"
    _export(framework, "place", "--checkpoint", checkpoint, "--out", out, "--image-size", SIZE)
    names = {f"place_{framework}.py", f"place_{framework}_encoder"}
    assert {path.name for path in out.iterdir()} == names
    assert not list(out.rglob("*.png"))  # a picture may show licensed radiographs
    moved = out.rename(tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    maps, found, size = _forward(moved / f"place_{framework}.py", framework, tmp_path / "work")
    assert size == SIZE
    _same_maps(maps, BACKBONES.get("place").build(BackboneRequest("demo", checkpoint=folder)), size)
    if framework == "mmseg":
        assert found.pred_sem_seg.data.shape == (1, SIZE, SIZE)
    else:
        assert len(found.pred_instances.bboxes) == len(found.pred_instances.scores)


@pytest.mark.parametrize("framework", ["mmseg", "mmdet"])
def test_a_published_encoder_of_three_maps_is_exported(
    framework: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(layouts.file_of("medklip"), tmp_path / "MedKLIP.pth")
    monkeypatch.chdir(tmp_path)
    name = "medklip?weights=MedKLIP.pth"
    _export(framework, name, "--out", "out", "--image-size", SIZE, "--profile", "paper")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")  # the config means the same from any folder
    path = tmp_path / "out" / f"medklip_{framework}.py"
    maps, _, size = _forward(path, framework, tmp_path / "work")
    assert len(maps) == 3
    wanted = BackboneRequest("paper", settings={"weights": str(tmp_path / "MedKLIP.pth")})
    _same_maps(maps, BACKBONES.get("medklip").build(wanted), size)


def test_a_published_file_given_as_a_checkpoint_travels_with_the_config(tmp_path: Path) -> None:
    weights = tmp_path / "MedKLIP.pth"
    torch.save(layouts.file_of("medklip"), weights)
    words: list[str | Path] = [
        "--checkpoint",
        weights,
        "--out",
        tmp_path / "out",
        "--profile",
        "paper",
    ]
    _export("mmdet", "medklip", *words, "--image-size", SIZE)
    expected = BACKBONES.get(f"medklip?weights={weights}").build(BackboneRequest("paper"))
    weights.unlink()
    maps, _, size = _forward(tmp_path / "out" / "medklip_mmdet.py", "mmdet", tmp_path / "work")
    _same_maps(maps, expected, size)


@pytest.mark.parametrize("framework", ["mmseg", "mmdet"])
@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("timm:test_resnet?pretrained=false", "timm_test_resnet_pretrained_false"),
        ("timm:test_vit?weights=net.pth", "timm_test_vit_weights_net"),
        ("file:net.pth?arch=test_vit", "file_net_arch_test_vit"),
        ("random", "random"),
    ],
)
def test_other_encoders_are_exported(
    framework: str, name: str, stem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import timm

    torch.save(timm.create_model("test_vit", num_classes=0).state_dict(), tmp_path / "net.pth")
    monkeypatch.chdir(tmp_path)
    _export(framework, name, "--out", "out")
    expected = BACKBONES.get(name).build(BackboneRequest("demo"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    path = tmp_path / "out" / f"{stem}_{framework}.py"
    maps, _, size = _forward(path, framework, tmp_path / "work")
    assert size == expected.input.size
    _same_maps(maps, expected, size)


def test_mmsegmentations_own_vit_has_the_same_features(
    trained: Callable[..., Any], tmp_path: Path
) -> None:
    folder = trained("convirt", "vit")
    words: list[str | Path] = [
        "--checkpoint",
        folder,
        "--arch",
        "vit",
        "--out",
        tmp_path / "out",
        "--native",
    ]
    _export("mmseg", "convirt", *words)
    path = tmp_path / "out" / "convirt_mmseg.py"
    assert "PlaceBenchBackbone" not in path.read_text()
    maps, _, size = _forward(path, "mmseg", tmp_path / "work")
    ours: Any = BACKBONES.get("convirt").build(BackboneRequest("demo", "vit", checkpoint=folder))
    with torch.no_grad():
        pyramid = ours.features(torch.zeros(1, 3, size, size)).pyramid
        plain = ours.encoder.model.forward_intermediates(
            torch.zeros(1, 3, size, size), indices=ours.encoder.blocks, norm=False
        )[1]
    torch.testing.assert_close(maps[-1], pyramid[-1], atol=1e-5, rtol=1e-4)
    for one, other in zip(maps[:-1], plain[:-1], strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["mmdet", "random", "--native", "--arch", "vit"], "mmdet has no VisionTransformer"),
        (["mmseg", "random", "--native", "--arch", "resnet"], "is not a ViT of timm"),
        (["mmseg", "timm:test_vit3?pretrained=false", "--native"], "lacks"),
        (["mmseg", "baseline:prior_mask"], "has no encoder"),
        (["mmdet", "place", "--checkpoint", "nowhere"], "nowhere does not exist"),
        (["mmdet", "random", "--checkpoint", __file__], "is untrained: it reads no checkpoint"),
        (["mmdet", "timm:test_vit", "--checkpoint", __file__], "does not read checkpoint"),
    ],
)
def test_a_refused_export_leaves_nothing(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    error = _export(*words, "--out", "deep/out", code=1)
    assert message in str(error) and not list(tmp_path.iterdir())


def test_an_export_that_breaks_while_it_writes_leaves_nothing(
    trained: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    folder = trained("place", "resnet")
    out = tmp_path / "deep" / "out"
    monkeypatch.setattr("bench.mm.export._dump", _full_disk)
    error = _export("mmdet", "place", "--checkpoint", folder, "--out", out, code=1)
    assert isinstance(error, OSError) and not (tmp_path / "deep").exists()


def _full_disk(config: dict[str, Any], path: Path) -> None:
    raise OSError("No space left on device")


def test_two_exports_share_a_folder_and_force_writes_again(
    trained: Callable[..., Any], tmp_path: Path
) -> None:
    folder, out = trained("place", "resnet"), tmp_path / "out"
    for framework in ("mmseg", "mmdet"):
        _export(framework, "place", "--checkpoint", folder, "--out", out)
    error = _export("mmdet", "place", "--checkpoint", folder, "--out", out, code=1)
    assert "place_mmdet.py is there already" in str(error)
    (out / "place_mmdet_encoder" / "model.safetensors").write_bytes(b"old")
    _export("mmdet", "place", "--checkpoint", folder, "--out", out, "--force")
    written = (out / "place_mmdet_encoder" / "model.safetensors").read_bytes()
    assert written == (folder / "model.safetensors").read_bytes()
    assert len(list(out.iterdir())) == 4


def test_what_cannot_be_exported_is_said(tmp_path: Path) -> None:
    other: Any = "detectron"
    with pytest.raises(SettingError, match="unknown framework 'detectron'.*mmseg, mmdet"):
        export_config(other, "random", BackboneRequest("demo"), tmp_path)
    (tmp_path / "random_mmseg.py").write_text("")
    with pytest.raises(DataError, match="random_mmseg.py is there already"):
        export_config("mmseg", "random", BackboneRequest("demo"), tmp_path)
