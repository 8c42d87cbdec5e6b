"""Where the frameworks differ although the code does not: each row of `docs/known_differences.md`, shown by a test.

`ROWS`, at the end, says which test shows which row.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ssd_common.anchors import multibox_prior
from ssd_common.backends import load_backend
from ssd_common.config import BOOK, TrainConfig

needs_both = pytest.mark.backend("torch", "mxnet")


@pytest.fixture
def batch():
    """Four values of one channel: mean 2.5, variance 1.25 (biased) or 5/3 (unbiased)."""
    return np.array([1.0, 2.0, 3.0, 4.0]).reshape(4, 1, 1, 1)


def running_statistics(batch):
    """Return running mean and variance of each framework after one batch, starting from 0 and 1."""
    import torch
    from mxnet import autograd
    from mxnet import np as mxnp
    from mxnet.gluon import nn

    layer = torch.nn.BatchNorm2d(1, dtype=torch.float64)
    layer(torch.tensor(batch))
    gluon_layer = nn.BatchNorm()
    gluon_layer.cast("float64")
    gluon_layer.initialize()
    x = mxnp.array(batch, dtype="float64")
    x.attach_grad()
    with autograd.record():
        y = gluon_layer(x)
    before = float(gluon_layer.running_mean.data())
    y.backward()
    return (
        (float(layer.running_mean), float(layer.running_var)),
        (float(gluon_layer.running_mean.data()), float(gluon_layer.running_var.data())),
        before,
    )


@needs_both
def test_torch_keeps_the_unbiased_variance_and_mxnet_the_biased_one(batch):
    (_, torch_var), (_, mxnet_var), _ = running_statistics(batch)
    np.testing.assert_allclose(torch_var, 0.9 * 1 + 0.1 * 5 / 3, rtol=1e-6)
    np.testing.assert_allclose(mxnet_var, 0.9 * 1 + 0.1 * 1.25, rtol=1e-6)


@needs_both
def test_mxnet_stores_the_momentum_of_batch_normalisation_as_float32(batch):
    (torch_mean, _), (mxnet_mean, _), _ = running_statistics(batch)
    np.testing.assert_allclose(torch_mean, 0.1 * 2.5, rtol=1e-15)
    np.testing.assert_allclose(mxnet_mean, (1 - float(np.float32(0.9))) * 2.5, rtol=1e-12)
    assert abs(mxnet_mean - torch_mean) > 1e-9


@needs_both
def test_mxnet_updates_running_statistics_in_the_backward_pass(batch):
    _, (after, _), before = running_statistics(batch)
    np.testing.assert_equal(before, 0.0)
    assert after > 0


def one_parameter_step(lr, weight_decay=0.0):
    """Return what each framework's optimiser makes of the parameter 1.0 with gradient 1.0, in float64."""
    import torch
    from mxnet import autograd, gluon

    parameter = torch.nn.Parameter(torch.ones((), dtype=torch.float64))
    parameter.grad = torch.ones((), dtype=torch.float64)
    torch.optim.SGD([parameter], lr=lr, weight_decay=weight_decay).step()
    own = gluon.Parameter("own", shape=(1,), dtype="float64", init="ones")
    own.initialize()
    trainer = gluon.Trainer([own], "sgd", {"learning_rate": lr, "wd": weight_decay})
    with autograd.record():
        value = own.data() * 1
    value.backward()
    trainer.step(1)
    return parameter.item(), float(own.data())


@needs_both
def test_mxnet_stores_the_learning_rate_as_float32():
    with_torch, with_mxnet = one_parameter_step(0.2)
    np.testing.assert_allclose(with_torch, 1 - 0.2, rtol=1e-15)
    np.testing.assert_allclose(with_mxnet, 1 - float(np.float32(0.2)), rtol=1e-15)
    assert with_torch != with_mxnet


