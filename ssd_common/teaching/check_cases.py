"""How `check_same` calls each function and class of the chapters: its arguments, and what is compared."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ssd_common.checkpoints import load_checkpoint
from ssd_common.checkpoints.pretrained import FILE
from ssd_common.config import ModelConfig, TrainConfig
from ssd_common.data.synthetic import SyntheticDataset
from ssd_common.figures import show_bboxes
from ssd_common.teaching.check_kits import Kit, Seen, named_results, see_function, see_layer, seeded_weights
from ssd_common.weights import initial_weights

Call = Callable[[Any, np.random.Generator], Seen]
Random = np.random.Generator

SIZES, RATIOS = [0.2, 0.3], [1, 2, 0.5]
BATCH, ANCHORS, CLASSES = 2, 12, 2
TINY = ModelConfig(image_size=64)
"""The book's network on small images: 340 anchors."""


class Case(NamedTuple):
    """How a function or class is compared with the package's."""

    module: str
    """File of the package that has it."""
    calls: Callable[[Any, Any], Sequence[Call]]
    """Given the kit of the framework and the package's object, what is done with either of the two."""
    same: str
    """What is the same where nothing differs, in words."""
    float32: bool = False
    """The package computes this in float32 only."""
    twin: Any = None
    """What to compare with where no package has it."""


def _layers(inputs: Sequence[tuple[Mapping[str, Any], tuple[int, ...]]], by_name: bool = False) -> Case:
    """A function that returns a layer, or a network: arguments by the package's names, and the shape of an input."""

    def calls(kit: Kit, twin: Any) -> list[Call]:
        return [_layer_call(kit, [values[p] for p in _positional(twin)], shape, by_name) for values, shape in inputs]

    return Case("model", calls, "the same parameters, outputs and gradients")


def _layer_call(kit: Kit, arguments: Sequence[Any], shape: tuple[int, ...], by_name: bool) -> Call:
    def call(thing: Any, rng: Random) -> Seen:
        X = rng.normal(0, 1, shape)
        seen = see_layer(kit, thing(*arguments), X, rng, by_name)
        return seen._replace(called=f"({', '.join(map(str, arguments))})")

    return call


def _positional(function: Any) -> list[str]:
    """Return the names of a function's parameters that have no default."""
    return [p.name for p in inspect.signature(function).parameters.values() if p.default is p.empty]


def _function(
    module: str, make: Callable[[Random], Mapping[str, Any]], gradients: Sequence[str] = (), words: str = ""
) -> Case:
    """A function of arrays: what makes its arguments, in order, and those that have a gradient."""

    def calls(kit: Kit, twin: Any) -> list[Call]:
        def call(thing: Any, rng: Random) -> Seen:
            arguments = make(rng)
            places = {place: name for place, name in enumerate(arguments) if name in gradients}
            return see_function(kit, thing, list(arguments.values()), places, rng)

        return [call]

    return Case(module, calls, words or ("the same results and gradients" if gradients else "the same results"))


def _boxes(rng: Random, *shape: int) -> NDArray[Any]:
    """Return boxes `(*shape, 4)` with an area."""
    low, size = rng.uniform(0, 0.6, (*shape, 2)), rng.uniform(0.1, 0.4, (*shape, 2))
    return np.concatenate([low, low + size], axis=-1)


def _labels(rng: Random) -> NDArray[Any]:
    """Return labels `(batch, 3, 5)`; the last row of each image is padding."""
    rows = np.concatenate([rng.integers(0, CLASSES, (BATCH, 3, 1)), _boxes(rng, BATCH, 3)], axis=-1)
    rows[:, -1] = -1
    return rows


