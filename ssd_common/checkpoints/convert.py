"""Weights files of others: told by their content, read into a checkpoint, and written from one.

| file | written by | what names a tensor |
|---|---|---|
| safetensors | this package | canonical; configuration and sha256 in the metadata |
| safetensors, `.pt`, `.pth` | `net.state_dict()` of the book's PyTorch edition | `blk_1.1.weight` |
| `.params` | `save_parameters` of the book's MXNet edition | `blk_1.1.gamma` |
| `.params` | the Straight Dope's chapter | `batchnorm0_gamma` |
| `.params` | `collect_params().save` or `export` of the book's MXNet edition | `batchnorm0_gamma`, in another order |

In front of the names may stand those of a network that this one is a part of, such as `module.` of `nn.DataParallel`.

Only the first says which model it is: for the others a preset does. The first, the zip of PyTorch and what
`write_params` wrote have checksums: in the others a changed value is read as it is.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssd_common.backends import load_backend
from ssd_common.checkpoints.checkpoint import FORMATS as OWN_FORMATS
from ssd_common.checkpoints.checkpoint import Checkpoint, load_checkpoint, read_safetensors, save_checkpoint
from ssd_common.checkpoints.first_bytes import first_bytes
from ssd_common.checkpoints.params_file import read_params, write_params
from ssd_common.checkpoints.params_list import LIST_MAGIC
from ssd_common.checkpoints.pretrained import resolve
from ssd_common.config import BASE_CHANNELS, BOOK, NUM_BLOCKS, PRESETS, STRAIGHT_DOPE, Config, RunConfig
from ssd_common.errors import InputError
from ssd_common.weights import Weights, check_weights, parameter_shapes

Arrays = Mapping[str, NDArray[Any]]

FORMATS = {
    ".safetensors": "tinyssd's own, with configuration, optimiser and sha256",
    ".params": "MXNet: of the book's network (gluon) or of The Straight Dope's (straight-dope)",
    ".pt": "PyTorch: state_dict of the book's network",
    ".pth": "the same as .pt",
}
"""What `save_weights` writes, by suffix."""
PARAMS_NAMES = ("gluon", "straight-dope")
"""Whose names of tensors a `.params` file can have."""

_GLUON_PARTS = {"weight": "gamma", "bias": "beta"}  # of batch normalisation
_COUNTER = ".num_batches_tracked"  # of PyTorch's batch normalisation, which uses the count only if it has no momentum
_NAMED_LAYER = re.compile(r"((?:.*\.)??)(?:blk|cls|bbox)_\d+\.")
_FLAT_LAYER = re.compile(r"(.*?)(?:conv|batchnorm)\d+_")  # in front may be the name of the network, `toyssd0_`
_COUNTED = re.compile(r"(conv|batchnorm)(\d{1,9})_")
_CANONICAL = tuple(parameter_shapes(BOOK.model))  # the same for every model


def load_weights(
    path: Path, preset: Config | None = None, class_names: tuple[str, ...] | None = None, *, strict: bool = True
) -> Checkpoint:
    """Return the checkpoint in a weights file of any kind; the file's content says which, its suffix does not matter.

    A foreign file has weights only. Its number of classes is that of its class predictors; anchors, preprocessing and
    the rest come from a preset. float16 and bfloat16 become float32, which loses nothing.

    Args:
        path: the file.
        preset: for a foreign file; by default the one of the chapter whose names the file has.
        class_names: for a foreign file; by default the preset's if it has as many, otherwise "class 0", "class 1", ...
        strict: refuse preset and class names for a file that carries its own; otherwise they are not used then.

    Raises:
        InputError: the file cannot be read or is not a TinySSD of that preset and those classes; or it is one of this
            package, which carries its own configuration, and another was given.
    """
    path = resolve(Path(path))
    arrays = _read_arrays(path)
    if arrays is None:
        if strict and (preset is not None or class_names is not None):
            raise InputError(f"{path}: carries its own configuration and class names; leave preset and classes out")
        return load_checkpoint(path)
    arrays = {name: value for name, value in arrays.items() if not name.endswith(_COUNTER)}
    names, usual_preset = _recognise(arrays, path)
    return _to_checkpoint(arrays, names, preset or usual_preset, class_names, path)


def not_kept(path: Path, checkpoint: Checkpoint, names: str = "gluon") -> list[str]:
    """Return a line that says what a file of weights alone does not keep; none where a reader assumes just that.

    The arguments are those of `save_weights`.
    """
    usual_name = "straight-dope" if names == "straight-dope" else "book"
    usual = PRESETS[usual_name]
    words = {"class_names": "class names", "image_size": "image size", "mean": "mean", "anchors": "anchors"}
    lost = [words[name] for name in words if getattr(checkpoint.config.model, name) != getattr(usual.model, name)]
    lost += ["thresholds of detection"] if checkpoint.config.predict != usual.predict else []
    if path.suffix.lower() == ".safetensors" or not lost:
        return []
    return [f"not kept: {', '.join(lost)}; whoever reads weights alone takes those of the preset {usual_name}"]


def save_weights(path: Path, checkpoint: Checkpoint, names: str = "gluon") -> None:
    """Write the weights of a checkpoint to a file whose suffix says which kind.

    Only `.safetensors` keeps more than the weights: `.params` and `.pt` lose configuration, class names and optimiser.

    Args:
        path: ends in one of the `FORMATS`.
        checkpoint: its weights must be those of its model; values are written in their type.
        names: whose names the tensors of a `.params` file have. "gluon" is for `load_parameters` of the book's MXNet
            network or of `ssd_mxnet`; "straight-dope" for the network of that chapter.

    Raises:
        InputError: unknown suffix or names, or the weights are not those of the model.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise InputError(f"{path}: unknown suffix '{path.suffix}'; the suffixes are {', '.join(FORMATS)}")
    if names not in PARAMS_NAMES:
        raise InputError(f"unknown names '{names}'; those of a .params file are {', '.join(PARAMS_NAMES)}")
    if names != "gluon" and suffix != ".params":
        raise InputError(f"{path}: only a .params file can have the names of {names}")
    if suffix == ".safetensors":
        save_checkpoint(path, checkpoint)
        return
    weights = checkpoint.weights
    check_weights(weights, checkpoint.config.model, str(path))
    if suffix == ".params":
        file_names = _gluon_names() if names == "gluon" else _straight_dope_names()
        write_params(path, {file_names[name]: weights[name] for name in _CANONICAL})
    else:
        load_backend("torch").state_dict.write_state_dict(path, _state_dict(weights, checkpoint.step))


