"""YOLOv3's head with MGCA's assignment, loss and score, registered in mmdetection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy, mse_loss

from bench.mm import prepare

prepare("mmdet")

from mmdet.models.dense_heads import YOLOV3Head  # noqa: E402 - mmdet imports only after `prepare`
from mmdet.registry import MODELS  # noqa: E402


@MODELS.register_module(force=True)
class MaskedYOLOHead(YOLOV3Head):
    """mmdetection's YOLOv3 head with MGCA's assignment, loss and score (`loss_kind` mgca), or its
    own (mmdet).

    MGCA: per scale every true box belongs to the anchor of best shape in its cell; 2.5 (BCE x + BCE
    y + MSE w + MSE h) + BCE(confidence on objects) + 0.5 BCE(confidence elsewhere) + BCE(class),
    each the mean over all cells, zero outside its mask; anchors whose shape has an IoU above 0.5
    with a box are no background. An assigned anchor of a lower IoU is an object and background at
    once. The score is the objectness (MGCA 680fe4a). At most `cfg.nms_pre` boxes of the highest
    objectness go into non-maximum suppression.
    """

    ignore_iou = 0.5

    def __init__(self, loss_kind: Literal["mgca", "mmdet"] = "mgca", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.loss_kind = loss_kind

    # ----------------------------------------------------------------------------------------- loss
    def loss_by_feat(
        self,
        pred_maps: Sequence[Tensor],
        batch_gt_instances: Any,
        batch_img_metas: Any,
        batch_gt_instances_ignore: Any = None,
    ) -> dict[str, Any]:
        """Return the losses of raw maps [B, A (5 + K), H, W] per scale."""
        if self.loss_kind == "mmdet":
            return super().loss_by_feat(
                pred_maps, batch_gt_instances, batch_img_metas, batch_gt_instances_ignore
            )
        terms = [
            self._scale_loss(maps, level, batch_gt_instances)
            for level, maps in enumerate(pred_maps)
        ]
        return {
            f"loss_{name}": [term[name] for term in terms] for name in ("xy", "wh", "conf", "cls")
        }

    def _scale_loss(self, maps: Tensor, level: int, truth: Any) -> dict[str, Tensor]:
        batch, _, height, width = maps.shape
        outputs = (
            maps.float()
            .view(batch, self.num_base_priors, self.num_attrib, height, width)
            .permute(0, 1, 3, 4, 2)
        )
        target, mask, background = self._targets(truth, level, outputs)
        x, y, confidence = (outputs[..., channel].sigmoid() for channel in (0, 1, 4))
        x_loss = binary_cross_entropy(x * mask, target[..., 0] * mask)
        y_loss = binary_cross_entropy(y * mask, target[..., 1] * mask)
        width_loss = mse_loss(outputs[..., 2] * mask, target[..., 2] * mask)
        height_loss = mse_loss(outputs[..., 3] * mask, target[..., 3] * mask)
        conf = binary_cross_entropy(confidence * mask, mask)
        conf = conf + 0.5 * binary_cross_entropy(
            confidence * background, torch.zeros_like(background)
        )
        classes = outputs[..., 5:].sigmoid() * mask[..., None]
        return {
            "xy": 2.5 * (x_loss + y_loss),
            "wh": 2.5 * (width_loss + height_loss),
            "conf": conf,
            "cls": binary_cross_entropy(classes, target[..., 5:]),
        }

    def _targets(self, truth: Any, level: int, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return targets [B, A, H, W, 5 + K], the mask of assigned anchors and that of background
        [B, A, H, W]."""
        target = torch.zeros_like(like)
        stride = self.featmap_strides[level]
        mask = like.new_zeros(like.shape[:-1])
        background = like.new_ones(like.shape[:-1])
        anchors = like.new_tensor(self.prior_generator.base_sizes[level]) / stride
        limit = like.new_tensor([like.shape[3] - 1, like.shape[2] - 1])
        for image, boxes in enumerate(truth):
            corners = boxes.bboxes.to(like) / stride
            centre = (corners[:, :2] + corners[:, 2:]) / 2
            size = corners[:, 2:] - corners[:, :2]
            column, row = torch.minimum(centre.floor(), limit).long().unbind(1)
            overlap = _shape_iou(size, anchors)
            box, anchor = (overlap > self.ignore_iou).nonzero(as_tuple=True)
            background[image, anchor, row[box], column[box]] = 0
            # of two boxes in one place the later counts
            for k, best in enumerate(overlap.argmax(dim=1).tolist()):
                cell = (image, best, int(row[k]), int(column[k]))
                mask[cell] = 1
                target[cell] = 0
                target[cell][:2] = centre[k] - torch.stack([column[k], row[k]])
                target[cell][2:4] = (size[k] / anchors[best] + 1e-16).log()
                target[cell][5 + int(boxes.labels[k])] = 1
        return target, mask, background

    # -------------------------------------------------------------------------------------- reading
    def predict_by_feat(
        self, pred_maps: Sequence[Tensor], batch_img_metas: Any, cfg: Any = None, **kwargs: Any
    ) -> Any:
        """Return the boxes of raw maps."""
        cfg = self.test_cfg if cfg is None else cfg
        shaped = [
            maps.float().view(len(maps), self.num_base_priors, self.num_attrib, *maps.shape[2:])
            for maps in pred_maps
        ]
        objectness = torch.cat([maps[:, :, 4].flatten(1) for maps in shaped], dim=1)
        count = min(cfg.nms_pre, objectness.shape[1])
        floor = objectness.topk(count, dim=1).values[:, -1]
        read = [self._readable(maps, floor) for maps in shaped]
        maps = [level.reshape(len(level), -1, *level.shape[3:]) for level in read]
        cfg = type(cfg)({**cfg, "nms_pre": objectness.shape[1] * self.num_classes})
        return super().predict_by_feat(maps, batch_img_metas, cfg=cfg, **kwargs)

    def _readable(self, maps: Tensor, floor: Tensor) -> Tensor:
        """Silence all but the highest objectness; under MGCA's score the likeliest class is
        certain."""
        maps = maps.clone()
        weak = maps[:, :, 4] < floor[:, None, None, None]
        maps[:, :, 4] = maps[:, :, 4].masked_fill(weak, -50.0)
        if self.loss_kind == "mgca":
            best = maps[:, :, 5:].argmax(dim=2, keepdim=True)
            maps[:, :, 5:] = torch.full_like(maps[:, :, 5:], -50.0).scatter_(2, best, 50.0)
        return maps


def _shape_iou(size: Tensor, anchors: Tensor) -> Tensor:
    """Return the IoU [n, A] of sizes [n, 2] and anchors [A, 2] laid on one corner, counting both
    end pixels (+1)."""
    inner = torch.minimum(size[:, None], anchors[None]) + 1
    areas = (size[:, None] + 1).prod(dim=-1)
    anchor_areas = (anchors[None] + 1).prod(dim=-1)
    common = inner.prod(dim=-1)
    return common / (areas + anchor_areas - common + 1e-16)
