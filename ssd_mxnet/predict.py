"""Prediction: from images to detections."""

from mxnet import autograd, npx

from ssd_common.config import PredictConfig
from ssd_common.data.sampling import to_batch

from .data import to_device, to_numpy
from .detection import multibox_detection


def forward(net, X, training=False):
    """Return what the network returns for a batch, without recording gradients.

    Args:
        net: the network.
        X: images `(batch, 3, height, width)`.
        training: let batch normalisation use the statistics of the batch, as in training.
    """
    with autograd.pause(train_mode=training):
        return net(X)


def detect(anchors, cls_preds, bbox_preds, predict_config=PredictConfig()):
    """Return the detections in each image from what the network returned, best score first.

    Args:
        anchors: `(1, num_anchors, 4)`.
        cls_preds: `(batch, num_anchors, num_classes + 1)` logits.
        bbox_preds: `(batch, num_anchors * 4)` offsets.
        predict_config: thresholds of non-maximum suppression.

    Returns:
        A list of numpy arrays `(n, 6)` `[class_id, score, xmin, ymin, xmax, ymax]`, corners 0…1.

    Source: d2l, section "Single Shot Multibox Detection", prediction.
    """
    cls_probs = npx.softmax(cls_preds, axis=-1).transpose(0, 2, 1)
    # A box below the threshold is background, and suppresses none above it: the fewer compete, the sooner it is done.
    competing = int((cls_probs[:, 1:].max(axis=1) >= predict_config.pos_threshold).sum(axis=1).max())
    output = multibox_detection(
        cls_probs,
        bbox_preds,
        anchors,
        predict_config.nms_threshold,
        predict_config.pos_threshold,
        class_aware=predict_config.class_aware,
        clip=predict_config.clip,
        top_k=min(competing, predict_config.top_k or competing),
    )
    return [rows[rows[:, 0] >= 0] for rows in to_numpy(output)]


def predict(net, images, model_config, predict_config=PredictConfig(), batch_size=32, device=None):
    """Return the detections in each image, best score first.

    Args:
        net: the network.
        images: list of uint8 RGB numpy arrays `(height, width, 3)`, of any size.
        model_config: its `ModelConfig`.
        predict_config: thresholds of non-maximum suppression.
        batch_size: images at a time.
        device: where the network is.

    Returns:
        A list of numpy arrays `(n, 6)` `[class_id, score, xmin, ymin, xmax, ymax]`, corners 0…1.
    """
    detections = []
    for start in range(0, len(images), batch_size):
        X = to_device(to_batch(images[start : start + batch_size], model_config), device)
        detections += detect(*forward(net, X), predict_config)
    return detections
