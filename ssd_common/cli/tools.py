"""The verbs `convert` and `info`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import FlagCreatePairsOff, Positional, arg

from ssd_common.cli.flags import OptionalPreset
from ssd_common.errors import InputError
from ssd_common.output.console import print_lines
from ssd_common.output.folders import check_file


def convert(
    source: Annotated[Positional[Path], arg(metavar="IN")],
    target: Annotated[Positional[Path | None], arg(metavar="OUT", help_behavior_hint="")] = None,
    preset: OptionalPreset = None,
    class_names: Annotated[str | None, arg(metavar="NAME,NAME", help_behavior_hint="")] = None,
    names: Annotated[Literal["gluon", "straight-dope"], arg(metavar="gluon|straight-dope")] = "gluon",
    any_model: Annotated[FlagCreatePairsOff[bool], arg(name="any")] = False,
) -> int:
    """Convert a weights file between tinyssd, the book's two editions and The Straight Dope.

    Args:
        source: Weights file: tinyssd's .safetensors, Gluon's .params, The Straight Dope's .params, or PyTorch's .pt.
        target: File to write; its ending (.safetensors, .params or .pt) selects the format. Optional with --any.
        preset: Configuration for a weights file without one (default: that of the chapter the file comes from).
        class_names: Class names for a weights file without them.
        names: Parameter names in a .params file: those of Gluon's save_parameters, or those of The Straight Dope.
        any_model: Print the content of an MXNet .params file of any model, and convert it to .safetensors or back.
    """
    if any_model:
        if preset is not None or class_names is not None or names != "gluon":
            raise InputError("--any keeps every name: leave out --preset, --class-names and --names")
        return _convert_any(source, target)
    if target is None:
        raise InputError("convert IN OUT: name the file to write; only convert --any IN prints what is in a file")
    from ssd_common.checkpoints.convert import load_weights, not_kept, save_weights
    from ssd_common.config import get_preset
    from ssd_common.data.formats.class_names import checked_class_names, clean_name

    check_file("OUT", target)
    classes = None
    if class_names is not None:
        classes = checked_class_names([clean_name(name) for name in class_names.split(",")], "--class-names")
    checkpoint = load_weights(source, get_preset(preset) if preset else None, classes)
    save_weights(target, checkpoint, names)
    what = f"{len(checkpoint.weights)} tensors, classes {', '.join(checkpoint.config.model.class_names)}"
    print_lines([f"wrote {target}: {what}", *not_kept(target, checkpoint, names)])
    return 0


def _convert_any(source: Path, target: Path | None) -> int:
    """Print what is in a weights file of any model, and write it as another kind."""
    from ssd_common.checkpoints.any_model import check_suffix, load_any, save_any, table
    from ssd_common.checkpoints.params_list import shown

    if target is not None:
        check_suffix(target)
        check_file("OUT", target)
    params, metadata = load_any(source)
    print_lines(table(params))
    if metadata:
        print_lines([f"metadata, which --any does not keep: {', '.join(map(shown, metadata))}"])
    if target is not None:
        save_any(target, params)
        print_lines([f"wrote {target}: {len(params.arrays)} arrays"])
    return 0


def info() -> int:
    """Show versions, devices, and the size of the book's model."""
    from ssd_common.backends import BACKENDS, load_backend
    from ssd_common.config import BOOK
    from ssd_common.machine import machine, versions
    from ssd_common.weights import count_parameters

    lines = [f"{name:<14}{version}" for name, version in {**versions(), **machine()}.items()]
    for name in BACKENDS:
        try:
            lines.append(f"{name + ' runs on':<14}{load_backend(name).data.get_device('auto')}")
        except InputError as error:
            lines.append(f"{name + ' runs on':<14}nothing: {error}")
    model = BOOK.model
    lines.append(f"{'parameters':<14}{count_parameters(model):,} with {model.num_classes} class")
    lines.append("anchors")
    for i, size in enumerate(model.feature_map_sizes):
        per_unit = model.anchors.per_unit(i)
        sizes = ", ".join(map(str, model.anchors.sizes[i]))
        lines.append(f"  scale {i}: {size:>2} x {size:<2} x {per_unit} = {size * size * per_unit:>4}   sizes {sizes}")
    lines.append(f"  in all: {model.num_anchors}")
    print_lines(lines)
    return 0
