"""What both exporters' graphs are brought to: one input, three outputs, dimensions with names, and nothing else.

Nothing here imports `onnx`: a graph is changed through its own methods.
"""

from __future__ import annotations

from typing import Any

from ssd_common.config import ModelConfig

IR_VERSION = 8
"""Of the file format; every ONNX Runtime since 1.10 reads it."""
INPUT = "images"
RAW_OUTPUTS = ("anchors", "cls_preds", "bbox_preds")
DETECTIONS = "detections"

Dimensions = tuple[int | str, ...]


def dimensions(model_config: ModelConfig, dynamic_size: bool) -> dict[str, Dimensions]:
    """Return the dimensions of input and raw outputs by name; a text is the name of one that is known at run time."""
    height, width, anchors, offsets = (
        ("height", "width", "num_anchors", "num_anchors * 4")
        if dynamic_size
        else (*[model_config.image_size] * 2, model_config.num_anchors, model_config.num_anchors * 4)
    )
    return {
        INPUT: ("batch", 3, height, width),
        "anchors": (1, anchors, 4),
        "cls_preds": ("batch", anchors, model_config.num_classes + 1),
        "bbox_preds": ("batch", offsets),
    }


def tidy(model: Any, model_config: ModelConfig, dynamic_size: bool) -> None:
    """Bring an exporter's model to one input and three outputs whose dimensions have names.

    MXNet lists the weights as inputs. PyTorch keeps the paths of source files on the computer that exports.

    Args:
        model: an `onnx.ModelProto`; it is changed.
        model_config: its configuration.
        dynamic_size: whether height and width are known at run time only.
    """
    graph = model.graph
    for thing in (model, graph, *graph.node, *graph.initializer):
        thing.ClearField("doc_string")
    for thing in (graph, *graph.node, *graph.initializer):
        if "metadata_props" in thing.DESCRIPTOR.fields_by_name:  # not in onnx 1.16
            thing.ClearField("metadata_props")
    graph.ClearField("value_info")
    graph.name = "tinyssd"
    model.ir_version = IR_VERSION
    declared = dimensions(model_config, dynamic_size)
    of_name = {value.name: value for value in (*graph.input, *graph.output)}
    for values, names in ((graph.input, (INPUT,)), (graph.output, RAW_OUTPUTS)):
        kept = [of_name[name] for name in names]
        del values[:]
        values.extend(kept)
        for value in values:
            set_dimensions(value, declared[value.name])


def set_dimensions(value: Any, names: Dimensions) -> None:
    """Overwrite the dimensions of an input or output with numbers, and names of those known at run time only."""
    shape = value.type.tensor_type.shape
    del shape.dim[:]
    for name in names:
        dimension = shape.dim.add()
        if isinstance(name, int):
            dimension.dim_value = name
        else:
            dimension.dim_param = name
