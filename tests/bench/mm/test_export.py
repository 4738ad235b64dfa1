"""Plain configs of both frameworks with `type="PlaceBenchBackbone"`, as exported, driven by their
own Runner."""

import json

import cv2
import numpy as np
import pytest
import torch

from bench.contracts import BackboneRequest
from bench.errors import DataError, SettingError
from bench.mm import prepare
from bench.mm.export import export_config

pytestmark = pytest.mark.filterwarnings("ignore")  # of the frameworks, run as their users run them
SIZE = 64


def _data(root):
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


def _runner(path, work_dir):
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
    config.experiment_name = work_dir.name
    return Runner.from_cfg(config)


@pytest.mark.parametrize(("framework", "architecture"), [("mmseg", "vit"), ("mmdet", "resnet")])
def test_an_exported_config_trains_in_the_frameworks_own_runner(framework, architecture, tmp_path):
    prepare(framework)
    request = BackboneRequest("demo", architecture)
    data = _data(tmp_path / "data")
    path = export_config(
        framework,
        "random",
        request,
        tmp_path / "out",
        data_root=str(data),
        frozen=True,
        image_size=SIZE,
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


def test_a_plain_config_fine_tunes_and_selects_levels():
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


def test_the_checkpoint_travels_with_the_config(tmp_path, monkeypatch):
    from types import SimpleNamespace

    from bench.contracts import BACKBONES

    random, seen = BACKBONES.get("random"), []

    def build(request):
        seen.append(request.checkpoint)
        return random.build(BackboneRequest("demo", "resnet"))

    monkeypatch.setattr(BACKBONES, "get", lambda name: SimpleNamespace(build=build))
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"x")
    path = export_config(
        "mmseg", "mine", BackboneRequest("demo", "resnet", checkpoint=weights), tmp_path / "out"
    )
    assert seen == [weights]
    copy = tmp_path / "out" / "encoder.safetensors"
    assert copy.read_bytes() == b"x" and str(copy) in path.read_text()


def test_what_cannot_be_exported_is_said(tmp_path):
    with pytest.raises(SettingError, match="unknown framework 'detectron'.*mmseg, mmdet"):
        export_config("detectron", "random", BackboneRequest("demo"), tmp_path)
    (tmp_path / "random_mmseg.py").write_text("")
    with pytest.raises(DataError, match="random_mmseg.py is there already"):
        export_config("mmseg", "random", BackboneRequest("demo"), tmp_path)
