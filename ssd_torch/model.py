"""The network, in the order of the chapter."""

import torch
from torch import nn

from ssd_common.config import BASE_CHANNELS, BLOCK_CHANNELS, BOOK, NUM_BLOCKS

from .anchors import multibox_prior


def cls_predictor(num_inputs, num_anchors, num_classes):
    """Return the layer that predicts the class of every anchor.

    Channel `i * (num_classes + 1) + j` of its output is the logit of class `j` for anchor `i` of a unit.

    Args:
        num_inputs: channels of the feature map.
        num_anchors: anchors at each unit.
        num_classes: object classes, without background.

    Source: d2l, section "Single Shot Multibox Detection", class prediction layer.
    """
    return nn.Conv2d(num_inputs, num_anchors * (num_classes + 1), kernel_size=3, padding=1)


def bbox_predictor(num_inputs, num_anchors):
    """Return the layer that predicts the four offsets of every anchor.

    Args:
        num_inputs: channels of the feature map.
        num_anchors: anchors at each unit.

    Source: d2l, section "Single Shot Multibox Detection", bounding box prediction layer.
    """
    return nn.Conv2d(num_inputs, num_anchors * 4, kernel_size=3, padding=1)


def flatten_pred(pred):
    """Return the predictions of one feature map, channels innermost, in one row an image.

    Args:
        pred: `(batch, channels, height, width)`.

    Returns:
        `(batch, height * width * channels)`.

    Source: d2l, section "Single Shot Multibox Detection", concatenating predictions for multiple scales.
    """
    return pred.permute(0, 2, 3, 1).reshape(len(pred), -1)


def concat_preds(preds):
    """Return the predictions of all feature maps side by side.

    Args:
        preds: list of `(batch, channels, height, width)`, each with its own channels, height and width.

    Returns:
        `(batch, sum of height * width * channels)`.

    Source: d2l, section "Single Shot Multibox Detection", concatenating predictions for multiple scales.
    """
    return torch.cat([flatten_pred(pred) for pred in preds], dim=1)


def down_sample_blk(in_channels, out_channels):
    """Return the block that halves height and width: twice convolution, batch normalisation and ReLU, then max pooling.

    Args:
        in_channels: channels of its input.
        out_channels: channels of its output.

    Source: d2l, section "Single Shot Multibox Detection", downsampling block.
    """
    blk = nn.Sequential()
    for _ in range(2):
        blk.append(nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1))
        blk.append(nn.BatchNorm2d(out_channels))
        blk.append(nn.ReLU())
        in_channels = out_channels
    blk.append(nn.MaxPool2d(2))
    return blk


def base_net():
    """Return the base network: three downsampling blocks, a 256 × 256 image to 64 maps of 32 × 32.

    Source: d2l, section "Single Shot Multibox Detection", base network block.
    """
    blk, in_channels = nn.Sequential(), 3
    for channels in BASE_CHANNELS:
        blk.append(down_sample_blk(in_channels, channels))
        in_channels = channels
    return blk


def get_blk(i):
    """Return feature map block `i`: the base network, three downsampling blocks, global max pooling.

    Args:
        i: 0…4.

    Source: d2l, section "Single Shot Multibox Detection", the complete model.
    """
    if i == 0:
        return base_net()
    if i == NUM_BLOCKS - 1:
        return nn.AdaptiveMaxPool2d((1, 1))
    return down_sample_blk(BASE_CHANNELS[-1] if i == 1 else BLOCK_CHANNELS, BLOCK_CHANNELS)


def blk_forward(X, blk, size, ratio, cls_predictor, bbox_predictor):
    """Return what one feature map block makes of its input.

    Args:
        X: `(batch, channels, height, width)`, the feature map before.
        blk: the block.
        size: sizes of its anchors.
        ratio: aspect ratios of its anchors.
        cls_predictor: its class prediction layer.
        bbox_predictor: its bounding box prediction layer.

    Returns:
        the feature map; its anchors `(1, num_anchors, 4)`; class predictions and offset predictions
        `(batch, channels, height, width)`.

    Source: d2l, section "Single Shot Multibox Detection", the complete model.
    """
    Y = blk(X)
    anchors = multibox_prior(Y, sizes=size, ratios=ratio)
    return Y, anchors, cls_predictor(Y), bbox_predictor(Y)


class TinySSD(nn.Module):
    """The single shot multibox detector: five feature map blocks, each with its anchors and predictors.

    Called with images `(batch, 3, height, width)`, height and width multiples of 64, it returns anchors
    `(1, num_anchors, 4)`, class logits `(batch, num_anchors, num_classes + 1)` and offsets `(batch, num_anchors * 4)`.

    Args:
        num_classes: object classes, without background.
        anchor_config: an `AnchorConfig`; the default is the book's.

    Raises:
        InputError: the anchors are not those of five blocks.

    Source: d2l, section "Single Shot Multibox Detection", the complete model.
    """

    def __init__(self, num_classes, anchor_config=BOOK.model.anchors):
        super().__init__()
        anchor_config.check_blocks()
        self.num_classes, self.anchor_config = num_classes, anchor_config
        channels = (BASE_CHANNELS[-1], *[BLOCK_CHANNELS] * (NUM_BLOCKS - 1))
        for i in range(NUM_BLOCKS):
            num_anchors = anchor_config.per_unit(i)
            setattr(self, f"blk_{i}", get_blk(i))
            setattr(self, f"cls_{i}", cls_predictor(channels[i], num_anchors, num_classes))
            setattr(self, f"bbox_{i}", bbox_predictor(channels[i], num_anchors))

    def forward(self, X):
        """Return anchors, class logits and offsets of a batch of images."""
        anchors, cls_preds, bbox_preds = [], [], []
        for i in range(NUM_BLOCKS):
            X, anchor, cls_pred, bbox_pred = blk_forward(
                X,
                getattr(self, f"blk_{i}"),
                self.anchor_config.sizes[i],
                self.anchor_config.ratios[i],
                getattr(self, f"cls_{i}"),
                getattr(self, f"bbox_{i}"),
            )
            anchors.append(anchor)
            cls_preds.append(cls_pred)
            bbox_preds.append(bbox_pred)
        anchors = torch.cat(anchors, dim=1)
        cls_preds = concat_preds(cls_preds).reshape(len(X), -1, self.num_classes + 1)
        return anchors, cls_preds, concat_preds(bbox_preds)