def _read_arrays(path: Path) -> Arrays | None:
    """Return the arrays of a foreign weights file by the file's names, or None for a file of this package."""
    start = first_bytes(path)
    if start[:8] == LIST_MAGIC.to_bytes(8, "little"):
        return read_params(path)
    if start[:4] == b"PK\3\4":
        arrays: Arrays = load_backend("torch").state_dict.read_state_dict(path)
        return arrays
    if start[8:9] == b"{":  # behind the length of the header, its JSON
        tensors, metadata = read_safetensors(path, widen=True)
        # Either key will do, so that a damaged one does not make a file without checksum out of one with.
        return None if metadata.get("format") in OWN_FORMATS or "sha256" in metadata else tensors
    kinds = "neither safetensors, nor MXNet's .params, nor a zip of torch.save, which PyTorch 1.6 and later write"
    raise InputError(f"{path}: not a weights file: {kinds}")


def _recognise(arrays: Arrays, path: Path) -> tuple[dict[str, str], Config]:
    """Return the file's name of each tensor by canonical name, and the preset of the chapter it belongs to."""
    if not arrays:
        raise InputError(f"{path}: holds no tensors")
    for name in arrays:
        if len(name) > 200 or not name.isprintable():  # what is left fits into a message
            raise InputError(f"{path}: tensor {name[:80]!r} does not belong to the model")
    if list(arrays) == [str(i) for i in range(len(arrays))]:
        raise InputError(f"{path}: a list without names, which say what each array is: save it with save_parameters")
    prefixes = Counter(named[1] for name in arrays if (named := _NAMED_LAYER.match(name)))
    if prefixes:
        prefix = prefixes.most_common(1)[0][
            0
        ]  # of a network that was saved as a part of another: "module.", "_orig_mod.", "net."
        gluon = any(name.endswith((".gamma", ".beta")) for name in arrays)
        places = _gluon_names() if gluon else {name: name for name in _CANONICAL}
        return {canonical: prefix + name for canonical, name in places.items()}, BOOK
    for name in arrays:
        if layer := _FLAT_LAYER.match(name):
            return _by_counter(arrays, layer[1])
    raise InputError(
        f"{path}: not the weights of a TinySSD: no tensor is called blk_0.0.0.weight, as the book's, or conv0_weight, "
        f"as The Straight Dope's; the first is {next(iter(arrays))}"
    )


