"""The single shot multibox detector in PyTorch; `ssd_mxnet` is the same, file by file, in MXNet."""

import importlib

name = "torch"

__all__ = [
    "anchors", "boxes", "data", "detection", "distributed", "evaluate", "export", "greedy", "losses", "model",
    "options", "predict", "state_dict", "targets", "train", "weights",
]  # fmt: skip


def __getattr__(module):
    """Return a module of this package, importing it when it is first asked for."""
    if module not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {module!r}")
    return importlib.import_module(f".{module}", __name__)