@needs_both
def test_mxnet_stores_the_weight_decay_as_float32():
    with_torch, with_mxnet = one_parameter_step(0.25, weight_decay=5e-4)
    np.testing.assert_allclose(with_torch, 1 - 0.25 * (1 + 5e-4), rtol=1e-15)
    np.testing.assert_allclose(with_mxnet, 1 - 0.25 * (1 + float(np.float32(5e-4))), rtol=1e-15)
    assert with_torch != with_mxnet


@needs_both
def test_with_numbers_that_float32_holds_exactly_they_agree():
    np.testing.assert_equal(*one_parameter_step(0.25, weight_decay=2**-11))


@needs_both
def test_a_changed_learning_rate_leaves_mxnet_s_velocities_their_old_one():
    """Two steps with gradient 1, momentum 0.5, rates 0.25 and 0.5; `ssd_mxnet` makes up for it."""
    import torch
    from mxnet import autograd, gluon

    parameter = torch.nn.Parameter(torch.ones((), dtype=torch.float64))
    optimiser = torch.optim.SGD([parameter], lr=0.25, momentum=0.5)
    own = gluon.Parameter("own", shape=(1,), dtype="float64", init="ones")
    own.initialize()
    trainer = gluon.Trainer([own], "sgd", {"learning_rate": 0.25, "momentum": 0.5})
    for lr in (0.25, 0.5):
        optimiser.param_groups[0]["lr"] = lr
        parameter.grad = torch.ones((), dtype=torch.float64)
        optimiser.step()
        trainer.set_learning_rate(lr)
        with autograd.record():
            value = own.data() * 1
        value.backward()
        trainer.step(1)
    np.testing.assert_equal(parameter.item(), 1 - 0.25 - 0.5 * (0.5 + 1))
    np.testing.assert_equal(float(own.data()), 1 - 0.25 - (0.5 * 0.25 + 0.5 * 1))


@needs_both
def test_the_books_step_of_a_short_last_batch_is_too_small_in_mxnet():
    """`trainer.step(32)` divides by 32 whatever the batch; ours divides by the images that are there."""
    from mxnet import autograd, gluon
    from mxnet import np as mxnp

    def updated(step):
        weight = gluon.Parameter("weight", shape=(1,), dtype="float64", init="ones")
        weight.initialize()
        trainer = gluon.Trainer([weight], "sgd", {"learning_rate": 0.25})
        with autograd.record():
            losses = weight.data() * mxnp.ones(8, dtype="float64")  # eight images, gradient 1 each
            losses = losses.mean() if step == 1 else losses
        losses.backward()
        trainer.step(step)
        return float(weight.data())

    np.testing.assert_allclose(1 - updated(step=1), 0.25)
    np.testing.assert_allclose(1 - updated(step=32), 0.25 / 4)


@needs_both
def test_the_trainer_of_gluon_sorts_parameters_by_name():
    """So optimiser state is matched by a parameter's place in the network, not by its index."""
    backend = load_backend("mxnet")
    from ssd_common.weights import initial_weights, parameter_shapes

    net = backend.weights.make_net(BOOK.model, initial_weights(BOOK.model, TrainConfig()))
    trainer = backend.train.make_trainer(net, TrainConfig(momentum=0.5))
    order = list(backend.weights._updater(net, trainer)[1])
    trained = [name for name in parameter_shapes(BOOK.model) if "running" not in name]
    assert sorted(order) == sorted(trained)
    assert order != trained


@needs_both
def test_argsort_breaks_ties_in_opposite_orders_in_the_books_two_editions():
    import torch
    from mxnet import np as mxnp

    scores = [0.5, 0.9, 0.9, 0.1]
    assert torch.argsort(torch.tensor(scores), descending=True, stable=True).tolist() == [1, 2, 0, 3]
    assert mxnp.array(scores).argsort()[::-1].asnumpy().tolist() == [2, 1, 0, 3]
    assert mxnp.zeros(17).argsort().asnumpy().tolist() != list(range(17))  # of up to 16 it keeps the order


