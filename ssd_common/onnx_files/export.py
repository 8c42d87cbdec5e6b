"""An ONNX file of a detector: the graph by a framework's exporter, detection if wanted, and the metadata."""

from __future__ import annotations

import copy
import dataclasses
import importlib
import os
from typing import Any

from ssd_common.backends import Backend
from ssd_common.checkpoints.checkpoint import Checkpoint
from ssd_common.errors import InputError, one_line
from ssd_common.machine import versions
from ssd_common.onnx_files.detection import append_detection
from ssd_common.onnx_files.graph import tidy
from ssd_common.onnx_files.metadata import seal, to_metadata

PACKAGES = {"torch": ("onnx", "onnxscript"), "mxnet": ("onnx",)}
"""What the exporter of a framework imports."""


def make_graph(backend: Backend, checkpoint: Checkpoint, dynamic_size: bool = False) -> Any:
    """Return the network of a checkpoint as an `onnx.ModelProto`: images in; anchors, class logits and offsets out.

    Args:
        backend: the framework whose exporter writes the graph.
        checkpoint: the weights and their model.
        dynamic_size: let height and width be any multiples of 64, in place of the model's image size.

    Raises:
        InputError: a package is missing.
    """
    check_packages(*PACKAGES[backend.name])
    model_config = checkpoint.config.model
    weights = {name: value.astype("float32") for name, value in checkpoint.weights.items()}
    net = backend.weights.make_net(model_config, weights)
    try:
        graph = backend.export.export_net(net, model_config, dynamic_size)
    except ImportError as error:  # MXNet's exporter imports a part of onnx that onnx 1.19 no longer has
        raise InputError(f"{backend.name}'s exporter cannot be imported ({error}): pip install 'onnx<1.19'") from None
    tidy(graph, model_config, dynamic_size)
    return graph


def encode_onnx(
    graph: Any, backend: Backend, checkpoint: Checkpoint, *, dynamic_size: bool = False, with_detection: bool = False
) -> bytes:
    """Return the content of an ONNX file.

    Args:
        graph: what `make_graph` returned; it is not changed.
        backend: the framework that it comes from, for the metadata.
        checkpoint: what it was made of; the thresholds of detection and the metadata come from it.
        dynamic_size: as it was made.
        with_detection: let the file return detections in place of anchors, logits and offsets.
    """
    import onnx

    model = copy.deepcopy(graph)
    if with_detection:
        append_detection(model, checkpoint.config.model, checkpoint.config.predict, dynamic_size)
    run = dataclasses.replace(checkpoint.run, backend=backend.name)
    metadata = to_metadata(run, checkpoint.weights, f"{backend.name} {versions()[backend.name]}")
    onnx.helper.set_model_props(model, metadata)
    onnx.checker.check_model(model, full_check=True)
    payload: bytes = model.SerializeToString(deterministic=True)
    return seal(payload)


def check_packages(*names: str) -> None:
    """Raise InputError unless packages can be imported."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # ONNX Runtime would report to its maker, from its import on
    for name in names:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError:
            raise InputError(f"ONNX needs the package {name}, which is missing: pip install 'tinyssd[onnx]'") from None
        except Exception as error:  # a package that is there but broken raises whatever it stumbles on
            raise InputError(
                f"ONNX needs the package {name}, which cannot be imported ({one_line(error)}): "
                f"pip install --force-reinstall {name}"
            ) from None
