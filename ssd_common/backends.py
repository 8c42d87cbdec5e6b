"""The two backends, imported only when one is asked for."""

from __future__ import annotations

import importlib
import importlib.metadata
import platform
import sys
from types import ModuleType

from ssd_common.errors import InputError

BACKENDS = {"torch": "ssd_torch", "mxnet": "ssd_mxnet"}
"""The package of each backend, by the name of its framework."""
_INSTALL = {
    "torch": "pip install 'tinyssd[torch]'",
    "mxnet": "pip install --no-deps mxnet==1.9.1",  # its metadata forbids numpy 2, where ssd_mxnet.compat makes it run
}
_INSTALL_AGAIN = {
    "torch": "pip install --force-reinstall torch torchvision",
    "mxnet": "pip install --force-reinstall --no-deps mxnet==1.9.1",
}
_SYSTEM_LIBRARIES = {"libgomp.so.1": "libgomp1", "libquadmath.so.0": "libquadmath0"}  # Debian's packages
_NEWEST_PYTHON = (3, 13)  # that was tested


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
    try:
        return Backend(name, BACKENDS[name])
    except InputError as error:
        raise InputError(f"backend '{name}': {error}") from error
    except Exception as error:  # a framework that is there but broken raises whatever it stumbles on
        if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] in BACKENDS.values():
            raise
        raise InputError(_what_to_do(name, error)) from error


def _what_to_do(name: str, error: Exception) -> str:
    """Return in one line why the framework of a backend cannot be imported, and the command that changes it."""
    reason = " ".join(str(error).split()) or type(error).__name__
    library = reason.partition(":")[0]
    if library in _SYSTEM_LIBRARIES:
        package = _SYSTEM_LIBRARIES[library]
        return f"backend '{name}' needs the system library {library}: apt-get install {package} (Debian, Ubuntu)"
    if sys.version_info[:2] > _NEWEST_PYTHON:
        newest = ".".join(map(str, _NEWEST_PYTHON))
        return (
            f"backend '{name}' cannot be imported ({reason}); Python 3.10 to {newest} were tested, and this is "
            f"{platform.python_version()}: python{newest} -m venv .venv"
        )
    if isinstance(error, ModuleNotFoundError):
        package = (error.name or reason).split(".")[0]
        install = _INSTALL[name] if package in (name, "torchvision") else f"pip install {package}"
        return f"backend '{name}' needs the package {package}, which is missing: {install}"
    return f"backend '{name}' is installed but cannot be imported ({reason}): {_INSTALL_AGAIN[name]}"


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
