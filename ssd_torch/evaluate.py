"""Measuring: the sums of a batch, and a dataset's metrics and detections."""

import torch

from ssd_common.config import LossConfig, PredictConfig
from ssd_common.data.ground_truth import batches_with_truth
from ssd_common.data.measured import GroupMeter
from ssd_common.data.prefetch import Prefetched
from ssd_common.data.sampling import in_order
from ssd_common.group import ALONE

from .data import to_device
from .losses import bbox_eval, cls_eval, loss_terms
from .predict import detect, forward
from .targets import multibox_target


def batch_metrics(cls, bbox, cls_preds, cls_labels, bbox_preds, bbox_labels, bbox_masks):
    """Return the sums over one batch from which `EpochMeter` computes the metrics.

    Args:
        cls: class loss of every image, `(batch,)`.
        bbox: offset loss of every image, `(batch,)`.
        cls_preds: see `loss_terms`, and so the rest.
    """
    with torch.no_grad():
        return {
            "examples": len(cls),
            "cls_loss": cls.sum(),
            "bbox_loss": bbox.sum(),
            "correct": cls_eval(cls_preds, cls_labels),
            "positives": (cls_labels > 0).sum(),
            "anchors": cls_labels.numel(),
            "abs_error": bbox_eval(bbox_preds, bbox_labels, bbox_masks),
            "abs_offsets": torch.abs(bbox_labels).sum(),
            "offsets": bbox_labels.numel(),
        }


def evaluate(
    net,
    data,
    model_config,
    predict_config=PredictConfig(),
    loss_config=LossConfig(),
    batch_size=32,
    device=None,
    terms=loss_terms,
    group=ALONE,
):
    """Return the metrics of a dataset, and what was detected and what is true in each of its images.

    Args:
        net: the network.
        data: the dataset.
        model_config: its `ModelConfig`.
        predict_config: how predictions become detections.
        loss_config: which losses to report.
        batch_size: images at a time.
        device: where the network is.
        terms: see `train_step`.
        group: the processes that evaluate together, see `distributed.join`: each its share of the batches.

    Returns:
        metrics of `EpochMeter.summary` by name;
        a list of numpy arrays `(n, 6)` `[class_id, score, xmin, ymin, xmax, ymax]`; a list of `GroundTruth`.
    """
    meter, detections, truths = GroupMeter(group), [], []
    order = in_order(len(data), batch_size)[group.rank :: group.size]
    made = Prefetched(batches_with_truth(data, order, model_config), len(order))
    for images, labels, true in meter.time_data(made):
        X, Y = to_device(images, device), to_device(labels, device)
        anchors, cls_preds, bbox_preds = forward(net, X)
        bbox_labels, bbox_masks, cls_labels = multibox_target(anchors, Y)
        cls, bbox = terms(cls_preds, cls_labels, bbox_preds, bbox_labels, bbox_masks, loss_config)
        meter.add(batch_metrics(cls, bbox, cls_preds, cls_labels, bbox_preds, bbox_labels, bbox_masks))
        detections += detect(anchors, cls_preds, bbox_preds, predict_config)
        truths += true
    return meter.gather(detections, truths)
