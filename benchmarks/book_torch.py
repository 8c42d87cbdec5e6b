"""The book's way of training and predicting, on the functions of its `d2l` package: what the benchmark compares with.

Nothing of the detector imports this module, and nothing else needs `d2l`. It runs on the CPU.
"""

import csv
from pathlib import Path

import torch
import torchvision
from d2l import torch as d2l
from torch import nn
from torch.nn import functional as F

from ssd_common.config import BASE_CHANNELS, BLOCK_CHANNELS, BOOK, NUM_BLOCKS
from ssd_torch.model import bbox_predictor, cls_predictor, get_blk
from ssd_torch.weights import set_weights


class _Network(nn.Module):
    """The chapter's network: its layers are ours, but plain; its anchors are made in every forward pass."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        channels = (BASE_CHANNELS[-1], *[BLOCK_CHANNELS] * (NUM_BLOCKS - 1))
        for i in range(NUM_BLOCKS):
            per_unit = model.anchors.per_unit(i)
            setattr(self, f"blk_{i}", get_blk(i))
            setattr(self, f"cls_{i}", cls_predictor(channels[i], per_unit, model.num_classes))
            setattr(self, f"bbox_{i}", bbox_predictor(channels[i], per_unit))

    def forward(self, X):
        sizes, ratios = self.model.anchors.sizes, self.model.anchors.ratios
        anchors, cls_preds, bbox_preds = [], [], []
        for i in range(NUM_BLOCKS):
            X = getattr(self, f"blk_{i}")(X)
            anchors.append(d2l.multibox_prior(X, sizes[i], ratios[i]))
            cls_preds.append(_flat(getattr(self, f"cls_{i}")(X)))
            bbox_preds.append(_flat(getattr(self, f"bbox_{i}")(X)))
        cls_preds = torch.cat(cls_preds, dim=1).reshape(len(X), -1, self.model.num_classes + 1)
        return torch.cat(anchors, dim=1), cls_preds, torch.cat(bbox_preds, dim=1)


class _Pictures(torch.utils.data.Dataset):
    """Every image of a folder, decoded; one becomes float32 each time it is asked for."""

    def __init__(self, folder):
        with (Path(folder) / "label.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        self.images = [torchvision.io.read_image(str(Path(folder) / "images" / row["img_name"])) for row in rows]
        labels = [[float(row[name]) for name in ("label", "xmin", "ymin", "xmax", "ymax")] for row in rows]
        # Divided as a whole: the only class id is 0.
        self.labels = torch.tensor(labels).unsqueeze(1) / self.images[0].shape[-1]

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index].float(), self.labels[index]


def start_thread():
    """Prepare a thread for the rest of this module: in MXNet, numpy semantics are a setting of each thread."""


def make_net(model, weights):
    """Return the network as the book runs it, with the given weights.

    Args:
        model: a `ModelConfig`.
        weights: numpy arrays by canonical name.

    Source: d2l, section "Single Shot Multibox Detection", the complete model.
    """
    net = _Network(model)
    set_weights(net, weights)
    return net


def make_trainer(net, config):
    """Return the chapter's optimiser.

    Args:
        net: as returned by `make_net`.
        config: a `TrainConfig`.

    Source: d2l, section "Single Shot Multibox Detection", reading the dataset and initializing the model.
    """
    return torch.optim.SGD(net.parameters(), lr=config.lr, weight_decay=config.weight_decay)


def train_step(net, trainer, X, Y):
    """Update the network on one batch, and return the four numbers that the chapter adds up.

    Args:
        net: as returned by `make_net`.
        trainer: as returned by `make_trainer`.
        X: images `(batch, 3, height, width)`.
        Y: labels `(batch, max_objects, 5)`, without padding.

    Returns:
        anchors classified rightly, anchors, sum of the absolute errors of the offsets, offsets.

    Source: d2l, section "Single Shot Multibox Detection", training the model.
    """
    net.train()
    trainer.zero_grad()
    anchors, cls_preds, bbox_preds = net(X)
    bbox_labels, bbox_masks, cls_labels = targets(anchors, Y)
    cls = nn.CrossEntropyLoss(reduction="none")(cls_preds.flatten(end_dim=1), cls_labels.flatten())
    bbox = nn.L1Loss(reduction="none")(bbox_preds * bbox_masks, bbox_labels * bbox_masks)
    loss = cls.reshape(len(X), -1).mean(dim=1) + bbox.mean(dim=1)  # (batch,)
    loss.mean().backward()
    trainer.step()
    correct = float((cls_preds.argmax(dim=-1).type(cls_labels.dtype) == cls_labels).sum())
    abs_error = float(torch.abs((bbox_labels - bbox_preds.detach()) * bbox_masks).sum())
    return correct, cls_labels.numel(), abs_error, bbox_labels.numel()


def targets(anchors, labels):
    """Return the book's `multibox_target`.

    Args:
        anchors: `(1, num_anchors, 4)` corners.
        labels: `(batch, max_objects, 5)`, without padding.

    Source: d2l, section "Anchor Boxes", labeling classes and offsets.
    """
    return d2l.multibox_target(anchors, labels)


def detect(cls_preds, bbox_preds, anchors):
    """Return the detections in one image, picked out row by row as in the chapter.

    Args:
        cls_preds: `(1, num_anchors, num_classes + 1)` logits.
        bbox_preds: `(1, num_anchors * 4)` offsets.
        anchors: `(1, num_anchors, 4)` corners.

    Returns:
        `(n, 6)` `[class_id, score, xmin, ymin, xmax, ymax]`.

    Source: d2l, section "Single Shot Multibox Detection", prediction.
    """
    cls_probs = F.softmax(cls_preds, dim=2).permute(0, 2, 1)
    output = d2l.multibox_detection(cls_probs, bbox_preds, anchors)
    objects = [i for i, row in enumerate(output[0]) if row[0] != -1]
    return output[0, objects]


def predict_files(net, paths, model):
    """Return the detections in each image file as numpy arrays, one image after the other as in the chapter.

    The chapter's image has the size that the network takes; others are resized here, by torchvision.

    Args:
        net: as returned by `make_net`.
        paths: image files.
        model: the `ModelConfig` of the network.

    Source: d2l, section "Single Shot Multibox Detection", prediction.
    """
    size, detections = [model.image_size] * 2, []
    for path in paths:
        picture = torchvision.io.read_image(str(path))
        if list(picture.shape[1:]) != size:
            picture = torchvision.transforms.functional.resize(picture, size)
        net.eval()
        anchors, cls_preds, bbox_preds = net(picture.unsqueeze(0).float())
        detections.append(detect(cls_preds, bbox_preds, anchors).detach().numpy())
    return detections


def epoch(net, trainer, data):
    """Read every image into memory, train one epoch, and return the sums of what `train_step` returned.

    Args:
        net: as returned by `make_net`.
        trainer: as returned by `make_trainer`.
        data: a folder with `label.csv` and `images`, as the banana set has it: square images, one object in each.

    Source: d2l, section "The Object Detection Dataset", reading the dataset; section "Single Shot Multibox Detection",
        training the model.
    """
    metric = d2l.Accumulator(4)
    for X, Y in torch.utils.data.DataLoader(_Pictures(data), BOOK.train.batch_size, shuffle=True):
        metric.add(*train_step(net, trainer, X, Y))
    return tuple(metric.data)


def _flat(pred):
    """Return `(batch, height * width * channels)` predictions, channels innermost."""
    return torch.flatten(pred.permute(0, 2, 3, 1), start_dim=1)
