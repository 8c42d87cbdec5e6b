"""The two backends, imported only when one is asked for."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, overload

from ssd_common.errors import InputError, one_line
from ssd_common.machine import keep_freed_memory, objects_to_stay

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ssd_common.config import LossConfig, ModelConfig, PredictConfig, TrainConfig
    from ssd_common.data.dataset import Dataset
    from ssd_common.data.ground_truth import GroundTruth
    from ssd_common.group import Group
    from ssd_common.metrics import EpochMeter
    from ssd_common.weights import Weights

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


Tensor = Any
"""An array of the framework."""
Device = Any
"""As a backend's `get_device` returns it."""
Net = Any
"""A network of the framework, as a backend's `make_net` returns it."""
Trainer = Any
"""An optimiser, as a backend's `make_trainer` returns it."""
LossTerms = Callable[..., tuple[Tensor, Tensor]]
"""A function with the parameters of a backend's `loss_terms`, which returns what `loss_terms` returns."""


class Anchors(Protocol):
    """`anchors.py` of a backend."""

    def multibox_prior(self, data: Tensor, sizes: Sequence[float], ratios: Sequence[float]) -> Tensor: ...


class Boxes(Protocol):
    """`boxes.py` of a backend."""

    def box_iou(self, boxes1: Tensor, boxes2: Tensor) -> Tensor: ...
    def offset_inverse(self, anchors: Tensor, offset_preds: Tensor) -> Tensor: ...


class Data(Protocol):
    """`data.py` of a backend."""

    def get_device(self, name: str = "auto") -> Device: ...
    def to_device(self, array: NDArray[Any], device: Device = None, dtype: str | None = None) -> Tensor: ...
    def to_numpy(self, tensor: Tensor) -> NDArray[Any]: ...


class Detection(Protocol):
    """`detection.py` of a backend."""

    def nms(
        self, boxes: Tensor, scores: Tensor, iou_threshold: float, *, class_ids: Tensor | None = None
    ) -> Tensor: ...
    def multibox_detection(
        self,
        cls_probs: Tensor,
        offset_preds: Tensor,
        anchors: Tensor,
        nms_threshold: float = 0.5,
        pos_threshold: float = 0.009999999,
        *,
        class_aware: bool = False,
        clip: bool = False,
        top_k: int | None = None,
    ) -> Tensor: ...


class Distributed(Protocol):
    """`distributed.py` of a backend."""

    def join(self, device: Device = None) -> Group: ...
    def leave(self, group: Group) -> None: ...


class Evaluate(Protocol):
    """`evaluate.py` of a backend."""

    def evaluate(
        self,
        net: Net,
        data: Dataset,
        model_config: ModelConfig,
        predict_config: PredictConfig = ...,
        loss_config: LossConfig = ...,
        batch_size: int = 32,
        device: Device = None,
        terms: LossTerms = ...,
        group: Group = ...,
    ) -> tuple[dict[str, float], list[NDArray[Any]], list[GroundTruth]]: ...


class Export(Protocol):
    """`export.py` of a backend."""

    def export_net(self, net: Net, model_config: ModelConfig, dynamic_size: bool = False) -> Any: ...


class Losses(Protocol):
    """`losses.py` of a backend."""

    def calc_loss(
        self,
        cls_preds: Tensor,
        cls_labels: Tensor,
        bbox_preds: Tensor,
        bbox_labels: Tensor,
        bbox_masks: Tensor,
        loss_config: LossConfig = ...,
    ) -> Tensor: ...


class Options(Protocol):
    """`options.py` of a backend."""

    def check_precision(self, precision: str, device: Device) -> None: ...
    def set_precision(self, net: Net, precision: str) -> None: ...


class Predict(Protocol):
    """`predict.py` of a backend."""

    def forward(self, net: Net, X: Tensor, training: bool = False) -> tuple[Tensor, Tensor, Tensor]: ...
    def detect(
        self,
        anchors: Tensor,
        cls_preds: Tensor,
        bbox_preds: Tensor,
        predict_config: PredictConfig = ...,
    ) -> list[NDArray[Any]]: ...
    def predict(
        self,
        net: Net,
        images: Sequence[NDArray[np.uint8]],
        model_config: ModelConfig,
        predict_config: PredictConfig = ...,
        batch_size: int = 32,
        device: Device = None,
    ) -> list[NDArray[Any]]: ...


class StateDict(Protocol):
    """`state_dict.py`, which only PyTorch has."""

    def read_state_dict(self, path: str | Path) -> dict[str, NDArray[Any]]: ...
    def write_state_dict(self, path: str | Path, weights: Mapping[str, NDArray[Any]]) -> None: ...


