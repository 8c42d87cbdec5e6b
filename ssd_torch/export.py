"""Export: the network as an ONNX graph, made by the framework's own exporter."""

import warnings

import torch

from ssd_common.config import INPUT_MULTIPLE

OPSET = 18  # the lowest that the exporter writes


def export_net(net, model_config, dynamic_size=False):
    """Return the network as an ONNX graph: images in; anchors, class logits and offsets out.

    Args:
        net: the network, float32, on the CPU; it is left in evaluation mode.
        model_config: its `ModelConfig`.
        dynamic_size: let images have any height and width that are multiples of 64, in place of those of the model; the
            graph computes the anchors of either.

    Returns:
        An `onnx.ModelProto` with input `images` and outputs `anchors`, `cls_preds`, `bbox_preds`, for any batch size.
    """
    from onnxscript import opset18

    def global_max_pool(x, size):
        """Return what `adaptive_max_pool2d` returns for size 1 × 1; the exporter has no translation of its own."""
        return opset18.GlobalMaxPool(x), opset18.Shape(x)

    sizes = {axis: INPUT_MULTIPLE * torch.export.Dim(f"units_{axis}", max=128) for axis in (2, 3)}
    axes = {0: torch.export.Dim("batch"), **(sizes if dynamic_size else {})}
    X = torch.zeros(2, 3, 2 * INPUT_MULTIPLE, 2 * INPUT_MULTIPLE)
    if not dynamic_size:
        X = torch.zeros(2, 3, model_config.image_size, model_config.image_size)
    net.eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch warns of what it deprecates and calls itself
        # Only the strict kind follows len(X) to the size of the batch; the other takes it for a number.
        program = torch.export.export(net, (X,), dynamic_shapes=(axes,), strict=True)
        exported = torch.onnx.export(
            program,
            input_names=["images"],
            output_names=["anchors", "cls_preds", "bbox_preds"],
            opset_version=OPSET,
            custom_translation_table={torch.ops.aten.adaptive_max_pool2d.default: global_max_pool},
            verbose=False,
        )
    return exported.model_proto