def _predictions(rng: Random) -> dict[str, Any]:
    """Return what the losses take: of two images with 12 anchors each."""
    cls_labels = rng.integers(0, CLASSES + 1, (BATCH, ANCHORS)) * (rng.random((BATCH, ANCHORS)) < 0.5)
    return {
        "cls_preds": rng.normal(0, 1, (BATCH, ANCHORS, CLASSES + 1)),
        "cls_labels": cls_labels,
        "bbox_preds": rng.normal(0, 2, (BATCH, ANCHORS * 4)),
        "bbox_labels": rng.normal(0, 2, (BATCH, ANCHORS * 4)),
        "bbox_masks": np.repeat(cls_labels > 0, 4, axis=1).astype(np.float64),
    }


def _some(*names: str, **more: Any) -> Callable[[Random], dict[str, Any]]:
    """Return what makes some of the arguments of the losses, and others."""
    return lambda rng: {name: _predictions(rng)[name] for name in names} | more


def _losses() -> Case:
    names = ("cls_preds", "cls_labels", "bbox_preds", "bbox_labels", "bbox_masks")
    return _function(
        "losses", lambda rng: {n: v for n, v in _predictions(rng).items() if n in names}, (names[0], names[2])
    )


def _blk_forward(kit: Any, twin: Any) -> list[Call]:
    def made(function: str, values: Mapping[str, int], shape: tuple[int, ...], rng: Random) -> Any:
        maker = getattr(kit.backend.model, function)
        layer = maker(*[values[p] for p in _positional(maker)])
        kit.make_layer(layer, kit.tensor(np.zeros(shape)))
        parameters = kit.parameters(layer)
        shapes = {name: kit.array(parameter).shape for name, parameter in parameters.items()}
        for name, value in seeded_weights(shapes, rng).items():
            kit.set_parameter(parameters[name], value)
        return layer

    def call(thing: Any, rng: Random) -> Seen:
        values = {"in_channels": 3, "out_channels": 6, "num_inputs": 6, "num_anchors": 4, "num_classes": 1}
        X, map_shape = rng.normal(0, 1, (2, 3, 6, 8)), (2, 6, 3, 4)
        blk = made("down_sample_blk", values, X.shape, rng)
        predictors = [made(name, values, map_shape, rng) for name in ("cls_predictor", "bbox_predictor")]
        return see_function(kit, thing, [X, blk, SIZES, RATIOS, *predictors], {0: "X"}, rng)

    return [call]


def _net(kit: Any, dtype: str = "float64") -> Any:
    return kit.backend.weights.make_net(TINY, initial_weights(TINY, TrainConfig(init="torch"), dtype), dtype=dtype)


def _batch(kit: Any, rng: Random) -> tuple[Any, Any]:
    """Return images and labels of two images as float64 tensors."""
    X = kit.tensor(rng.uniform(0, 255, (2, 3, TINY.image_size, TINY.image_size)))
    rows = _labels(rng)
    rows[..., 0] = np.minimum(rows[..., 0], 0)
    return X, kit.tensor(rows)


def _forward(kit: Any, twin: Any) -> list[Call]:
    def call(thing: Any, rng: Random) -> Seen:
        results = named_results(thing(_net(kit), _batch(kit, rng)[0]))
        return Seen("", {name: kit.array(value) for name, value in results}, {}, {})

    return [call]


def _forward_backward(kit: Any, twin: Any) -> list[Call]:
    def call(thing: Any, rng: Random) -> Seen:
        net = _net(kit)
        thing(net, *_batch(kit, rng))
        gradients = kit.backend.weights.get_gradients(net)
        return Seen("", {}, {}, {f"the gradient of {name}": value for name, value in gradients.items()})

    return [call]


def _train_step(kit: Any, twin: Any) -> list[Call]:
    def call(thing: Any, rng: Random) -> Seen:
        net = _net(kit)
        trainer = kit.backend.train.make_trainer(net, TrainConfig(lr=0.05, momentum=0.5))
        for _ in range(2):
            thing(net, trainer, *_batch(kit, rng))
        weights = kit.backend.weights.get_weights(net)
        return Seen("", {f"{name} after two steps": value for name, value in weights.items()}, {}, {})

    return [call]


