"""Losses and the two training metrics of the chapter."""

import numpy
from mxnet import np, npx

from ssd_common.config import LossConfig

npx.set_np()  # numpy semantics, as in the book


def cross_entropy(cls_preds, cls_labels):
    """Return the cross entropy `-log p` of every anchor, p being the softmax probability of its label.

    Returns:
        `(batch, num_anchors)`.
    """
    return -npx.pick(npx.log_softmax(cls_preds, axis=-1), cls_labels, axis=-1)


def focal_loss(cls_preds, cls_labels, alpha, gamma):
    """Return the focal loss `-alpha (1 - p)^gamma log p` of every anchor.

    Returns:
        `(batch, num_anchors)`.
    """
    log_prob = -cross_entropy(cls_preds, cls_labels)
    # Rounding can make 1 - p negative, and at 0 a power below 1 has no derivative.
    wrong = np.maximum(1 - np.exp(log_prob), float(numpy.finfo(log_prob.dtype).eps))
    return -alpha * wrong**gamma * log_prob


def l1_loss(errors):
    """Return the absolute value of every error.

    Returns:
        the shape of `errors`.
    """
    return np.abs(errors)


def smooth_l1(errors, sigma):
    """Return the smooth L1 loss: `(sigma x)² / 2` where `|x| < 1 / sigma²`, `|x| - 0.5 / sigma²` elsewhere.

    Returns:
        the shape of `errors`.
    """
    size = np.abs(errors)
    return np.where(size < 1 / sigma**2, (sigma * errors) ** 2 / 2, size - 0.5 / sigma**2)


def hard_negatives(cls_loss, cls_labels, negatives_per_positive):
    """Return which anchors count in the class loss: the positives, and of the background those with the highest loss.

    Returns:
        `(batch, num_anchors)` bool.
    """
    positive = cls_labels > 0
    loss = np.where(positive, -np.inf, cls_loss)  # of the background
    negatives_per_positive = min(negatives_per_positive, loss.shape[1])  # no product overflows
    quota = np.minimum(negatives_per_positive * np.maximum(positive.sum(axis=1, keepdims=True), 1), loss.shape[1])
    lowest = -npx.pick(np.sort(-loss, axis=1), quota[:, 0] - 1, axis=1)[:, None]  # (batch, 1), the last that is kept
    harder, tied = loss > lowest, loss == lowest
    room = quota - harder.sum(axis=1, keepdims=True)
    return positive | harder | (tied & (tied.cumsum(axis=1) <= room))


def loss_terms(cls_preds, cls_labels, bbox_preds, bbox_labels, bbox_masks, loss_config=LossConfig()):
    """Return the class loss and the offset loss of every image, each times its weight.

    Returns:
        two `(batch,)`.
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
        cls = (cls * kept).sum(axis=1) / kept.sum(axis=1)
        bbox = bbox.sum(axis=1) / np.maximum(bbox_masks.sum(axis=1), 1)
    return loss_config.cls_weight * cls, loss_config.bbox_weight * bbox


def calc_loss(cls_preds, cls_labels, bbox_preds, bbox_labels, bbox_masks, loss_config=LossConfig()):
    """Return the loss of every image: class loss plus offset loss.

    Returns:
        `(batch,)`.
    """
    cls, bbox = loss_terms(cls_preds, cls_labels, bbox_preds, bbox_labels, bbox_masks, loss_config)
    return cls + bbox


def cls_eval(cls_preds, cls_labels):
    """Return the number of anchors whose most probable class is their label.

    Returns:
        `()`, on the device: `float()` reads it.
    """
    return (cls_preds.argmax(axis=-1) == cls_labels).sum()


def bbox_eval(bbox_preds, bbox_labels, bbox_masks):
    """Return the sum of the absolute errors of the offsets that the mask keeps.

    Returns:
        `()`, on the device: `float()` reads it.
    """
    return np.abs((bbox_labels - bbox_preds.detach()) * bbox_masks).sum()