@needs_both
def test_a_class_label_out_of_range_is_an_error_in_torch_and_clipped_in_mxnet():
    logits, label = np.array([[[0.0, 1.0]]]), np.array([[5]])  # two classes
    losses = {}
    for name in ("torch", "mxnet"):
        b = load_backend(name)
        losses[name] = lambda value, b=b: b.data.to_numpy(
            b.losses.cross_entropy(b.data.to_device(logits), b.data.to_device(value))
        )
    with pytest.raises(IndexError):
        losses["torch"](label)
    np.testing.assert_array_equal(losses["mxnet"](label), losses["mxnet"](np.array([[1]])))


@needs_both
def test_the_anchor_operator_of_mxnet_has_float32_only():
    import mxnet
    from mxnet import np as mxnp
    from mxnet import npx

    backend = load_backend("mxnet")
    arguments = {"sizes": (0.2, 0.272), "ratios": (1, 2, 0.5)}
    float32, float64 = (mxnp.zeros((1, 1, 3, 3), dtype=dtype) for dtype in ("float32", "float64"))
    assert npx.multibox_prior(float32, **arguments).dtype == np.float32
    with pytest.raises(mxnet.MXNetError, match="Unsupported data type"):
        npx.multibox_prior(float64, **arguments)
    ours = backend.anchors.multibox_prior(float64, **arguments).asnumpy()
    np.testing.assert_allclose(ours, multibox_prior(np.zeros((3, 3)), **arguments), rtol=0, atol=1e-15)


@needs_both
def test_importing_mxnet_leaves_both_frameworks_every_core():
    """MXNet alone would take half of the processors for hyper-threads, and tell OpenMP so for PyTorch as well."""
    code = "import warnings; warnings.simplefilter('ignore'); import {}; print(torch.get_num_threads())"
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", code.format(imports)], stdout=subprocess.PIPE, text=True, env=environment
        )
        for imports in ("torch", "ssd_mxnet, torch")
    ]
    counts = [int(run.communicate(timeout=120)[0]) for run in runs]
    assert counts[0] == counts[1]


ROWS = {
    "running variance of BatchNorm": [test_torch_keeps_the_unbiased_variance_and_mxnet_the_biased_one],
    "momentum of BatchNorm, 0.9": [test_mxnet_stores_the_momentum_of_batch_normalisation_as_float32],
    "running statistics are updated": [test_mxnet_updates_running_statistics_in_the_backward_pass],
    "learning rate, weight decay": [
        test_mxnet_stores_the_learning_rate_as_float32,
        test_mxnet_stores_the_weight_decay_as_float32,
        test_with_numbers_that_float32_holds_exactly_they_agree,
    ],
    "velocity after the learning rate changes": [test_a_changed_learning_rate_leaves_mxnet_s_velocities_their_old_one],
    "short last batch": [test_the_books_step_of_a_short_last_batch_is_too_small_in_mxnet],
    "order of parameters in the optimiser": [test_the_trainer_of_gluon_sorts_parameters_by_name],
    "ties of scores in `argsort`": [test_argsort_breaks_ties_in_opposite_orders_in_the_books_two_editions],
    "a class label that the network does not have": [
        test_a_class_label_out_of_range_is_an_error_in_torch_and_clipped_in_mxnet
    ],
    "anchor operator": [test_the_anchor_operator_of_mxnet_has_float32_only],
    "threads": [test_importing_mxnet_leaves_both_frameworks_every_core],
}
"""The first cell of each row of `docs/known_differences.md`, and the tests that show it."""


def test_every_row_of_the_page_has_a_test_and_every_test_a_row():
    section = (Path(__file__).parents[1] / "docs" / "known_differences.md").read_text(encoding="utf-8")
    header, _, *rows = re.findall(r"^\| *(.*?) *\|", section, re.MULTILINE)
    assert header == "what"
    assert rows == list(ROWS)
    shown = [test.__name__ for tests in ROWS.values() for test in tests]
    here = [name for name in globals() if name.startswith("test_")]
    assert sorted([*shown, "test_every_row_of_the_page_has_a_test_and_every_test_a_row"]) == sorted(here)