class Targets(Protocol):
    """`targets.py` of a backend."""

    def assign_anchor_to_bbox(self, ground_truth: Tensor, anchors: Tensor, iou_threshold: float = 0.5) -> Tensor: ...
    def multibox_target(self, anchors: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]: ...


class Train(Protocol):
    """`train.py` of a backend."""

    def make_trainer(self, net: Net, train_config: TrainConfig) -> Trainer: ...
    def set_learning_rate(self, trainer: Trainer, lr: float) -> None: ...
    def forward_backward(
        self, net: Net, X: Tensor, Y: Tensor, loss_config: LossConfig = ..., terms: LossTerms = ...
    ) -> dict[str, Any]: ...
    def train_step(
        self,
        net: Net,
        trainer: Trainer,
        X: Tensor,
        Y: Tensor,
        loss_config: LossConfig = ...,
        terms: LossTerms = ...,
        group: Group = ...,
    ) -> dict[str, Any]: ...
    def train(
        self,
        net: Net,
        trainer: Trainer,
        data: Dataset,
        model_config: ModelConfig,
        train_config: TrainConfig,
        first_epoch: int = 0,
        device: Device = None,
        progress: Callable[[Any], Iterable[Any]] = ...,
        terms: LossTerms = ...,
        new_meter: Callable[[], EpochMeter] = ...,
        group: Group = ...,
    ) -> Iterator[dict[str, Any]]: ...


class WeightsOf(Protocol):
    """`weights.py` of a backend."""

    def make_net(
        self,
        model_config: ModelConfig,
        weights: Weights,
        device: Device = None,
        dtype: str = "float32",
        compile: bool | None = None,
    ) -> Net: ...
    def get_weights(self, net: Net) -> Weights: ...
    def set_weights(self, net: Net, weights: Weights) -> None: ...
    def get_gradients(self, net: Net) -> Weights: ...
    def set_gradients(self, net: Net, gradients: Weights) -> None: ...
    def get_velocity(self, net: Net, trainer: Trainer) -> Weights: ...
    def set_velocity(self, net: Net, trainer: Trainer, velocity: Weights) -> None: ...


class Backend(Protocol):
    """One of the two packages, as far as this one calls it: `backend.boxes.box_iou`.

    A test compares these signatures with those of the packages, which have no annotations.
    """

    name: str
    anchors: Anchors
    boxes: Boxes
    data: Data
    detection: Detection
    distributed: Distributed
    evaluate: Evaluate
    export: Export
    losses: Losses
    options: Options
    predict: Predict
    targets: Targets
    train: Train
    weights: WeightsOf


class TorchBackend(Backend, Protocol):
    """PyTorch, which alone can read its own weights files."""

    state_dict: StateDict


@overload
def load_backend(name: Literal["torch"]) -> TorchBackend: ...
@overload
def load_backend(name: str) -> Backend: ...
def load_backend(name: str) -> Backend:
    """Return a backend, importing its framework. From then on the process keeps freed memory: see `keep_freed_memory`.

    Args:
        name: "torch" or "mxnet".

    Raises:
        InputError: there is no such backend, or its framework is missing or cannot be imported; one line says what to
            install.
    """
    if name not in BACKENDS:
        raise InputError(f"unknown backend '{name}'; the backends are {', '.join(BACKENDS)}")
    try:
        # PyTorch makes 180,000 objects, which Python would look through again and again.
        with nullcontext() if BACKENDS[name] in sys.modules else objects_to_stay():
            package: Any = importlib.import_module(BACKENDS[name])
            for module in package.__all__:
                importlib.import_module(f"{package.__name__}.{module}")
        keep_freed_memory()
        return package
    except InputError as error:
        raise InputError(f"backend '{name}': {error}") from error
    except Exception as error:  # a framework that is there but broken raises whatever it stumbles on
        if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] in BACKENDS.values():
            raise
        raise InputError(_what_to_do(name, error)) from error


def _what_to_do(name: str, error: Exception) -> str:
    """Return in one line why the framework of a backend cannot be imported, and the command that changes it."""
    reason = one_line(error)
    library = reason.partition(":")[0]
    if library in _SYSTEM_LIBRARIES:
        package = _SYSTEM_LIBRARIES[library]
        return f"backend '{name}' needs the system library {library}: apt-get install {package} (Debian, Ubuntu)"
    if "failed to map segment" in reason:
        return f"backend '{name}' does not fit into the memory of this process ({reason}): see `ulimit -v`"
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
    # Of several processes on a machine, each has the next GPU.
    return None if kind == "cpu" or not available else int(number or int(os.environ.get("LOCAL_RANK", 0)) % available)
