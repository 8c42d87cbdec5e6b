"""Weights: the same names in both frameworks, initial values as the frameworks draw them, into a network and out."""

import math

import numpy as np
import pytest

import ssd_common.weights
from ssd_common.checkpoints.checkpoint import Checkpoint, save_checkpoint
from ssd_common.config import BOOK, STRAIGHT_DOPE, AnchorConfig, Config, ModelConfig, RunConfig, TrainConfig
from ssd_common.errors import InputError
from ssd_common.weights import check_weights, count_parameters, initial_weights, map_size, parameter_shapes

ANCHORS = AnchorConfig(sizes=((0.1,), (0.2, 0.3, 0.4), (0.5,), (0.6, 0.7), (0.8,)), ratios=((1.0, 3.0),) * 5)
MODELS = {
    "book": BOOK.model,
    "three classes": ModelConfig(class_names=("a", "b", "c")),
    "other anchors": ModelConfig(anchors=ANCHORS),
}
STATISTICS = ("running_mean", "running_var")
TINY = ModelConfig(image_size=64)


@pytest.fixture(params=MODELS.values(), ids=MODELS.keys())
def model(request):
    return request.param


def torch_tensors(model):
    """Return the tensors of a network as PyTorch makes it, by PyTorch's own names."""
    import torch

    from ssd_torch.model import TinySSD

    torch.manual_seed(0)
    state = TinySSD(model.num_classes, model.anchors).state_dict()
    return {name: value.numpy() for name, value in state.items() if not name.endswith("num_batches_tracked")}


def gluon_tensors(model, init=None):
    """Return the tensors of a network as Gluon makes it, shapes found by a forward pass, by canonical name."""
    import mxnet as mx

    from ssd_mxnet.model import TinySSD

    mx.random.seed(0)
    net = TinySSD(model.num_classes, model.anchors)
    net.initialize(init or mx.init.Xavier())
    net(mx.np.zeros((1, 3, 64, 64)))
    found = {}
    for name, parameter in net._collect_params_with_prefix().items():
        found[name.replace("gamma", "weight").replace("beta", "bias")] = parameter.data().asnumpy()
    return found


def random_weights(model, dtype, seed=1):
    """Return values of every magnitude and, except for variances, of every sign for every tensor."""
    rng = np.random.default_rng(seed)
    weights = {name: rng.standard_normal(shape).astype(dtype) for name, shape in parameter_shapes(model).items()}
    return {name: np.abs(value) if name.endswith("running_var") else value for name, value in weights.items()}


def assert_same_bytes(actual, expected):
    assert list(actual) == list(expected)
    for name in expected:
        assert actual[name].dtype == expected[name].dtype, name
        np.testing.assert_array_equal(actual[name], expected[name], err_msg=name)


# Names and shapes.


@pytest.mark.backend("torch")
def test_names_shapes_and_order_are_those_of_pytorch(model):
    expected = [(name, value.shape) for name, value in torch_tensors(model).items()]
    assert list(parameter_shapes(model).items()) == expected


@pytest.mark.backend("mxnet")
def test_names_shapes_and_order_are_those_of_gluon(model):
    expected = [(name, value.shape) for name, value in gluon_tensors(model).items()]
    assert list(parameter_shapes(model).items()) == expected


@pytest.mark.backend("torch")
def test_the_number_of_parameters_is_that_of_pytorch(model):
    from ssd_torch.model import TinySSD

    net = TinySSD(model.num_classes, model.anchors)
    assert count_parameters(model) == sum(parameter.numel() for parameter in net.parameters())


@pytest.mark.backend("torch")
def test_the_maps_of_a_layer_are_as_large_as_those_that_pytorch_takes(model):
    import torch

    from ssd_torch.model import TinySSD

    net, seen = TinySSD(model.num_classes, model.anchors), {}
    for name, layer in net.named_modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.BatchNorm2d):
            layer.register_forward_hook(lambda _, X, __, name=name: seen.update({name: tuple(X[0].shape[2:])}))
    net(torch.zeros(2, 3, model.image_size, model.image_size))
    for name in parameter_shapes(model):
        assert (map_size(name, model),) * 2 == seen[name.rsplit(".", 1)[0]], name


