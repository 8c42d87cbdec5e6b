"""Weights outside any framework: canonical names and shapes, seeded initial values, and the weights file.

The canonical name of a parameter is its place in the network: `blk_1.3.weight` is the fourth layer of block 1. These
are the names of the book's PyTorch edition; both backends have the same structure and map onto them one to one.
Convolution weights are `(out, in, height, width)`, as in both frameworks.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ssd_common.config import BASE_CHANNELS, BLOCK_CHANNELS, NUM_BLOCKS, ModelConfig, TrainConfig
from ssd_common.errors import InputError

Weights = dict[str, NDArray[np.floating]]

_STATISTICS = ("running_mean", "running_var")


def parameter_shapes(model_config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Return the shape of every parameter and running statistic of a model by canonical name, in forward order.

    Raises:
        InputError: the model has anchors for another number of blocks than `TinySSD`.
    """
    model_config.anchors.check_blocks()
    shapes: dict[str, tuple[int, ...]] = {}

    def convolution(name: str, out_channels: int, in_channels: int) -> None:
        shapes[f"{name}.weight"] = (out_channels, in_channels, 3, 3)
        shapes[f"{name}.bias"] = (out_channels,)

    def down_sample(name: str, out_channels: int, in_channels: int) -> None:
        for first in (0, 3):  # convolution, batch normalisation, ReLU; twice
            convolution(f"{name}.{first}", out_channels, in_channels)
            for part in ("weight", "bias", *_STATISTICS):
                shapes[f"{name}.{first + 1}.{part}"] = (out_channels,)
            in_channels = out_channels

    channels = 3
    for i in range(NUM_BLOCKS):
        if i == 0:
            for j, out_channels in enumerate(BASE_CHANNELS):
                down_sample(f"blk_0.{j}", out_channels, channels)
                channels = out_channels
        elif i < NUM_BLOCKS - 1:
            down_sample(f"blk_{i}", BLOCK_CHANNELS, channels)
            channels = BLOCK_CHANNELS
        per_unit = model_config.anchors.per_unit(i)
        convolution(f"cls_{i}", per_unit * (model_config.num_classes + 1), channels)
        convolution(f"bbox_{i}", per_unit * 4, channels)
    return shapes


def map_size(name: str, model_config: ModelConfig) -> int:
    """Return the height and width of the maps that a convolution, or batch normalisation, takes and returns.

    Args:
        name: canonical name of one of its parameters.
        model_config: the model.
    """
    layer, place, *_ = name.split(".")
    kind, block = layer.split("_")
    if kind != "blk":
        return model_config.feature_map_sizes[int(block)]
    if block == "0":  # each of its downsampling blocks halves an image at its end
        return model_config.image_size // 2 ** int(place)
    return model_config.feature_map_sizes[int(block) - 1]


def count_parameters(model_config: ModelConfig) -> int:
    """Return the number of trained values of a model, running statistics not counted."""
    return sum(math.prod(s) for name, s in parameter_shapes(model_config).items() if not name.endswith(_STATISTICS))


def initial_weights(model_config: ModelConfig, train_config: TrainConfig, dtype: str = "float32") -> Weights:
    """Return the initial value of every parameter, the same for both backends.

    Each tensor has its own random stream, from the seed and its name. Biases of Xavier are 0; batch normalisation
    starts as the identity.

    Args:
        model_config: the model.
        train_config: `init`, `init_magnitude` and `seed` are used. "xavier" draws weights from ±sqrt(magnitude /
            mean(fan_in, fan_out)), "torch" draws weights and biases from ±1 / sqrt(fan_in).
        dtype: of the result; the values are drawn in float64 and rounded to float32 in any case.

    Source: Gluon's `init.Xavier` and the default of PyTorch's `nn.Conv2d`.
    """
    weights = {}
    shapes = parameter_shapes(model_config)
    for name, shape in shapes.items():
        layer, part = name.rsplit(".", 1)
        kernel = shapes[f"{layer}.weight"]
        rng = np.random.default_rng([train_config.seed, zlib.crc32(name.encode())])
        if len(kernel) == 1:  # batch normalisation
            value = np.full(shape, 1.0 if part in ("weight", "running_var") else 0.0)
        else:
            fan_out, fan_in = kernel[0] * 9, kernel[1] * 9
            if train_config.init == "torch":
                value = rng.uniform(-1, 1, shape) / math.sqrt(fan_in)
            elif part == "weight":
                value = rng.uniform(-1, 1, shape) * math.sqrt(train_config.init_magnitude * 2 / (fan_in + fan_out))
            else:
                value = np.zeros(shape)
        weights[name] = value.astype(np.float32).astype(dtype)
    return weights


def check_weights(
    weights: Weights, model_config: ModelConfig, source: str, source_names: Mapping[str, str] | None = None
) -> None:
    """Raise InputError, naming the tensor, unless `weights` are those of the model and finite.

    Args:
        weights: numpy arrays by canonical name.
        model_config: the model.
        source: the file they come from, for messages.
        source_names: what the file itself calls each tensor, by canonical name; by default the same.
    """
    try:
        shapes = parameter_shapes(model_config)
    except InputError as error:
        raise InputError(f"{source}: {error}") from None
    missing, unknown = [name for name in shapes if name not in weights], sorted(set(weights) - set(shapes))
    lacks = f"{_counted([(source_names or {}).get(name, name) for name in missing])} missing" if missing else ""
    if unknown:
        strange = _counted(unknown, " does", " do") + " not belong to the model" + (f", and {lacks}" if lacks else "")
        own = "a network that was changed is saved and loaded by its framework, torch.save or save_parameters"
        raise InputError(f"{source}: {strange}: {own}")
    if missing:
        raise InputError(f"{source}: {lacks}; is it a TinySSD of {model_config.num_classes} classes?")
    for name, shape in shapes.items():
        tensor = f"{source}: tensor {(source_names or {}).get(name, name)}"
        if weights[name].shape != shape:
            raise InputError(f"{tensor} should be {shape}, found {weights[name].shape}")
        if weights[name].dtype.kind != "f":
            raise InputError(f"{tensor} is {weights[name].dtype}, not floating point")
        if not np.isfinite(weights[name]).all():
            raise InputError(f"{tensor} holds values that are not finite")
        if name.endswith("running_var") and (weights[name] < 0).any():
            raise InputError(f"{tensor} holds variances below 0")


def _counted(names: Sequence[str], one: str = " is", several: str = " are") -> str:
    """Return "tensor a is" or "tensors a, b, c and 4 more are"."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"tensor{'s' * (len(names) > 1)} {', '.join(names[:3])}{more}{one if len(names) == 1 else several}"


def check_velocity(velocity: Weights, weights: Weights, source: str) -> None:
    """Raise InputError, naming the tensor, unless every velocity is that of a trained parameter, and finite."""
    for name, value in velocity.items():
        if name not in weights or name.endswith(_STATISTICS):
            raise InputError(f"{source}{name} does not belong to the model")
        if value.shape != weights[name].shape or value.dtype.kind != "f":
            wanted = f"{weights[name].shape} of floating point"
            raise InputError(f"{source}{name} should be {wanted}, found {value.shape} of {value.dtype}")
        if not np.isfinite(value).all():
            raise InputError(f"{source}{name} holds values that are not finite")
