"""A small detector of two classes, and what the exporters make of it: each export is made once."""

import dataclasses
import functools

import numpy as np

from ssd_common.backends import load_backend
from ssd_common.checkpoints.checkpoint import Checkpoint
from ssd_common.config import Config, ModelConfig, PredictConfig, RunConfig, TrainConfig
from ssd_common.onnx_files import decode_onnx, encode_onnx, make_graph
from ssd_common.weights import initial_weights

MODEL = ModelConfig(class_names=("cat", "dög"), image_size=64, mean=(1.0, 2.0, 3.0))
WEIGHTS = initial_weights(MODEL, TrainConfig(init="torch"))


def statistics(name, shape):
    """Return running statistics like those of trained weights: with the initial ones, images of 0 to 255 overflow."""
    rng = np.random.default_rng(len(name) + shape[0])
    scale = 2000 if name.startswith("blk_0.0.1.") else 0.2
    if name.endswith("mean"):
        return (rng.uniform(-0.3, 0.3, shape) * scale**0.5).astype("float32")
    return (rng.uniform(0.5, 1.5, shape) * scale).astype("float32")


WEIGHTS |= {name: statistics(name, value.shape) for name, value in WEIGHTS.items() if "running" in name}
CHECKPOINT = Checkpoint(WEIGHTS, RunConfig(Config(MODEL, TrainConfig(), PredictConfig(pos_threshold=0.3))))


def images(batch, height=64, width=64):
    """Return random images as a batch."""
    return np.random.default_rng(batch).uniform(-100, 155, (batch, 3, height, width)).astype("float32")


@functools.cache
def graph(name, dynamic_size=False):
    """Return the graph of a framework's exporter."""
    return make_graph(load_backend(name), CHECKPOINT, dynamic_size)


@functools.cache
def content(name, with_detection=False, dynamic_size=False):
    """Return the content of a framework's ONNX file."""
    arguments = {"dynamic_size": dynamic_size, "with_detection": with_detection}
    return encode_onnx(graph(name, dynamic_size), load_backend(name), CHECKPOINT, **arguments)


def net(name, with_detection=False, dynamic_size=False):
    """Return a framework's ONNX file in ONNX Runtime."""
    return decode_onnx(content(name, with_detection, dynamic_size), f"{name}.onnx")


def native(name, X, predict_config=CHECKPOINT.config.predict):
    """Return what a framework itself returns and detects for a batch."""
    backend = load_backend(name)
    made = backend.weights.make_net(MODEL, WEIGHTS)
    arrays = backend.predict.forward(made, backend.data.to_device(X))
    return [backend.data.to_numpy(array) for array in arrays], backend.predict.detect(*arrays, predict_config)


def other_thresholds(**changes):
    """Return the checkpoint with other settings of prediction."""
    config = dataclasses.replace(CHECKPOINT.config, predict=dataclasses.replace(CHECKPOINT.config.predict, **changes))
    return dataclasses.replace(CHECKPOINT, run=dataclasses.replace(CHECKPOINT.run, config=config))
