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
    options,
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
    "options",
    "predict",
    "state_dict",
    "targets",
    "train",
    "weights",
]