def test_the_published_weights_of_the_straight_dope_have_as_many_values():
    """92 arrays of 1,012,360 values, batch normalisation's statistics among them."""
    shapes = parameter_shapes(STRAIGHT_DOPE.model)
    assert len(shapes) == 92
    assert sum(map(math.prod, shapes.values())) == 1_012_360
    assert count_parameters(STRAIGHT_DOPE.model) == 1_010_376


# Initial values.


def assert_drawn_alike(ours, theirs):
    """Assert that each tensor has the constants of the other, or the bound, the spread and the mean of its draws."""
    assert set(ours) == set(theirs)
    for name, drawn in theirs.items():
        if np.ptp(drawn) == 0:
            np.testing.assert_array_equal(ours[name], drawn, err_msg=name)
            continue
        n, bound = drawn.size, np.abs(drawn).max()
        # The largest of n uniform draws is within 12 / n of the bound; their deviation is known to 0.45 / sqrt(n).
        np.testing.assert_allclose(np.abs(ours[name]).max(), bound, rtol=24 / n, err_msg=name)
        np.testing.assert_allclose(ours[name].std(), drawn.std(), rtol=3 / math.sqrt(n), err_msg=name)
        assert abs(ours[name].mean()) < 3 * bound / math.sqrt(n), name
        assert not np.array_equal(ours[name], drawn), name


@pytest.mark.backend("mxnet")
@pytest.mark.parametrize("magnitude", [3.0, 2.0])
def test_xavier_is_what_mxnet_draws(magnitude):
    import mxnet as mx

    train = TrainConfig(init="xavier", init_magnitude=magnitude)
    theirs = gluon_tensors(BOOK.model, mx.init.Xavier(magnitude=magnitude))
    assert sum(np.ptp(value) > 0 for value in theirs.values()) == 22  # the weights of the convolutions
    assert_drawn_alike(initial_weights(BOOK.model, train), theirs)


def test_the_presets_draw_with_the_magnitudes_of_their_books():
    assert (BOOK.train.init_magnitude, STRAIGHT_DOPE.train.init_magnitude) == (3, 2)


@pytest.mark.backend("torch")
def test_the_other_initial_values_are_what_pytorch_draws():
    theirs = torch_tensors(BOOK.model)
    assert sum(np.ptp(value) > 0 for value in theirs.values()) == 44  # biases as well
    ours = initial_weights(BOOK.model, TrainConfig(init="torch"))
    assert_drawn_alike(ours, theirs)
    for name in (name for name in ours if name.endswith(".bias") and np.ptp(theirs[name]) > 0):
        bound = np.abs(theirs[name.replace("bias", "weight")]).max()  # of more draws than the bias has
        assert 0.5 * bound < np.abs(ours[name]).max() < 1.05 * bound, name


@pytest.mark.parametrize("init", ["xavier", "torch"])
def test_a_seed_gives_the_same_bytes_again_and_another_seed_others(init):
    first, again, other = (initial_weights(BOOK.model, TrainConfig(init=init, seed=seed)) for seed in (5, 5, 6))
    assert_same_bytes(first, again)
    drawn = [name for name, value in first.items() if np.ptp(value) > 0]
    assert len(drawn) >= 22
    assert not any(np.array_equal(first[name], other[name]) for name in drawn)


@pytest.mark.parametrize("init", ["xavier", "torch"])
def test_a_tensor_does_not_depend_on_the_others(init, monkeypatch):
    one, three, other = (initial_weights(model, TrainConfig(init=init)) for model in MODELS.values())
    shapes = parameter_shapes(BOOK.model)
    monkeypatch.setattr(ssd_common.weights, "parameter_shapes", lambda _: dict(reversed(shapes.items())))
    reordered = initial_weights(BOOK.model, TrainConfig(init=init))
    for name in (name for name in one if name.startswith("blk_")):
        for weights in (three, other, reordered):
            np.testing.assert_array_equal(weights[name], one[name], err_msg=name)
    assert not np.array_equal(one["blk_2.0.weight"], one["blk_3.0.weight"])  # nor equals another of its shape