def _train(kit: Any, twin: Any) -> list[Call]:
    def call(thing: Any, rng: Random) -> Seen:
        data = SyntheticDataset("train", num_images=5, image_size=TINY.image_size, size_range=(0.3, 0.6))
        config = TrainConfig(epochs=2, batch_size=2, lr=0.05, init="torch")
        net = _net(kit, "float32")
        rows = list(thing(net, kit.backend.train.make_trainer(net, config), data, TINY, config) or ())
        weights = kit.backend.weights.get_weights(net)
        seen = {f"{name} after two epochs": value for name, value in weights.items()}
        for row in rows:
            seen |= {f"{key} of epoch {row['epoch']}": row[key] for key in ("class_error", "bbox_mae") if key in row}
        return Seen("", seen, {}, {})

    return [call]


def _predict(kit: Any, twin: Any) -> list[Call]:
    def call(thing: Any, rng: Random) -> Seen:
        checkpoint = load_checkpoint(FILE)
        net = kit.backend.weights.make_net(checkpoint.config.model, checkpoint.weights)
        val = SyntheticDataset("val", num_images=2)
        found = [np.asarray(rows) for rows in thing(net, [val[0].image, val[1].image], checkpoint.config.model)]
        sure = [rows[rows[:, 1] >= 0.1] for rows in found]  # below, rounding decides what is suppressed
        return Seen("", {f"the rows of image {i}": rows for i, rows in enumerate(sure)}, {}, {})

    return [call]


def _display(image: NDArray[np.uint8], output: Any, threshold: float) -> Any:
    """Draw the boxes with a score of at least `threshold` on an image, each with its score."""
    axes = Figure().subplots()
    axes.imshow(image)
    for row in output:
        if row[1] >= threshold:
            show_bboxes(axes, [row[2:] * np.tile(image.shape[1::-1], 2)], f"{row[1]:.2f}", "w")
    return axes


def _drawn(kit: Any, twin: Any) -> list[Call]:
    def call(thing: Any, rng: Random) -> Seen:
        output = np.concatenate([np.zeros((3, 1)), [[0.95], [0.8], [0.3]], _boxes(rng, 3)], axis=1)
        axes = thing(np.zeros((60, 80, 3), np.uint8), output, 0.5)
        close = getattr(axes.figure.canvas.manager, "destroy", None)  # pyplot's, which would show it under the cell
        boxes = [p.get_extents().extents for c in axes.collections for p in c.get_paths()]
        boxes += [patch.get_bbox().extents for patch in axes.patches]
        if close:
            import_pyplot().close(axes.figure)
        scores = [float(text.get_text()) for text in axes.texts]
        return Seen("", {"what is drawn": np.array(boxes), "what is written": np.array(scores)}, {}, {})

    return [call]


def import_pyplot() -> Any:
    """Return pyplot, which only a notebook uses."""
    import matplotlib.pyplot

    return matplotlib.pyplot


_CHANNELS = {"num_inputs": 8, "num_anchors": 5, "num_classes": 10, "in_channels": 3, "out_channels": 10}
_BLOCK_INPUTS = ((2, 3, 16, 24), (2, 64, 4, 6), (2, 128, 4, 6), (2, 128, 2, 4), (2, 128, 3, 2))

