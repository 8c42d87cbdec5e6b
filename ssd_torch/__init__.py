"""The single shot multibox detector in PyTorch; `ssd_mxnet` is the same, file by file, in MXNet."""

from . import (
    anchors,
    boxes,
    data,
    detection,
    evaluate,
    greedy,
    losses,
    model,
    precision,
    predict,
    state_dict,
    targets,
    train,
    weights,
)

name = "torch"

__all__ = [
    "anchors",
    "boxes",
    "data",
    "detection",
    "evaluate",
    "greedy",
    "losses",
    "model",
    "name",
    "precision",
    "predict",
    "state_dict",
    "targets",
    "train",
    "weights",
]
