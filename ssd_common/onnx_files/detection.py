"""The last part of a detector as an ONNX graph: what `predict` does with anchors, logits and offsets.

It is written in ONNX's own text form and in operators that have not changed from opset 13 to 18, so that it fits behind
the graph of either framework.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ssd_common.config import ModelConfig, PredictConfig
from ssd_common.onnx_files.graph import DETECTIONS, dimensions, set_dimensions

GRAPH = """
detector (float[1, A, 4] anchors, float[N, A, C] cls_preds, float[N, B] bbox_preds)
    => (float[N, K, 6] detections)
    <
        int64[1] first = {{1}}, int64[1] last = {{{num_classes_and_background}}}, int64[1] class_axis = {{2}},
        int64[2] halves = {{2, 2}}, int64[3] rows_of_four = {{0, -1, 4}}, int64[3] four_times = {{1, 1, 4}},
        int64[2] image_and_rank = {{0, 2}}, int64[1] one_row = {{1}},
        int64[1] top_k = {{{top_k}}}, int64[1,1,{num_classes}] classes = {{{classes}}},
        float two = {{2}}, float five = {{5}}, float ten = {{10}}, float dropped = {{-1}}, float edge0 = {{0}},
        float edge1 = {{1}}, float none = {{-0.5}}, float pos_threshold = {{{pos_threshold}}},
        float nms_threshold = {{{nms_threshold}}}
    >
{{
    probabilities = Softmax <axis = 2> (cls_preds)
    of_objects = Slice (probabilities, first, last, class_axis)
    best_class = ArgMax <axis = 2, keepdims = 1> (of_objects)
    best_score = GatherElements <axis = 2> (of_objects, best_class)

    low, high = Split <axis = 2> (anchors, halves)
    sum = Add (low, high)
    anchor_center = Div (sum, two)
    anchor_size = Sub (high, low)
    offsets = Reshape (bbox_preds, rows_of_four)
    offset_center, offset_size = Split <axis = 2> (offsets, halves)
    shift = Mul (offset_center, anchor_size)
    shift_scaled = Div (shift, ten)
    center = Add (shift_scaled, anchor_center)
    stretch = Div (offset_size, five)
    factor = Exp (stretch)
    size = Mul (factor, anchor_size)
    half = Div (size, two)
    corner0 = Sub (center, half)
    corner1 = Add (center, half)
    decoded = Concat <axis = 2> (corner0, corner1)
    boxes = {clip} (decoded{edges})

    is_background = Less (best_score, pos_threshold)
    competing_score = Where (is_background, dropped, best_score)
    scores_shape = Shape (best_score)
    num_anchors = Gather (scores_shape, one_row)
    k = {smaller} (num_anchors{and_top_k})
    score, rank = TopK <axis = 1> (competing_score, k)
    class_of = GatherElements <axis = 1> (best_class, rank)
    rank_of_corners = Tile (rank, four_times)
    box = GatherElements <axis = 1> (boxes, rank_of_corners)

    {score_of_classes}
    scores_by_class = Transpose <perm = [0, 2, 1]> (score_of_class)
    kept = NonMaxSuppression (box, scores_by_class, k, nms_threshold, none)
    where_kept = Gather <axis = 1> (kept, image_and_rank)

    class_float = Cast <to = 1> (class_of)
    class_row = Squeeze (class_float, class_axis)
    class_kept = GatherND (class_row, where_kept)
    class_shape = Shape (class_row)
    all_dropped = Expand (dropped, class_shape)
    class_or_dropped = ScatterND (all_dropped, where_kept, class_kept)
    class_id = Unsqueeze (class_or_dropped, class_axis)
    detections = Concat <axis = 2> (class_id, score, box)
}}
"""
"""Rows go by descending score, of equal scores the lower anchor first. A box has its score in its own class and -1 in
all others, so that it competes in its own class only: `NonMaxSuppression` takes scores above -0.5.
"""
_CLASS_AWARE = """is_class = Equal (class_of, classes)
    score_of_class = Where (is_class, score, dropped)"""
_ALL_CLASSES = "score_of_class = Identity (score)"


def append_detection(model: Any, model_config: ModelConfig, predict_config: PredictConfig, dynamic_size: bool) -> None:
    """Let a model return detections in place of anchors, logits and offsets.

    The new output is `(batch, k, 6)` `[class_id, score, xmin, ymin, xmax, ymax]`, best score first, with `k` the number
    of boxes that compete. Rows of class -1 are background, or suppressed.

    Args:
        model: an `onnx.ModelProto` that `tidy` has seen; it is changed.
        model_config: its configuration.
        predict_config: thresholds of non-maximum suppression.
        dynamic_size: whether height and width are known at run time only.
    """
    from onnx import parser

    num_classes = model_config.num_classes
    text = GRAPH.format(
        num_classes=num_classes,
        num_classes_and_background=num_classes + 1,
        classes=", ".join(map(str, range(num_classes))),
        top_k=predict_config.top_k,
        pos_threshold=_float32(predict_config.pos_threshold),
        nms_threshold=_float32(predict_config.nms_threshold),
        clip="Clip" if predict_config.clip else "Identity",
        edges=", edge0, edge1" if predict_config.clip else "",
        smaller="Min" if predict_config.top_k else "Identity",
        and_top_k=", top_k" if predict_config.top_k else "",
        score_of_classes=_CLASS_AWARE if predict_config.class_aware else _ALL_CLASSES,
    )
    tail, graph = parser.parse_graph(text), model.graph
    taken = {name for node in graph.node for name in node.output} | {tensor.name for tensor in graph.initializer}
    own = {name for node in tail.node for name in node.output} | {tensor.name for tensor in tail.initializer}
    renamed = {name: f"detection/{name}" for name in own - {DETECTIONS}}
    assert taken.isdisjoint({*renamed.values(), DETECTIONS})
    for node in tail.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]
    for tensor in tail.initializer:
        tensor.name = renamed[tensor.name]
    graph.node.extend(tail.node)
    graph.initializer.extend(tail.initializer)
    del graph.output[:]
    graph.output.extend(tail.output)
    set_dimensions(graph.output[0], ("batch", _competing(model_config, predict_config, dynamic_size), 6))


def _competing(model_config: ModelConfig, predict_config: PredictConfig, dynamic_size: bool) -> int | str:
    """Return how many boxes of an image compete."""
    num_anchors = dimensions(model_config, dynamic_size)["anchors"][1]
    if isinstance(num_anchors, str):
        return "competing"
    return min(num_anchors, predict_config.top_k or num_anchors)


def _float32(value: float) -> str:
    """Return a threshold in as many digits as float32 has: the frameworks compare in float32."""
    return f"{np.float32(value):.9g}"
