"""Losses and the two training metrics of the chapter.

The numpy reference.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ssd_common.boxes import Array
from ssd_common.config import LossConfig

Labels = NDArray[np.integer]


def cross_entropy(cls_preds: Array, cls_labels: Labels) -> Array:
    """Return the cross entropy `-log p` of every anchor, p being the softmax probability of its label.

    Args:
        cls_preds: `(batch, num_anchors, num_classes + 1)` logits.
        cls_labels: `(batch, num_anchors)` integer.

    Returns:
        `(batch, num_anchors)`.

    Source: d2l, section "Single Shot Multibox Detection", defining loss and evaluation functions.
    """
    return -_log_prob(cls_preds, cls_labels)


def focal_loss(cls_preds: Array, cls_labels: Labels, alpha: float, gamma: float) -> Array:
    """Return the focal loss `-alpha (1 - p)^gamma log p` of every anchor.

    Args:
        cls_preds: `(batch, num_anchors, num_classes + 1)` logits.
        cls_labels: `(batch, num_anchors)` integer.
        alpha: factor in front, for all classes alike.
        gamma: how strongly anchors that are already right are played down; 0 gives `alpha` times cross entropy.

    Returns:
        `(batch, num_anchors)`.

    Source: Lin et al., "Focal Loss for Dense Object Detection", 2017; d2l, exercise 1; straight dope, `FocalLoss`.
    """
    log_prob = _log_prob(cls_preds, cls_labels)
    # Rounding can make 1 - p negative, and at 0 a power below 1 has no derivative.
    wrong = np.maximum(1 - np.exp(log_prob), np.finfo(log_prob.dtype).eps)
    return -alpha * wrong**gamma * log_prob


def l1_loss(errors: Array) -> Array:
    """Return the absolute value of every error.

    Args:
        errors: any shape.

    Returns:
        The same shape.

    Source: d2l, section "Single Shot Multibox Detection", defining loss and evaluation functions.
    """
    return np.abs(errors)


def smooth_l1(errors: Array, sigma: float) -> Array:
    """Return the smooth L1 loss: `(sigma x)² / 2` where `|x| < 1 / sigma²`, `|x| - 0.5 / sigma²` elsewhere.

    Args:
        errors: any shape.
        sigma: the larger, the closer to L1.

    Returns:
        The same shape.

    Source: d2l, section "Single Shot Multibox Detection", exercise 1; straight dope, `SmoothL1Loss`.
    """
    size = np.abs(errors)
    return np.where(size < 1 / sigma**2, (sigma * errors) ** 2 / 2, size - 0.5 / sigma**2)


def hard_negatives(cls_loss: Array, cls_labels: Labels, negatives_per_positive: float) -> NDArray[np.bool_]:
    """Return which anchors count in the class loss: the positives, and of the background those with the highest loss.

    Of equal losses the lower anchor index comes first. An image without positives keeps as much background as one with
    a single positive, so that it still teaches what background looks like; SSD drops it.

    Args:
        cls_loss: `(batch, num_anchors)`, class loss of every anchor.
        cls_labels: `(batch, num_anchors)` integer, 0 for background.
        negatives_per_positive: background anchors kept for each positive one, as far as there are any.

    Returns:
        `(batch, num_anchors)` bool.

    Source: Liu et al., "SSD: Single Shot MultiBox Detector", 2016, hard negative mining.
    """
    positive = cls_labels > 0
    loss = np.where(positive, -np.inf, cls_loss)  # of the background
    negatives_per_positive = min(negatives_per_positive, loss.shape[1])  # no product overflows
    quota = np.minimum(negatives_per_positive * np.maximum(positive.sum(axis=1, keepdims=True), 1), loss.shape[1])
    lowest = -np.take_along_axis(np.sort(-loss, axis=1), quota - 1, axis=1)  # (batch, 1), the last that is kept
    harder, tied = loss > lowest, loss == lowest
    room = quota - harder.sum(axis=1, keepdims=True)
    return positive | harder | (tied & (tied.cumsum(axis=1) <= room))


def loss_terms(
    cls_preds: Array,
    cls_labels: Labels,
    bbox_preds: Array,
    bbox_labels: Array,
    bbox_masks: Array,
    loss_config: LossConfig = LossConfig(),
) -> tuple[Array, Array]:
    """Return the class loss and the offset loss of every image, each times its weight.

    Both are means over all anchors, as in the book. With hard negatives they are means over what counts: the class loss
    over the anchors kept, the offset loss over the offsets of the positives. With three negatives for each positive
    that is SSD's loss, a sum over the number of positives, divided by 4: of a size for the book's learning rate.

    Args:
        cls_preds: `(batch, num_anchors, num_classes + 1)` logits.
        cls_labels: `(batch, num_anchors)` integer, 0 for background.
        bbox_preds: `(batch, num_anchors * 4)` predicted offsets.
        bbox_labels: `(batch, num_anchors * 4)` target offsets.
        bbox_masks: `(batch, num_anchors * 4)`, 0 removes an offset from the loss (but not from the mean over all).
        loss_config: which losses; the default is the book's cross entropy and L1.

    Returns:
        Two arrays `(batch,)`.

    Source: d2l, section "Single Shot Multibox Detection", `calc_loss`; SSD, section 2.2, with hard negatives.
    """
    errors = (bbox_preds - bbox_labels) * bbox_masks
    if loss_config.cls_loss == "focal":
        cls = focal_loss(cls_preds, cls_labels, loss_config.alpha, loss_config.gamma)
    else:
        cls = cross_entropy(cls_preds, cls_labels)
    bbox = smooth_l1(errors, loss_config.sigma) if loss_config.bbox_loss == "smooth_l1" else l1_loss(errors)
    if not loss_config.negatives_per_positive:
        cls, bbox = cls.mean(axis=1), bbox.mean(axis=1)
    else:
        kept = hard_negatives(cls, cls_labels, loss_config.negatives_per_positive)
        cls = (cls * kept).sum(axis=1) / kept.sum(axis=1, dtype=cls.dtype)
        bbox = bbox.sum(axis=1) / np.maximum(bbox_masks.sum(axis=1), 1)
    return loss_config.cls_weight * cls, loss_config.bbox_weight * bbox


def calc_loss(
    cls_preds: Array,
    cls_labels: Labels,
    bbox_preds: Array,
    bbox_labels: Array,
    bbox_masks: Array,
    loss_config: LossConfig = LossConfig(),
) -> Array:
    """Return the loss of every image: class loss plus offset loss.

    Args: those of `loss_terms`.

    Returns:
        `(batch,)`.

    Source: d2l, section "Single Shot Multibox Detection", `calc_loss`.
    """
    cls, bbox = loss_terms(cls_preds, cls_labels, bbox_preds, bbox_labels, bbox_masks, loss_config)
    return cls + bbox


def cls_eval(cls_preds: Array, cls_labels: Labels) -> float:
    """Return the number of anchors whose most probable class is their label.

    Args:
        cls_preds: `(batch, num_anchors, num_classes + 1)` logits.
        cls_labels: `(batch, num_anchors)` integer.

    Source: d2l, section "Single Shot Multibox Detection", `cls_eval`.
    """
    return float((cls_preds.argmax(axis=-1) == cls_labels).sum())


def bbox_eval(bbox_preds: Array, bbox_labels: Array, bbox_masks: Array) -> float:
    """Return the sum of the absolute errors of the offsets that the mask keeps.

    Args:
        bbox_preds: `(batch, num_anchors * 4)`.
        bbox_labels: `(batch, num_anchors * 4)`.
        bbox_masks: `(batch, num_anchors * 4)`.

    Source: d2l, section "Single Shot Multibox Detection", `bbox_eval`.
    """
    return float(np.abs((bbox_labels - bbox_preds) * bbox_masks).sum())


def _log_prob(cls_preds: Array, cls_labels: Labels) -> Array:
    """Return `(batch, num_anchors)` logarithms of the softmax probability of each label."""
    shifted = cls_preds - cls_preds.max(axis=-1, keepdims=True)
    log_probs = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return np.take_along_axis(log_probs, cls_labels[..., None].astype(np.int64), axis=-1)[..., 0]
