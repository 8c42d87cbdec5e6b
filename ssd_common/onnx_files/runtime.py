"""ONNX Runtime in the place of a framework, as far as prediction calls one."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ssd_common.backends import Backend, gpu_number
from ssd_common.config import ModelConfig
from ssd_common.data.sampling import to_batch
from ssd_common.detection import Detections
from ssd_common.onnx_files.session import OnnxNet

NAME = "onnx"


def onnx_backend(net: OnnxNet) -> Backend:
    """Return a backend that has one network, and predicts with it."""

    def get_device(name: str = "auto") -> str:
        gpu_number(name, 0, "ONNX Runtime, as this package calls it,")
        return "cpu"

    data = SimpleNamespace(get_device=get_device)
    weights = SimpleNamespace(make_net=lambda *_, **__: net)
    return cast(
        Backend, SimpleNamespace(name=NAME, data=data, weights=weights, predict=SimpleNamespace(predict=predict))
    )


def predict(
    net: OnnxNet,
    images: Sequence[NDArray[np.uint8]],
    model_config: ModelConfig,
    predict_config: Any = None,
    batch_size: int = 32,
    device: Any = None,
) -> list[Detections]:
    """Return the detections in each image, best score first; the arguments are those of a backend's `predict`.

    Args:
        net: the network; its file has the thresholds of detection.
        images: uint8 RGB `(height, width, 3)`, of any size.
        model_config: of the network.
        predict_config: not used.
        batch_size: images at a time.
        device: not used.
    """
    detections = []
    for start in range(0, len(images), batch_size):
        detections += net.detect(to_batch(images[start : start + batch_size], model_config))
    return detections