CASES: dict[str, Case] = {
    # model.py, in the order of the chapter
    "cls_predictor": _layers([(_CHANNELS, (2, 8, 3, 4))]),
    "bbox_predictor": _layers([(_CHANNELS, (2, 8, 3, 4))]),
    "flatten_pred": _function("model", lambda rng: {"pred": rng.normal(0, 1, (2, 6, 3, 4))}, ["pred"]),
    "concat_preds": _function(
        "model",
        lambda rng: {"preds": [rng.normal(0, 1, (2, 6, 4, 5)), rng.normal(0, 1, (2, 9, 2, 3))]},
        ["preds"],
    ),
    "down_sample_blk": _layers([(_CHANNELS, (2, 3, 8, 12))]),
    "base_net": _layers([({}, (2, 3, 16, 24))]),
    "get_blk": _layers([({"i": i}, shape) for i, shape in enumerate(_BLOCK_INPUTS)]),
    "blk_forward": Case("model", _blk_forward, "the same results and gradients"),
    "TinySSD": _layers([({"num_classes": 1}, (2, 3, 64, 128))], by_name=True),
    # losses.py
    "cross_entropy": _function("losses", _some("cls_preds", "cls_labels"), ["cls_preds"]),
    "focal_loss": _function("losses", _some("cls_preds", "cls_labels", alpha=0.25, gamma=2.0), ["cls_preds"]),
    "l1_loss": _function("losses", lambda rng: {"errors": rng.normal(0, 2, (3, 8))}, ["errors"]),
    "smooth_l1": _function("losses", lambda rng: {"errors": rng.normal(0, 1, (3, 8)), "sigma": 1.3}, ["errors"]),
    "hard_negatives": _function(
        "losses", lambda rng: {"cls_loss": rng.random((BATCH, ANCHORS))} | _some("cls_labels")(rng) | {"ratio": 3}
    ),
    "loss_terms": _losses(),
    "calc_loss": _losses(),
    "cls_eval": _function("losses", _some("cls_preds", "cls_labels")),
    "bbox_eval": _function("losses", _some("bbox_preds", "bbox_labels", "bbox_masks")),
    # train.py and predict.py
    "forward_backward": Case("train", _forward_backward, "the same gradients"),
    "train_step": Case("train", _train_step, "the same weights after two steps"),
    "train": Case("train", _train, "the same weights and errors after two epochs", float32=True),
    "forward": Case("predict", _forward, "the same results"),
    "detect": _function(
        "predict",
        lambda rng: {
            "anchors": _boxes(rng, 1, ANCHORS),
            "cls_preds": rng.normal(0, 2, (BATCH, ANCHORS, 2)),
            "bbox_preds": rng.normal(0, 1, (BATCH, ANCHORS * 4)),
        },
    ),
    "predict": Case("predict", _predict, "the same detections on two images", float32=True),
    "display": Case("", _drawn, "it draws the boxes with a high score, and no others", twin=_display),
    # boxes, anchors, targets and detection
    "box_corner_to_center": _function("boxes", lambda rng: {"boxes": _boxes(rng, 5)}),
    "box_center_to_corner": _function("boxes", lambda rng: {"boxes": _boxes(rng, 5)}),
    "box_iou": _function("boxes", lambda rng: {"boxes1": _boxes(rng, 6), "boxes2": _boxes(rng, 4)}),
    "offset_boxes": _function("boxes", lambda rng: {"anchors": _boxes(rng, 6), "assigned_bb": _boxes(rng, 6)}),
    "offset_inverse": _function(
        "boxes", lambda rng: {"anchors": _boxes(rng, 6), "offset_preds": rng.normal(0, 1, (6, 4))}
    ),
    "multibox_prior": _function(
        "anchors", lambda rng: {"data": np.zeros((1, 1, 3, 5)), "sizes": SIZES, "ratios": RATIOS}
    ),
    "assign_anchor_to_bbox": _function(
        "targets", lambda rng: {"ground_truth": _boxes(rng, 3), "anchors": _boxes(rng, ANCHORS)}
    ),
    "multibox_target": _function("targets", lambda rng: {"anchors": _boxes(rng, 1, ANCHORS), "labels": _labels(rng)}),
    "nms": _function(
        "detection",
        lambda rng: {"boxes": _boxes(rng, ANCHORS), "scores": rng.random(ANCHORS), "iou_threshold": 0.3},
    ),
    "multibox_detection": _function(
        "detection",
        lambda rng: {
            "cls_probs": rng.dirichlet(np.ones(3), (BATCH, ANCHORS)).transpose(0, 2, 1),
            "offset_preds": rng.normal(0, 1, (BATCH, ANCHORS * 4)),
            "anchors": _boxes(rng, 1, ANCHORS),
        },
    ),
}
"""By name. A function is called with seeded arguments, a layer gets seeded weights and a seeded input."""