def _by_counter(arrays: Arrays, prefix: str) -> tuple[dict[str, str], Config]:
    """Return what `_recognise` does, for names by the counters with which Gluon numbers layers as they are made.

    The counters go on from the networks that were made before, so that only the order of the numbers counts. The book
    makes the body first, whose first convolution takes images; The Straight Dope makes it last.
    """
    found: dict[str, set[int]] = {"conv": set(), "batchnorm": set()}
    for name in arrays:
        if counted := _COUNTED.match(name.removeprefix(prefix)):
            found[counted[1]].add(int(counted[2]))
    numbers = {kind: sorted(each) for kind, each in found.items()}
    first = arrays.get(f"{prefix}conv{min(found['conv'], default=0)}_weight")
    is_book = first is not None and first.shape[1:2] == (3,)
    order, preset = (_book_order(), BOOK) if is_book else (_straight_dope_order(), STRAIGHT_DOPE)
    if any(len(numbers[kind]) != len(order[kind]) for kind in order):  # not a TinySSD; say what is missing
        numbers = {kind: list(range(len(order[kind]))) for kind in order}
    return {canonical: prefix + flat for canonical, flat in _flat_names(order, numbers).items()}, preset


def _to_checkpoint(
    arrays: Arrays, names: Mapping[str, str], preset: Config, class_names: tuple[str, ...] | None, path: Path
) -> Checkpoint:
    own = set(names.values())
    for name, array in arrays.items():
        if name not in own:
            raise InputError(f"{path}: tensor {name} does not belong to the model: save the network without it")
        if array.dtype.kind != "f":
            raise InputError(f"{path}: tensor {name} is {array.dtype}, not floating point: save it as float32")
        if np.isfinite(array).all() and np.abs(array).max(initial=0) > np.finfo(np.float32).max:
            raise InputError(f"{path}: tensor {name} holds values that float32 cannot: train again with a lower rate")
    weights = {name: arrays[names[name]] for name in _CANONICAL if names[name] in arrays}
    num_classes = _count_classes(weights, names, preset, path)
    if class_names is None:
        numbered = tuple(f"class {i}" for i in range(num_classes))
        class_names = preset.model.class_names if preset.model.num_classes == num_classes else numbered
    if len(class_names) != num_classes:
        raise InputError(
            f"{path}: the weights have {num_classes} classes, {len(class_names)} are named ({', '.join(class_names)})"
        )
    model = dataclasses.replace(preset.model, class_names=class_names)
    check_weights(weights, model, str(path), names)
    weights = {name: value.astype(np.float32) if value.itemsize < 4 else value for name, value in weights.items()}
    return Checkpoint(weights, RunConfig(dataclasses.replace(preset, model=model)))


def _name_of(preset: Config) -> str:
    return next((name for name, config in PRESETS.items() if config == preset), "given")


