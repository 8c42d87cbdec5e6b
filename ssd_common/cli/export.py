"""The verb `export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import FlagCreatePairsOff, Positional, arg

from ssd_common.cli.flags import BackendName, OptionalPreset
from ssd_common.errors import InputError
from ssd_common.output.console import print_lines
from ssd_common.output.folders import check_file


def export(
    target: Annotated[Positional[Path], arg(metavar="OUT.onnx")],
    weights: Annotated[Path, arg(metavar="FILE", help_behavior_hint="")] = Path("pretrained"),
    backend: BackendName = "torch",
    preset: OptionalPreset = None,
    dynamic_size: FlagCreatePairsOff[bool] = False,
    with_detection: FlagCreatePairsOff[bool] = False,
) -> int:
    """Write a detector as an ONNX file, which other programs can run without PyTorch and MXNet.

    The input is a batch of any size, float32 (batch, 3, height, width): RGB values from 0 to 255, minus the model's
    mean. The outputs are anchors, class logits and offsets. tinyssd predict --weights OUT.onnx runs the file in ONNX
    Runtime.

    Args:
        target: File to write.
        weights: Weights file in any format that convert reads (default: the detector that comes with tinyssd).
        backend: Framework whose exporter writes the file.
        preset: Configuration for a weights file without one (default: that of the chapter the file comes from).
        dynamic_size: Accept images of any height and width that are multiples of 64, not only the model's image size.
        with_detection: Return detections: the file contains softmax, decoding and non-maximum suppression, too.
            The output is (batch, boxes, 6) with class, score and corners, best first. Ignore rows of class -1.
    """
    from ssd_common.backends import load_backend
    from ssd_common.checkpoints.convert import load_weights
    from ssd_common.checkpoints.pretrained import which_weights
    from ssd_common.config import get_preset
    from ssd_common.onnx_files import check_packages, encode_onnx, make_graph
    from ssd_common.output.atomic import write_atomically

    if target.suffix.lower() != ".onnx":
        raise InputError(
            f"{target}: export writes ONNX files; end the name in .onnx (convert writes the other formats)"
        )
    check_file("OUT.onnx", target)
    check_packages("onnx")
    said, weights = which_weights(weights)
    checkpoint = load_weights(weights, get_preset(preset) if preset else None)
    framework = load_backend(backend)
    graph = make_graph(framework, checkpoint, dynamic_size)
    payload = encode_onnx(graph, framework, checkpoint, dynamic_size=dynamic_size, with_detection=with_detection)
    write_atomically(target, payload)
    size = (
        "any size" if dynamic_size else f"{checkpoint.config.model.image_size} x {checkpoint.config.model.image_size}"
    )
    returns = "detections" if with_detection else "anchors, class logits and offsets"
    print_lines([*said, f"wrote {target}: {len(payload) / 1e6:.1f} MB, images of {size} to {returns}, by {backend}"])
    return 0
