"""What the chapters print, from our functions called by the chapters' own names."""

import numpy as np
import pytest

from ssd_common.anchors import anchor_grid, multibox_prior
from ssd_common.backends import load_backend
from ssd_common.config import BOOK, STRAIGHT_DOPE, ModelConfig, TrainConfig
from ssd_common.detection import multibox_detection
from ssd_common.targets import assign_anchor_to_bbox, multibox_target
from ssd_common.weights import initial_weights


def zeros(backend, *shape):
    return backend.data.to_device(np.zeros(shape, np.float32))


def shape_of(backend, array):
    return backend.data.to_numpy(array).shape  # MXNet computes, or fails, when the values are read


def layer(backend, name, num_inputs, *arguments):
    """Return a layer of the chapter; its PyTorch edition is told the input channels, its MXNet edition finds out."""
    make = getattr(backend.model, name)
    if backend.name == "torch":
        return make(num_inputs, *arguments)
    block = make(*arguments)
    block.initialize()
    return block


# --- d2l, "Single Shot Multibox Detection", and the Straight Dope's shapes


def test_predictions_of_two_scales_have_the_shapes_printed(backend):
    Y1 = layer(backend, "cls_predictor", 8, 5, 10)(zeros(backend, 2, 8, 20, 20))
    Y2 = layer(backend, "cls_predictor", 16, 3, 10)(zeros(backend, 2, 16, 10, 10))
    assert shape_of(backend, Y1) == (2, 55, 20, 20)
    assert shape_of(backend, Y2) == (2, 33, 10, 10)
    assert shape_of(backend, backend.model.flatten_pred(Y1)) == (2, 22000)
    assert shape_of(backend, backend.model.flatten_pred(Y2)) == (2, 3300)
    assert shape_of(backend, backend.model.concat_preds([Y1, Y2])) == (2, 25300)


def test_box_predictions_have_the_shape_printed(backend):
    assert shape_of(backend, layer(backend, "bbox_predictor", 3, 10)(zeros(backend, 2, 3, 20, 20))) == (2, 40, 20, 20)


def test_the_downsampling_block_and_the_base_network_have_the_shapes_printed(backend):
    X = zeros(backend, 2, 3, 20, 20)
    assert shape_of(backend, layer(backend, "down_sample_blk", 3, 10)(X)) == (2, 10, 10, 10)
    base = backend.model.base_net()
    if backend.name == "mxnet":
        base.initialize()
    assert shape_of(backend, base(zeros(backend, 2, 3, 256, 256))) == (2, 64, 32, 32)


def test_flattened_predictions_keep_the_channels_of_a_unit_together(backend):
    """Channel `i * (q + 1) + j` is class `j` of anchor `i`."""
    anchors, classes, height, width = 4, 3, 2, 5
    by_unit = np.arange(2 * height * width * anchors * classes).reshape(2, height, width, anchors * classes)
    pred = backend.data.to_device(by_unit.transpose(0, 3, 1, 2).astype("float32"))
    flat = backend.data.to_numpy(backend.model.concat_preds([pred, pred])).reshape(2, 2, -1, classes)
    np.testing.assert_array_equal(flat[:, 0], flat[:, 1])
    np.testing.assert_array_equal(flat[:, 0], by_unit.reshape(2, -1, classes))


@pytest.mark.parametrize(("num_classes", "batch"), [(1, 32), (2, 1)], ids=["d2l", "Straight Dope"])
def test_the_complete_model_has_the_shapes_printed(num_classes, batch, backend):
    net = backend.model.TinySSD(num_classes=num_classes)
    if backend.name == "mxnet":
        net.initialize()
    outputs = backend.predict.forward(net, zeros(backend, batch, 3, 256, 256))
    shapes = [shape_of(backend, output) for output in outputs]
    assert shapes == [(1, 5444, 4), (batch, 5444, num_classes + 1), (batch, 21776)]


# --- the Straight Dope's numbers


def test_the_anchor_at_row_21_column_21_is_the_one_printed(backend):
    feature_map = np.zeros((1, 3, 40, 40), np.float32)
    anchors = backend.anchors.multibox_prior(backend.data.to_device(feature_map), [0.5, 0.25, 0.1], [1, 2, 0.5])
    for grid in (multibox_prior(feature_map, [0.5, 0.25, 0.1], [1, 2, 0.5]), backend.data.to_numpy(anchors)):
        printed = [0.26249999, 0.26249999, 0.76249999, 0.76249999]
        np.testing.assert_allclose(grid.reshape(40, 40, -1, 4)[20, 20, 0], printed, rtol=0, atol=6e-8)