def _count_classes(weights: Weights, names: Mapping[str, str], preset: Config, path: Path) -> int:
    """Return the number of classes that the class predictors were made for, once the anchors are the preset's."""
    anchors, shapes = preset.model.anchors, parameter_shapes(preset.model)
    for i in range(NUM_BLOCKS):
        name = f"bbox_{i}.weight"
        if name in weights and weights[name].shape[:1] != shapes[name][:1]:
            raise InputError(
                f"{path}: tensor {names[name]} should be {shapes[name]} for the {anchors.per_unit(i)} anchors "
                f"at each unit that preset {_name_of(preset)} has, found {weights[name].shape}; is it the right preset?"
            )
    name, per_unit = "cls_0.weight", anchors.per_unit(0)
    if name not in weights:
        raise InputError(f"{path}: tensor {names[name]} is missing; is it a TinySSD?")
    shape = weights[name].shape
    # With all of the other dimensions right, the first is one that the file has values for.
    if shape[1:] != shapes[name][1:] or shape[0] % per_unit or shape[0] < 2 * per_unit:
        raise InputError(
            f"{path}: tensor {names[name]} should be ({per_unit} * (classes + 1), "
            f"{', '.join(map(str, shapes[name][1:]))}) for {per_unit} anchors at each unit, found {shape}"
        )
    return shape[0] // per_unit - 1


def _gluon_names() -> dict[str, str]:
    """Return what Gluon calls each tensor, by canonical name."""
    return {name: f"{layer}.{part}" for name, layer, part in _gluon_parts()}


def _straight_dope_names() -> dict[str, str]:
    """Return what The Straight Dope's network calls each tensor, by canonical name."""
    order = _straight_dope_order()
    return _flat_names(order, {kind: range(len(layers)) for kind, layers in order.items()})


def _flat_names(order: Mapping[str, list[str]], numbers: Mapping[str, Sequence[int]]) -> dict[str, str]:
    """Return flat names by canonical name; each kind's layers, in the order they were made, have the numbers."""
    flat = {
        layer: f"{kind}{number}"
        for kind, layers in order.items()
        for layer, number in zip(layers, numbers[kind], strict=True)
    }
    return {name: f"{flat[layer]}_{part}" for name, layer, part in _gluon_parts()}


def _straight_dope_order() -> dict[str, list[str]]:
    """Return the layers as that chapter makes them: the downsampling blocks, the predictors of each scale, the body."""
    blocks, base = [f"blk_{i}" for i in range(1, NUM_BLOCKS - 1)], [f"blk_0.{i}" for i in range(len(BASE_CHANNELS))]
    predictors = [f"{kind}_{i}" for i in range(NUM_BLOCKS) for kind in ("cls", "bbox")]
    convolutions = [f"{block}.{i}" for block in blocks for i in (0, 3)] + predictors
    convolutions += [f"{block}.{i}" for block in base for i in (0, 3)]
    return {"conv": convolutions, "batchnorm": [f"{block}.{i}" for block in blocks + base for i in (1, 4)]}


def _book_order() -> dict[str, list[str]]:
    """Return the layers as the book's network makes them: block after block, each ahead of its predictors."""
    layers = dict.fromkeys(name.rsplit(".", 1)[0] for name in _CANONICAL)
    normalisations = [layer for layer in layers if f"{layer}.running_mean" in _CANONICAL]
    return {"conv": [layer for layer in layers if layer not in normalisations], "batchnorm": normalisations}


def _gluon_parts() -> Iterator[tuple[str, str, str]]:
    """Yield the canonical name, the layer and Gluon's word for its part of each tensor."""
    for name in _CANONICAL:
        layer, part = name.rsplit(".", 1)
        is_normalisation = f"{layer}.running_mean" in _CANONICAL
        yield name, layer, _GLUON_PARTS[part] if is_normalisation and part in _GLUON_PARTS else part


def _state_dict(weights: Weights, batches: int) -> Arrays:
    """Return the weights with PyTorch's counters of batches, each behind the statistics it counts."""
    state: dict[str, NDArray[Any]] = {}
    for name in _CANONICAL:
        state[name] = weights[name]
        if name.endswith(".running_var"):
            state[name.removesuffix(".running_var") + _COUNTER] = np.array(batches, np.int64)
    return state
