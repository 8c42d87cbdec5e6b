"""Export: the network as an ONNX graph, made by the framework's own exporter."""

import tempfile
import warnings
from math import sqrt
from pathlib import Path

from mxnet import name, nd, sym, util

from ssd_common.config import NUM_BLOCKS

from .model import TinySSD
from .weights import _tensors, get_weights

OPSET = 13  # the one that the exporter's translations are written for


def export_net(net, model_config, dynamic_size=False):
    """Return the network as an ONNX graph: images in; anchors, class logits and offsets out.

    MXNet's exporter knows the operators of `mx.sym` and none of `np` and `npx`. So the network is built once more with
    the old operators, as symbols.

    Args:
        net: the network.
        model_config: its `ModelConfig`.
        dynamic_size: let images have any height and width that are multiples of 64, in place of those of the model; the
            graph computes the anchors of either.

    Returns:
        An `onnx.ModelProto` with input `images` and outputs `anchors`, `cls_preds`, `bbox_preds`, for any batch size.
    """
    import onnx
    from mxnet import onnx as exporter

    size = None if dynamic_size else model_config.image_size
    with util.np_array(False), util.np_shape(False), name.NameManager():  # names counted from 0
        old = TinySSD(net.num_classes, net.anchor_config)
        outputs = sym.Group(_forward(old, sym.var("images")))
        names = {parameter.name: canonical for canonical, parameter in _tensors(old).items()}
        weights = get_weights(net)
        parameters = {parameter: nd.array(weights[canonical]) for parameter, canonical in names.items()}
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MXNet calls what onnx 1.17 and 1.18 deprecate
            path = str(Path(folder) / "net.onnx")
            shapes = [(1, 3, model_config.image_size, model_config.image_size)]
            exporter.export_model(
                outputs, parameters, shapes, "float32", path, dynamic=True, dynamic_input_shapes=[(None, 3, size, size)]
            )
            model = onnx.load(path)
    model.opset_import[0].version = OPSET
    for tensor in model.graph.initializer:
        tensor.name = names.get(tensor.name, tensor.name)
    for node in model.graph.node:
        node.input[:] = [names.get(tensor, tensor) for tensor in node.input]
    return model


def _forward(net, X):
    """Return what `TinySSD.forward` returns, as symbols of the old operators."""
    anchors, cls_preds, bbox_preds = [], [], []
    for i in range(NUM_BLOCKS):
        X = getattr(net, f"blk_{i}")(X)
        anchors.append(_multibox_prior(X, net.anchor_config.sizes[i], net.anchor_config.ratios[i]))
        cls_preds.append(_flatten_pred(getattr(net, f"cls_{i}")(X)))
        bbox_preds.append(_flatten_pred(getattr(net, f"bbox_{i}")(X)))
    anchors = sym.concat(*anchors, dim=1, name="anchors")
    cls_preds = sym.reshape(sym.concat(*cls_preds, dim=1), (0, -1, net.num_classes + 1), name="cls_preds")
    return anchors, cls_preds, sym.concat(*bbox_preds, dim=1, name="bbox_preds")


def _flatten_pred(pred):
    """Return what `flatten_pred` returns, as a symbol."""
    return sym.flatten(sym.transpose(pred, (0, 2, 3, 1)))


def _multibox_prior(data, sizes, ratios):
    """Return what `multibox_prior` returns, as a symbol: the map's size is known only where the graph runs."""
    map_shape = sym.cast(sym.shape_array(data), "float32")
    height, width = (sym.slice_axis(map_shape, axis=0, begin=axis, end=axis + 1) for axis in (2, 3))
    center_y = sym.broadcast_div(sym.contrib.arange_like(data, axis=2) + 0.5, height)
    center_x = sym.broadcast_div(sym.contrib.arange_like(data, axis=3) + 0.5, width)
    y = sym.broadcast_add(sym.expand_dims(center_y, 1), sym.expand_dims(sym.zeros_like(center_x), 0))  # (height, width)
    x = sym.broadcast_add(sym.expand_dims(sym.zeros_like(center_y), 1), sym.expand_dims(center_x, 0))
    shapes = [(size, ratios[0]) for size in sizes] + [(sizes[0], ratio) for ratio in ratios[1:]]
    anchors = []
    for size, ratio in shapes:
        half_w, half_h = sym.broadcast_div(size * sqrt(ratio) * height, width) / 2, size / sqrt(ratio) / 2
        left, right = sym.broadcast_sub(x, half_w), sym.broadcast_add(x, half_w)
        anchors.append(sym.stack(left, y - half_h, right, y + half_h, axis=-1))
    return sym.reshape(sym.stack(*anchors, axis=2), (1, -1, 4))