def test_the_first_and_the_last_anchors_are_those_printed():
    printed = [
        [-0.084375, -0.084375, 0.115625, 0.115625],
        [-0.12037501, -0.12037501, 0.15162501, 0.15162501],
        [-0.12579636, -0.05508568, 0.15704636, 0.08633568],
        [0.01949999, 0.01949999, 0.98049998, 0.98049998],
        [-0.12225395, 0.18887302, 1.12225389, 0.81112695],
        [0.18887302, -0.12225395, 0.81112695, 1.12225389],
    ]
    grid = anchor_grid(STRAIGHT_DOPE.model)[0]
    # A coordinate is printed with 8 decimals; float32 has as many below 1, and one less above.
    np.testing.assert_allclose(grid[[0, 1, 2, -3, -2, -1]], printed, rtol=1e-7, atol=6e-8)


@pytest.mark.backend("mxnet")
@pytest.mark.parametrize(("ratio", "in_the_text", "computed"), [(2, 1, 3.47), (0.5, -0.5, -3.47)])
def test_the_offset_of_the_width_is_not_the_one_that_the_text_defines(ratio, in_the_text, computed):
    from mxnet import np as mxnp
    from mxnet import npx

    anchors = np.array([[[0.4, 0.4, 0.6, 0.6]]], np.float32)
    labels = np.array([[[0, 0.5 - 0.1 * ratio, 0.4, 0.5 + 0.1 * ratio, 0.6]]], np.float32)
    operator = npx.multibox_target(mxnp.array(anchors), mxnp.array(labels), mxnp.zeros((1, 2, 1)))[0].asnumpy()
    assert ratio - 1 == in_the_text  # (Y_w - b_w) / b_w
    for offsets in (operator, multibox_target(anchors, labels)[0]):
        np.testing.assert_allclose(offsets[0, 2], np.log(ratio) / 0.2, rtol=1e-5)
        np.testing.assert_allclose(offsets[0, 2], computed, atol=0.005)


# --- d2l, "Anchor Boxes"


def test_the_anchors_of_the_picture_of_dog_and_cat_are_those_printed(backend):
    feature_map = np.zeros((1, 3, 561, 728), np.float32)
    anchors = backend.anchors.multibox_prior(backend.data.to_device(feature_map), [0.75, 0.5, 0.25], [1, 2, 0.5])
    for grid in (multibox_prior(feature_map, [0.75, 0.5, 0.25], [1, 2, 0.5]), backend.data.to_numpy(anchors)):
        assert grid.shape == (1, 2042040, 4)
        first = grid.reshape(561, 728, 5, 4)[250, 250, 0]
        np.testing.assert_allclose(first, [0.06, 0.07, 0.63, 0.82], rtol=0, atol=5e-3)


TRUTH = np.array([[[0, 0.1, 0.08, 0.52, 0.92], [1, 0.55, 0.2, 0.9, 0.88]]], np.float32)
ANCHORS = np.array(
    [
        [
            [0.0, 0.1, 0.2, 0.3],
            [0.15, 0.2, 0.4, 0.4],
            [0.63, 0.05, 0.88, 0.98],
            [0.66, 0.45, 0.8, 0.8],
            [0.57, 0.3, 0.92, 0.9],
        ]
    ],
    np.float32,
)
PRINTED_OFFSETS = [
    [0, 0, 0, 0],
    [1.40, 10.0, 2.59, 7.18],
    [-1.20, 0.269, 1.68, -1.57],
    [0, 0, 0, 0],
    [-0.571, -1.00, 4.17e-06, 0.626],
]


def test_the_targets_of_dog_and_cat_are_those_printed(backend, book):
    d, n = backend.data.to_device, backend.data.to_numpy
    theirs = [n(array) for array in book.multibox_target(d(ANCHORS), d(TRUTH))]
    ours = [n(array) for array in backend.targets.multibox_target(d(ANCHORS), d(TRUTH))]
    for (offsets, mask, classes), tolerance in [(ours, 0), (multibox_target(ANCHORS, TRUTH), 2e-6)]:
        np.testing.assert_array_equal(classes, [[0, 1, 2, 0, 2]])
        np.testing.assert_array_equal(mask.reshape(5, 4)[:, 0], [0, 1, 1, 0, 1])
        np.testing.assert_allclose(offsets.reshape(5, 4), PRINTED_OFFSETS, rtol=5e-3, atol=1e-6)
        np.testing.assert_allclose(offsets, theirs[0], rtol=0, atol=tolerance)
        np.testing.assert_array_equal(mask, theirs[1])
        np.testing.assert_array_equal(classes, theirs[2])
    np.testing.assert_array_equal(assign_anchor_to_bbox(TRUTH[0, :, 1:], ANCHORS[0]), [-1, 0, 1, -1, 1])


