"""The two backends, imported only when one is asked for."""

from __future__ import annotations

import importlib
import importlib.metadata
import platform
import sys
import warnings
from types import ModuleType

from ssd_common.errors import InputError

BACKENDS = {"torch": "ssd_torch", "mxnet": "ssd_mxnet"}
"""The package of each backend, by the name of its framework."""
_NEEDS = {
    "torch": "torch and torchvision of matching versions (0.27.1 goes with 2.12.1)",
    "mxnet": "Python 3.10 or 3.11 and numpy below 1.24",
}


class Backend:
    """One of the two packages; its modules are attributes: `backend.boxes.box_iou`."""

    anchors: ModuleType
    boxes: ModuleType
    data: ModuleType
    detection: ModuleType
    evaluate: ModuleType
    losses: ModuleType
    model: ModuleType
    predict: ModuleType
    targets: ModuleType
    train: ModuleType
    weights: ModuleType

    def __init__(self, name: str, package: str) -> None:
        self.name = name
        for module in Backend.__annotations__:
            setattr(self, module, importlib.import_module(f"{package}.{module}"))


def load_backend(name: str) -> Backend:
    """Return a backend, importing its framework.

    Args:
        name: "torch" or "mxnet".

    Raises:
        InputError: there is no such backend, or its framework is missing or cannot be imported; one line says what to
            install.
    """
    if name not in BACKENDS:
        raise InputError(f"unknown backend '{name}'; the backends are {', '.join(BACKENDS)}")
    install = f"pip install -c constraints.txt '.[{name}]'"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # MXNet 1.9.1's own, about numpy and distutils
            return Backend(name, BACKENDS[name])
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in BACKENDS.values():
            raise
        if name == "mxnet" and sys.version_info >= (3, 12):
            version = platform.python_version()
            raise InputError(f"backend 'mxnet' needs Python 3.10 or 3.11, and this is {version}") from error
        raise InputError(f"backend '{name}' needs the package {error.name}, which is missing: {install}") from error
    except Exception as error:  # a framework that is there but broken raises whatever it stumbles on
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"backend '{name}' is installed but cannot be imported ({reason}); it needs {_NEEDS[name]}: {install}"
        ) from error


def gpu_number(name: str, available: int, framework: str) -> int | None:
    """Return which GPU the device called `name` is, or None for the CPU.

    Args:
        name: "auto" (a GPU if there is one), "cpu", "gpu", or "gpu:1".
        available: how many GPUs the framework sees.
        framework: its name, for the message.

    Raises:
        InputError: there is no such device.
    """
    kind, colon, number = name.partition(":")
    if kind not in ("auto", "cpu", "gpu") or (colon and (kind != "gpu" or not number.isdecimal())):
        raise InputError(f"unknown device '{name}'; use auto, cpu, gpu, or gpu:1")
    if kind == "gpu" and int(number or 0) >= available:
        raise InputError(f"device '{name}' is not there: {framework} sees {available} GPUs; use --device cpu")
    return None if kind == "cpu" or not available else int(number or 0)
