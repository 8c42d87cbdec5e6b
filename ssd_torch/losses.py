"""Losses and the two training metrics of the chapter."""

import torch
from torch.nn import functional as F

from ssd_common.config import LossConfig


def cross_entropy(cls_preds, cls_labels):
    """Return the cross entropy `-log p` of every anchor, p being the softmax probability of its label.

    Returns:
        `(batch, num_anchors)`.
    """
    return F.cross_entropy(cls_preds.transpose(1, 2), cls_labels, reduction="none")


def focal_loss(cls_preds, cls_labels, alpha, gamma):
    """Return the focal loss `-alpha (1 - p)^gamma log p` of every anchor.

    Returns:
        `(batch, num_anchors)`.
    """
    log_prob = -cross_entropy(cls_preds, cls_labels)
    # Rounding can make 1 - p negative, and at 0 a power below 1 has no derivative.
    wrong = (1 - torch.exp(log_prob)).clamp(min=torch.finfo(log_prob.dtype).eps)
    return -alpha * wrong**gamma * log_prob


def l1_loss(errors):
    """Return the absolute value of every error.

    Returns:
        the shape of `errors`.
    """
    return torch.abs(errors)


def smooth_l1(errors, sigma):
    """Return the smooth L1 loss: `(sigma x)² / 2` where `|x| < 1 / sigma²`, `|x| - 0.5 / sigma²` elsewhere.

    Returns:
        the shape of `errors`.
    """
    size = torch.abs(errors)
    return torch.where(size < 1 / sigma**2, (sigma * errors) ** 2 / 2, size - 0.5 / sigma**2)


def hard_negatives(cls_loss, cls_labels, negatives_per_positive):
    """Return which anchors count in the class loss: the positives, and of the background those with the highest loss.

    Returns:
        `(batch, num_anchors)` bool.
    """
    positive = cls_labels > 0
    loss = torch.where(positive, -torch.inf, cls_loss)  # of the background
    negatives_per_positive = min(negatives_per_positive, loss.shape[1])  # no product overflows
    quota = (negatives_per_positive * positive.sum(dim=1, keepdim=True).clamp(min=1)).clamp(max=loss.shape[1])
    lowest = loss.sort(dim=1, descending=True).values.gather(1, quota - 1)  # (batch, 1), the last that is kept
    harder, tied = loss > lowest, loss == lowest
    room = quota - harder.sum(dim=1, keepdim=True)
    return positive | harder | (tied & (tied.cumsum(dim=1) <= room))


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
        cls, bbox = cls.mean(dim=1), bbox.mean(dim=1)
    else:
        kept = hard_negatives(cls, cls_labels, loss_config.negatives_per_positive)
        cls = (cls * kept).sum(dim=1) / kept.sum(dim=1)
        bbox = bbox.sum(dim=1) / bbox_masks.sum(dim=1).clamp(min=1)
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
    return (cls_preds.argmax(dim=-1) == cls_labels).sum()


def bbox_eval(bbox_preds, bbox_labels, bbox_masks):
    """Return the sum of the absolute errors of the offsets that the mask keeps.

    Returns:
        `()`, on the device: `float()` reads it.
    """
    return torch.abs((bbox_labels - bbox_preds.detach()) * bbox_masks).sum()