def test_the_detections_of_dog_and_cat_are_those_printed(backend, book):
    dog, dog_lower, dog_smaller, cat = [
        [0.1, 0.08, 0.52, 0.92],
        [0.08, 0.2, 0.56, 0.95],
        [0.15, 0.3, 0.62, 0.91],
        [0.55, 0.2, 0.9, 0.88],
    ]
    anchors = np.array([[dog, dog_lower, dog_smaller, cat]], np.float32)
    probabilities = np.array([[[0, 0, 0, 0], [0.9, 0.8, 0.7, 0.1], [0.1, 0.2, 0.3, 0.9]]], np.float32)
    case = (probabilities, np.zeros((1, 16), np.float32), anchors)
    printed = [[0, 0.9, *dog], [1, 0.9, *cat], [-1, 0.8, *dog_lower], [-1, 0.7, *dog_smaller]]
    on_device, n = [backend.data.to_device(array) for array in case], backend.data.to_numpy
    ours = n(backend.detection.multibox_detection(*on_device, nms_threshold=0.5))
    for rows in (ours, multibox_detection(*case, nms_threshold=0.5)):
        np.testing.assert_allclose(rows[0], printed, rtol=0, atol=1e-7)
    theirs = n(book.multibox_detection(*on_device, nms_threshold=0.5))
    if backend.name == "mxnet":  # the two best scores are tied, which the book's MXNet edition turns round
        theirs = theirs[:, [1, 0, 2, 3]]
    np.testing.assert_array_equal(ours, theirs)


# --- the network


def by_hand(weights, X, num_blocks=5):
    """Return class logits and offsets by torch's functions, from tensors called as the chapter's PyTorch model's."""
    import torch
    from torch.nn import functional as F

    def convolution(X, name):
        return F.conv2d(X, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=1)

    def half(X, name):
        for i in (0, 3):
            X = convolution(X, f"{name}.{i}")
            gamma, beta, mean, var = (
                weights[f"{name}.{i + 1}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
            )
            X = F.relu(F.batch_norm(X, mean, var, gamma, beta))
        return F.max_pool2d(X, 2)

    cls, bbox = [], []
    for i in range(num_blocks):
        for name in [f"blk_0.{j}" for j in range(3)] if i == 0 else [f"blk_{i}"] * (i < num_blocks - 1):
            X = half(X, name)
        if i == num_blocks - 1:
            X = X.amax(dim=(2, 3), keepdim=True)
        cls.append(convolution(X, f"cls_{i}").permute(0, 2, 3, 1).flatten(1))
        bbox.append(convolution(X, f"bbox_{i}").permute(0, 2, 3, 1).flatten(1))
    return torch.cat(cls, dim=1), torch.cat(bbox, dim=1)


def trained_weights(model):
    """Return weights with running statistics and biases that are not those of an untrained network."""
    weights = initial_weights(model, TrainConfig(init="torch", seed=3), "float64")
    rng = np.random.default_rng(0)
    return {name: w + rng.uniform(0.1, 0.5, w.shape) if w.ndim == 1 else w for name, w in weights.items()}


@pytest.mark.backend("torch")
def test_the_network_is_the_chapter_s_layer_by_layer(backend):
    import torch

    model = ModelConfig(class_names=("a", "b"), image_size=128)
    weights, X = trained_weights(model), np.random.default_rng(1).normal(size=(2, 3, 128, 128))
    net = backend.weights.make_net(model, weights, dtype="float64")
    anchors, cls_preds, bbox_preds = backend.predict.forward(net, backend.data.to_device(X))
    cls, bbox = by_hand({name: torch.from_numpy(value) for name, value in weights.items()}, torch.from_numpy(X))
    n = backend.data.to_numpy
    np.testing.assert_allclose(n(cls_preds).reshape(2, -1), cls.numpy(), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(n(bbox_preds), bbox.numpy(), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(n(anchors), anchor_grid(model, "float64"), rtol=0, atol=1e-12)


@pytest.mark.backend("torch")
def test_pytorch_s_parameters_are_called_as_in_the_chapter():
    """A state dict of the chapter's model loads as it is."""
    net = load_backend("torch").model.TinySSD(num_classes=1)
    names = set(net.state_dict())
    for name in ("blk_0.0.0.weight", "blk_0.2.4.running_var", "blk_1.1.num_batches_tracked", "blk_3.3.bias"):
        assert name in names
    blocks = {f"{kind}_{i}" for i in range(5) for kind in ("cls", "bbox")} | {f"blk_{i}" for i in range(4)}
    assert {name.split(".")[0] for name in names} == blocks
    assert len(names) == 6 * 2 * 7 + 5 * 2 * 2


@pytest.mark.backend("mxnet")
@pytest.mark.parametrize("preset", [BOOK, STRAIGHT_DOPE], ids=["book", "straight-dope"])
def test_the_hybridized_network_is_the_unhybridized_one(preset):
    backend, rng = load_backend("mxnet"), np.random.default_rng(2)
    weights = {name: w.astype("float32") for name, w in trained_weights(preset.model).items()}
    X = backend.data.to_device(rng.uniform(0, 255, (2, 3, 256, 256)).astype("float32"))
    net = backend.weights.make_net(preset.model, weights)
    outputs = []
    for hybridize in (True, False):
        net.hybridize(hybridize)
        outputs.append([backend.data.to_numpy(array) for array in backend.predict.forward(net, X)])
    for hybrid, plain in zip(*outputs, strict=True):
        assert np.ptp(plain) > 0
        np.testing.assert_allclose(hybrid, plain, rtol=1e-5, atol=1e-5 * np.abs(plain).max())