def test_float64_is_float32_exactly_widened():
    narrow, wide = (initial_weights(BOOK.model, TrainConfig(), dtype) for dtype in ("float32", "float64"))
    assert all(narrow[name].dtype == np.float32 and wide[name].dtype == np.float64 for name in narrow)
    assert all(np.array_equal(narrow[name], wide[name]) for name in narrow)


# In and out of a network.


def test_weights_come_out_of_a_network_as_they_went_in(backend, model, dtype):
    weights = random_weights(model, dtype)
    net = backend.weights.make_net(model, weights, dtype=dtype)
    assert_same_bytes(backend.weights.get_weights(net), weights)
    others = random_weights(model, dtype, seed=2)
    backend.weights.set_weights(net, others)
    assert_same_bytes(backend.weights.get_weights(net), others)


def test_what_came_out_of_a_network_is_no_longer_part_of_it(backend):
    weights = random_weights(TINY, "float32")
    given = {name: value.copy() for name, value in weights.items()}
    net = backend.weights.make_net(TINY, given)
    for values in (given, backend.weights.get_weights(net)):
        for value in values.values():
            value[...] = 0
    assert_same_bytes(backend.weights.get_weights(net), weights)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "blk_1.3.weight",
            np.zeros((128, 64, 3, 3)),
            r"blk_1.3.weight should be (128, 128, 3, 3), found (128, 64, 3, 3)",
        ),
        ("cls_0.bias", np.zeros(12), "cls_0.bias should be (8,), found (12,)"),
        ("bbox_4.bias", None, "bbox_4.bias is missing; is it a TinySSD of 1 classes?"),
        ("blk_2.1.running_var", np.full(128, np.nan), "blk_2.1.running_var holds values that are not finite"),
        (
            "blk_9.0.bias",
            np.zeros(3),
            "blk_9.0.bias does not belong to the model: a network that was changed is saved and loaded by its "
            "framework, torch.save or save_parameters",
        ),
    ],
    ids=["shape", "classes", "missing", "not finite", "unknown"],
)
def test_weights_of_another_model_are_refused_by_name(name, value, message, backend, tmp_path):
    weights = {k: v for k, v in (random_weights(TINY, "float32") | {name: value}).items() if v is not None}
    for refuse in (
        lambda: backend.weights.make_net(TINY, weights),
        lambda: save_checkpoint(tmp_path / "w.safetensors", Checkpoint(weights, RunConfig(Config(TINY)))),
    ):
        with pytest.raises(InputError) as error:
            refuse()
        assert str(error.value).endswith(f": tensor {message}")
    assert not list(tmp_path.iterdir())


def test_all_that_differs_in_a_changed_network_is_named():
    weights = random_weights(TINY, "float32")
    changed = {name.replace("blk_1", "stage").replace("cls_0", "head"): value for name, value in weights.items()}
    with pytest.raises(InputError) as error:
        check_weights(changed, TINY, "net")
    assert str(error.value).startswith(
        "net: tensors head.bias, head.weight, stage.0.bias and 11 more do not belong to the model, and tensors "
        "cls_0.weight, cls_0.bias, blk_1.0.weight and 11 more are missing: a network that was changed"
    )


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.compile's own, about torch.jit
@pytest.mark.parametrize("compiled", [pytest.param(True, marks=pytest.mark.slow), False])
def test_a_compiled_network_computes_the_same(compiled, backend):
    model = ModelConfig(image_size=64)
    X = backend.data.to_device(np.random.default_rng(0).uniform(0, 255, (2, 3, 64, 64)).astype("float32"))
    weights = initial_weights(model, BOOK.train)
    theirs, ours = (
        [backend.data.to_numpy(array) for array in backend.predict.forward(net, X)]
        for net in (
            backend.weights.make_net(model, weights),
            backend.weights.make_net(model, weights, compile=compiled),
        )
    )
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-4)
